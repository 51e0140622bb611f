"""Replacements inside the host, on small stand-ins."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark_hml.compat import host_modules
from maskrcnn_benchmark_hml.errors import HMLError


def test_orthogonal_blocks_wide_and_tall():
    torch.manual_seed(0)
    matrix = torch.zeros(8, 12)
    host_modules.orthogonal_blocks(matrix, [4, 6], gain=2.0)
    for top in (0, 4):
        for left in (0, 6):
            block = matrix[top : top + 4, left : left + 6]
            torch.testing.assert_close(block @ block.T, 4 * torch.eye(4), atol=1e-5, rtol=0)
    assert not torch.allclose(matrix[:4, :6], matrix[4:, :6])
    tall = torch.zeros(6, 2)
    host_modules.orthogonal_blocks(tall, [6, 2])
    torch.testing.assert_close(tall.T @ tall, torch.eye(2), atol=1e-5, rtol=0)


def test_orthogonal_blocks_have_the_distribution_of_a_corner_of_a_square_matrix():
    """Second and fourth moments of an entry of a uniform 5 x 5 orthogonal matrix are 1/5 and 3/35."""
    torch.manual_seed(0)
    matrix = torch.zeros(2 * 3000, 5)
    host_modules.orthogonal_blocks(matrix, [2, 5])
    assert matrix.mean().abs() < 0.01
    assert abs(float((matrix**2).mean()) - 1 / 5) < 1e-3
    assert abs(float((matrix**4).mean()) - 3 / 35) < 3e-3


def test_orthogonal_blocks_must_tile():
    with pytest.raises(HMLError, match="do not tile"):
        host_modules.orthogonal_blocks(torch.zeros(5, 4), [2, 4])


def frozen_module():
    class FrozenBatchNorm2d(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in (("weight", 2.0), ("bias", 1.0), ("running_mean", 0.5), ("running_var", 4.0)):
                self.register_buffer(name, torch.full((3,), value))

        def forward(self, x):
            return "the host's own"

    return SimpleNamespace(FrozenBatchNorm2d=FrozenBatchNorm2d)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_frozen_batch_norm_keeps_its_buffers(dtype):
    module = frozen_module()
    host_modules.frozen_batch_norm(module)
    layer = module.FrozenBatchNorm2d()
    out = layer(torch.full((1, 3, 2, 2), 3.0, dtype=dtype))
    assert out.dtype == dtype and float(out[0, 0, 0, 0]) == 3.5  # (3 - 0.5) / 2 * 2 + 1
    assert all(buffer.dtype == torch.float32 for buffer in layer.buffers())
    assert layer(torch.ones(1, 3, 1, 1)) == "the host's own"


def test_device_default(monkeypatch):
    for available, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        module = SimpleNamespace(_C=SimpleNamespace(MODEL=SimpleNamespace(DEVICE="cuda")))
        host_modules.device_default(module)
        assert module._C.MODEL.DEVICE == expected


def test_data_folder_sets_the_catalog_only_when_asked(monkeypatch):
    module = SimpleNamespace(_C=SimpleNamespace(PATHS_CATALOG="host"))
    monkeypatch.delenv("HML_DATA", raising=False)
    host_modules.data_folder(module)
    assert module._C.PATHS_CATALOG == "host"
    monkeypatch.setenv("HML_DATA", "somewhere")
    host_modules.data_folder(module)
    assert module._C.PATHS_CATALOG.endswith("paths_catalog.py")


def test_gather_on_one_process():
    module = SimpleNamespace(get_world_size=lambda: 1)
    host_modules.gather_objects(module)
    assert module.all_gather({"a": 1}) == [{"a": 1}]


class Boxes:
    """As the host's ``BoxList``: ``to`` moves the boxes and every field that can be moved."""

    def __init__(self, bbox, **fields):
        self.bbox, self.extra_fields = bbox, fields

    def to(self, device):
        moved = {name: v.to(device) if hasattr(v, "to") else v for name, v in self.extra_fields.items()}
        return type(self)(self.bbox.to(device), **moved)


def test_boxes_leave_the_memory_of_a_loaders_worker():
    class BoxList(Boxes):
        pass

    host_modules.boxes_in_own_memory(SimpleNamespace(BoxList=BoxList))
    shared, own = torch.rand(3, 4).share_memory_(), torch.rand(3)
    boxes = BoxList(shared, labels=shared[:, 0], scores=own, mask="no tensor").to(torch.device("cpu"))
    assert not boxes.bbox.is_shared() and torch.equal(boxes.bbox, shared)
    assert not boxes.extra_fields["labels"].is_shared() and torch.equal(boxes.extra_fields["labels"], shared[:, 0])
    assert boxes.extra_fields["scores"] is own and boxes.extra_fields["mask"] == "no tensor"
