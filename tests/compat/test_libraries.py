"""Shims of numpy and torch, each undone after its test."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.hub

from maskrcnn_benchmark_hml.compat import libraries
from maskrcnn_benchmark_hml.errors import HMLError


def module_from(path: Path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numpy_aliases(monkeypatch):
    for name in libraries.NUMPY_ALIASES:
        monkeypatch.delitem(vars(np), name, raising=False)
    assert libraries.numpy_aliases() is True
    assert np.ones(2).astype(np.float).dtype == np.float64
    assert np.ones_like([1], dtype=np.bool).dtype == bool
    assert np.zeros(1, np.bool8).dtype == bool and np.zeros(1, np.float_).dtype == np.float64
    assert np.isnan(np.NaN) and np.isinf(np.Inf) and np.product([2, 3]) == 6 and np.alltrue([1, 1])
    assert np.in1d([[1, 2], [3, 1]], [1]).tolist() == [True, False, False, True]
    assert np.trapz([0, 2]) == 1
    assert libraries.numpy_aliases() is False


def test_numpy_names_that_exist_are_kept(monkeypatch):
    monkeypatch.setitem(vars(np), "bool", "kept")
    libraries.numpy_aliases()
    assert vars(np)["bool"] == "kept"


def test_torch_hub_download_name(monkeypatch):
    monkeypatch.delitem(vars(torch.hub), "_download_url_to_file", raising=False)
    assert libraries.torch_hub_download_name() is True
    assert torch.hub._download_url_to_file is torch.hub.download_url_to_file
    assert libraries.torch_hub_download_name() is False


class Pickled:
    """Something that weights_only refuses."""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host module with a reader, the shim installed for its folder, and two files."""
    torch.save({"object": Pickled()}, tmp_path / "objects.pth")
    torch.save({"w": torch.ones(2)}, tmp_path / "plain.pth")
    monkeypatch.setattr(torch, "load", torch.load)
    root = tmp_path / "checkout"
    text = "import torch\ndef read(*a, **k):\n    return torch.load(*a, **k)\n"
    reader = module_from(root / "pkg" / "reader.py", text)
    assert libraries.torch_load_for_host(root) is True
    assert libraries.torch_load_for_host(root) is False
    return reader, tmp_path


def test_the_host_reads_data_alone_unless_the_file_is_trusted(host, monkeypatch):
    reader, folder = host
    path = folder / "objects.pth"
    for options in ({}, {"weights_only": False}, {"weights_only": True}):
        with pytest.raises(HMLError, match=r"objects.pth names .*Pickled, which is not loaded because it could run"):
            reader.read(path, **options)
        with open(path, "rb") as file, pytest.raises(HMLError, match="names .*Pickled"):
            reader.read(file, **options)
    monkeypatch.setenv("HML_TRUSTED_FILES", os.pathsep.join(["elsewhere.pth", str(path)]))
    assert isinstance(reader.read(path)["object"], Pickled)
    with open(path, "rb") as file:
        assert isinstance(reader.read(file)["object"], Pickled)
    assert torch.equal(reader.read(folder / "plain.pth", map_location="cpu")["w"], torch.ones(2))


def test_our_own_reads_are_not_weakened(host):
    _, folder = host
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 6):
        with pytest.raises(Exception, match="[Ww]eights"):
            torch.load(folder / "objects.pth")
    with pytest.raises(Exception, match="[Ww]eights"):
        torch.load(folder / "objects.pth", weights_only=True)


def test_a_torn_file_is_still_an_error(host):
    reader, folder = host
    content = (folder / "plain.pth").read_bytes()
    (folder / "torn.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(RuntimeError):
        reader.read(folder / "torn.pth")


def test_a_path_into_the_checkout_is_found_from_anywhere(host, monkeypatch):
    reader, folder = host
    torch.save(torch.arange(3), folder / "checkout" / "zeroshot.pytorch")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert reader.read("zeroshot.pytorch").tolist() == [0, 1, 2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a CUDA device nothing is patched")
def test_cuda_calls_on_cpu(monkeypatch):
    for owner, name in ((torch.Tensor, "cuda"), (torch.Tensor, "to"), (torch.nn.Module, "cuda")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    for name in ("set_device", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, getattr(torch.cuda, name))
    assert libraries.cuda_calls_on_cpu() is True
    assert libraries.cuda_calls_on_cpu() is False
    tensor, linear = torch.ones(1), torch.nn.Linear(1, 1)
    assert tensor.cuda() is tensor and tensor.cuda(0, non_blocking=True) is tensor and linear.cuda() is linear
    assert tensor.to(tensor.get_device(), torch.float64).dtype == torch.float64 and tensor.to(tensor) is tensor
    torch.cuda.set_device(0)
    torch.cuda.synchronize()


def test_nothing_is_patched_with_a_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = torch.Tensor.cuda, torch.distributed.init_process_group, torch.nn.parallel.DistributedDataParallel.__init__
    assert not libraries.cuda_calls_on_cpu()
    assert not libraries.gloo_without_cuda()
    assert not libraries.data_parallel_on_cpu()
    after = torch.Tensor.cuda, torch.distributed.init_process_group, torch.nn.parallel.DistributedDataParallel.__init__
    assert before == after


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a CUDA device nothing is patched")
@pytest.mark.filterwarnings("ignore:.*broadcast_buffers:FutureWarning")  # SGB's own call, since torch 2.13
def test_nccl_becomes_gloo_and_device_ids_are_dropped(monkeypatch, tmp_path):
    cls = torch.nn.parallel.DistributedDataParallel
    monkeypatch.setattr(torch.distributed, "init_process_group", torch.distributed.init_process_group)
    monkeypatch.setattr(cls, "__init__", cls.__init__)
    assert libraries.gloo_without_cuda() and libraries.data_parallel_on_cpu()
    assert not libraries.gloo_without_cuda() and not libraries.data_parallel_on_cpu()
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "0")):
        monkeypatch.setitem(os.environ, name, value)
    torch.distributed.init_process_group(backend="nccl", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert torch.distributed.get_backend() == "gloo"
        linear = torch.nn.Linear(2, 2)
        wrapped = torch.nn.parallel.DistributedDataParallel(
            linear, device_ids=[0], output_device=0, broadcast_buffers=False, find_unused_parameters=True
        )
        wrapped(torch.ones(1, 2)).sum().backward()
        assert isinstance(wrapped, cls) and linear.weight.grad is not None
    finally:
        torch.distributed.destroy_process_group()
