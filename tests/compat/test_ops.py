"""maskrcnn_benchmark._C over torchvision."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark_hml.compat import ops
from maskrcnn_benchmark_hml.errors import HMLError


def inclusive_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[int]:
    """The textbook algorithm with widths x2 - x1 + 1, as an oracle."""
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        a = boxes[i]
        clear = True
        for j in kept:
            b = boxes[j]
            w = min(a[2], b[2]) - max(a[0], b[0]) + 1
            h = min(a[3], b[3]) - max(a[1], b[1]) + 1
            common = max(w, 0) * max(h, 0)
            areas = sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
            clear = clear and common / (areas - common) <= threshold
        if clear:
            kept.append(i)
    return sorted(kept)


def random_boxes(count: int) -> torch.Tensor:
    corner = torch.rand(count, 2) * 20
    return torch.cat([corner, corner + torch.rand(count, 2) * 12], dim=1)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_nms_uses_inclusive_boxes_and_index_order(threshold):
    torch.manual_seed(0)
    for _ in range(5):
        boxes, scores = random_boxes(30), torch.rand(30)
        assert ops.nms(boxes, scores, threshold).tolist() == inclusive_nms(boxes, scores, threshold)


def test_inclusive_differs_from_exclusive_where_it_should():
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [4.0, 0.0, 13.0, 9.0]])  # inclusive IoU 6/14, exclusive 5/13
    scores = torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.40).tolist() == [0]
    assert ops.nms(boxes, scores, 0.45).tolist() == [0, 1]


def test_nms_of_nothing():
    kept = ops.nms(torch.empty(0, 4), torch.empty(0), 0.5)
    assert kept.shape == (0,) and kept.dtype == torch.long


@pytest.mark.parametrize("name", ["roi_align", "roi_pool"])
def test_backward_equals_autograd(name):
    import torchvision

    torch.manual_seed(0)
    features = torch.randn(2, 3, 8, 9, requires_grad=True)
    rois = torch.tensor([[0.0, 1.0, 2.0, 14.0, 12.0], [1.0, 0.0, 0.0, 17.0, 15.0]])
    if name == "roi_align":
        ours = ops.roi_align_forward(features.detach(), rois, 0.5, 4, 5, 2)
        theirs = torchvision.ops.roi_align(features, rois, (4, 5), 0.5, 2, aligned=False)
        gradient = torch.randn_like(ours)
        back = ops.roi_align_backward(gradient, rois, 0.5, 4, 5, 2, 3, 8, 9, 2)
    else:
        ours, argmax = ops.roi_pool_forward(features.detach(), rois, 0.5, 4, 5)
        theirs = torchvision.ops.roi_pool(features, rois, (4, 5), 0.5)
        gradient = torch.randn_like(ours)
        back = ops.roi_pool_backward(gradient, features.detach(), rois, argmax, 0.5, 4, 5, 2, 3, 8, 9)
    torch.testing.assert_close(ours, theirs.detach())
    theirs.backward(gradient)
    torch.testing.assert_close(back, features.grad)


@pytest.mark.parametrize("name", ops.WITHOUT_EQUIVALENT)
def test_operators_without_an_equivalent_say_so_when_called(name):
    function = getattr(ops.make_module(), name)
    with pytest.raises(HMLError, match=name):
        function(torch.ones(1))
