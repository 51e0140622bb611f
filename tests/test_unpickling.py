"""No file runs code while it is read, in no format and by no reader; what is data comes back as it was."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml import files
from maskrcnn_benchmark_hml.compat import checkpoint_file, libraries, statistics
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.validation import mean_recall
from maskrcnn_benchmark_hml.method.memory import StageMemory
from maskrcnn_benchmark_hml.method.vectors import load_vectors
from maskrcnn_benchmark_hml.report.stored import load_stored
from maskrcnn_benchmark_hml.training.checkpoint import read_state
from maskrcnn_benchmark_hml.unpickling import TRUSTED, Refused


class Marker:
    """Writes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def tar_file(path: Path, **given) -> None:
    """The format of torch 0.1: three members, each of several pickles; ``given`` replaces what a member holds."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        contents = {"storages": [0, []], "tensors": [0], "pickle": [{}], **given}
        for name, parts in contents.items():
            data = b"".join(pickle.dumps(part, 2) for part in parts)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def zip_file(content, path):
    torch.save(content, path)


def legacy_file(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def pickle_file(content, path):
    path.write_bytes(pickle.dumps(content))


CONTAINERS = {
    "zip": zip_file,
    "legacy": legacy_file,
    **{f"tar, {name}": lambda content, path, name=name: tar_file(path, **{name: [content]})
       for name in ("storages", "tensors", "pickle")},
    "pickle": pickle_file,
    "pickle, protocol 0": lambda content, path: path.write_bytes(pickle.dumps(content, 0)),
}


def _validation(path):
    def inference(cfg, output_folder):
        path.rename(path.with_name("result_dict.pytorch"))

    mean_recall(inference, path.parent, 0, (), {"cfg": {"TEST": {}}})


def _resume(path):
    path.rename(path.with_name("model_0000001.hml.pt"))
    path.with_name("model_0000001.pth").write_bytes(b"")
    read_state(path.with_name("model_0000001.pth"))


def _cut_caches(path):
    path.rename(path.with_name("VG_statistics.cache"))
    statistics.remove_cut_caches(path.parent)


READERS = {
    "checkpoint": checkpoint_file.read_checkpoint,
    "names of weights": checkpoint_file.weight_names,
    "results": load_stored,
    "validation": _validation,
    "stage memory": StageMemory.load,
    "resume file": _resume,
    "word vectors": load_vectors,
    "statistics on SGB": _cut_caches,
    "any": files.load_torch,
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("reader", READERS)
def test_nothing_is_run(tmp_path, container, reader):
    path, marker = tmp_path / "f.pt", tmp_path / "marker"
    CONTAINERS[container]({"model": Marker(marker)}, path)
    try:
        READERS[reader](path)
    except HMLError as error:
        asked = {"word vectors": container in ("zip", "legacy", "pickle")}  # it takes the others for text or archives
        assert "mkdir, which is not loaded" in str(error) or not asked.get(reader, True), error
    else:
        assert reader == "statistics on SGB"  # which only looks whether the cache is whole
    assert not marker.exists()


DATA = {
    "tensor": torch.arange(6.0).view(2, 3).t(), "half": torch.ones(2).half(), "grad": torch.nn.Parameter(torch.ones(2)),
    "scalar": np.float64(0.5), "flag": np.bool_(True), "text": np.str_("hi"), "array": np.arange(6).reshape(2, 3).T,
    "other byte order": np.arange(3, dtype=">f4"), "words": np.array(["a", "bcd"]), "bytes": b"\xff\x00",
    "objects": np.array([{1: 2}, None], dtype=object), "dtype": torch.float32, "device": torch.device("cpu"),
    "size": torch.Size([1]), "ordered": collections.OrderedDict(a=1), "default": collections.defaultdict(list, {1: []}),
    "counter": collections.Counter("aab"), "set": {1, 2}, "version": torch.__version__, "slice": slice(1, 2),
}  # fmt: skip


@pytest.mark.parametrize("container", ["zip", "legacy", "pickle"])
def test_data_comes_back(tmp_path, container):
    CONTAINERS[container](DATA, tmp_path / "f")
    found = (files.load_pickle if container == "pickle" else files.load_torch)(tmp_path / "f")
    assert set(found) == set(DATA)
    for name, value in DATA.items():
        assert type(found[name]) is type(value), name
        same = torch.equal if torch.is_tensor(value) else np.array_equal if isinstance(value, np.ndarray) else None
        assert same(found[name], value) if same else found[name] == value, name


def test_torch_may_be_told_to_force_weights_only(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    torch.save(DATA, tmp_path / "f")
    assert files.load_torch(tmp_path / "f")["scalar"] == 0.5 and os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"


def test_a_tar_of_torch_0_1_is_read(tmp_path):
    tar_file(tmp_path / "f", pickle=[{"iteration": 3}])
    assert files.load_torch(tmp_path / "f") == {"iteration": 3}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.Identity()).save(tmp_path / "f.pt")
    with pytest.raises(Refused, match="names TorchScript code"):
        files.load_torch(tmp_path / "f.pt")
    inside = pickle.dumps((tmp_path / "f.pt").read_bytes(), 3)[2:-1]  # as the content of a tensor
    (tmp_path / "f").write_bytes(b"\x80\x03ctorch.storage\n_load_from_bytes\n" + inside + b"\x85R.")
    with pytest.raises(Refused, match="names TorchScript code"):
        files.load_pickle(tmp_path / "f")


def _built(named: str, state: object) -> bytes:
    """A pickle that gives ``state`` to what ``named`` (module and name) is, or to what it returns for "f8"."""
    return b"\x80\x02c" + named.encode("latin1") + pickle.dumps(state, 2)[2:-1] + b"b."


@pytest.mark.parametrize("content, match", [
    (_built("collections\nOrderedDict\n", (None, {"get": 1})), "new attributes of OrderedDict"),
    (_built("torch._utils\n_rebuild_tensor_v2\n", (None, {"get": 1})), "new attributes of _rebuild_tensor_v2"),
    (_built("numpy\ndtype\n(X\x02\x00\x00\x00f8tR", (3, "<", None, None, None, -1, -1, 63)), "a numpy data type"),
    (_built("numpy\ndtype\n(X\x02\x00\x00\x00O8tR", (3, "|", None, None, None, -1, -1, 0)), "a numpy data type"),
    (b"\x80\x04\x8c\x05torch\x8c\x0dhub.os.system\x93.", "names torch.hub"),
])  # fmt: skip
def test_nothing_admitted_is_changed(tmp_path, content, match):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(Refused, match=match):
        files.load_pickle(tmp_path / "f")
    assert "get" not in vars(torch._utils._rebuild_tensor_v2)


def host_module(root: Path):
    """What a checkout reads files with."""
    root.mkdir()
    source = root / "reader.py"
    source.write_text(
        "import pickle\nimport numpy, torch\n"
        "def by_torch(path, **o):\n    return torch.load(path, **o)\n"
        "def by_stream(path):\n    with open(path, 'rb') as f:\n        return torch.load(f)\n"
        "def by_pickle(path):\n    with open(path, 'rb') as f:\n        return pickle.load(f, encoding='latin1')\n"
        "def by_numpy(path):\n    return numpy.load(path, allow_pickle=True)\n"
        "def unsafe(path):\n    return torch.load(path, weights_only=False)\n"
        "def by_hub(path):\n    import os\n    return torch.hub.load_state_dict_from_url("
        "'file:///none/' + os.path.basename(path), os.path.dirname(path))\n"
    )
    namespace = {}
    exec(compile(source.read_text(), str(source), "exec"), namespace)
    return SimpleNamespace(**namespace)


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", torch.load)
    monkeypatch.setattr(pickle, "load", pickle.load)
    assert libraries.torch_load_for_host(tmp_path / "checkout")
    assert libraries.pickle_load_for_host(tmp_path / "checkout")
    assert not libraries.pickle_load_for_host(tmp_path / "checkout")
    return host_module(tmp_path / "checkout")


@pytest.mark.parametrize("container", [*CONTAINERS, "npy"])
@pytest.mark.parametrize("reader", ["by_torch", "by_stream", "by_pickle", "by_numpy", "unsafe", "by_hub"])
def test_nothing_is_run_by_a_checkout(tmp_path, host, monkeypatch, container, reader):
    path, marker = tmp_path / "f.pth", tmp_path / "marker"
    if container == "npy":
        with path.open("wb") as file:
            np.save(file, np.array([Marker(marker)], dtype=object))
    else:
        CONTAINERS[container](Marker(marker), path)
    reads = {"by_pickle": container.startswith("pickle"), "by_numpy": container.startswith(("npy", "pickle"))}
    if not reads.get(reader, container != "npy"):  # it finds another format, or no more than the first number of it
        with contextlib.suppress(Exception):
            getattr(host, reader)(str(path))
        assert not marker.exists()
        return
    with pytest.raises(Exception, match="mkdir, which is not loaded|as a pickle$") as caught:
        getattr(host, reader)(str(path))
    error = caught.value.__cause__ if reader == "by_numpy" and container != "npy" else caught.value
    assert isinstance(error, HMLError) and f"{TRUSTED}={path}" in str(error) and not marker.exists()
    monkeypatch.setenv(TRUSTED, str(path))
    with contextlib.suppress(Exception):  # the marker is no checkpoint, but it is run
        getattr(host, reader)(str(path))
    assert marker.exists()
