"""install() in fresh processes, on a stand-in checkout."""

from __future__ import annotations

import pytest

ALL = """
import sys
from maskrcnn_benchmark_hml.compat.installer import install
first = install(sys.argv[1])
assert install(sys.argv[1]) is first
import torch, numpy as np
import maskrcnn_benchmark.utils.imports
from maskrcnn_benchmark.layers.nms import nms
assert nms(torch.empty(0, 4), torch.empty(0), 0.5).numel() == 0
import maskrcnn_benchmark._C as native
assert native.nms is not None
from apex import amp
import apex.amp
assert apex.amp is amp
np.ones(1).astype(np.float)
from maskrcnn_benchmark.config import cfg
assert cfg.MODEL.DEVICE == ("cuda" if torch.cuda.is_available() else "cpu")
assert cfg.PATHS_CATALOG == "the host catalog"
from maskrcnn_benchmark.utils.comm import all_gather
assert all_gather(1) == [1]
from maskrcnn_benchmark.modeling.roi_heads.relation_head import model_vctree
assert model_vctree.block_orthogonal.__module__.startswith("maskrcnn_benchmark_hml")
assert model_vctree.load_word_vectors.__module__.startswith("maskrcnn_benchmark_hml")
from maskrcnn_benchmark.layers import FrozenBatchNorm2d
layer = FrozenBatchNorm2d(3)
layer(torch.ones(1, 3, 1, 1, dtype=torch.float16))
assert layer.weight.dtype == torch.float32
from maskrcnn_benchmark.data import get_dataset_statistics
assert get_dataset_statistics(cfg) == {"counted": True}
import maskrcnn_benchmark.data.datasets.visual_genome as vg
assert vg.load_image_filenames.__module__.startswith("maskrcnn_benchmark_hml")
import inspect
assert "class FrozenBatchNorm2d" in inspect.getsource(FrozenBatchNorm2d)
print(",".join(first.applied))
"""


def test_every_shim_takes_hold(fresh_python, checkout):
    done = fresh_python(ALL, str(checkout))
    assert done.code == 0, done.err
    assert "torch_six" in done.out and "apex_module" in done.out and "compiled_extension" in done.out


def test_shims_hold_for_modules_that_were_imported_before(fresh_python, checkout):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import maskrcnn_benchmark.utils.comm as comm
from maskrcnn_benchmark_hml.compat.installer import install
install(sys.argv[1])
assert comm.all_gather(1) == [1]
"""
    done = fresh_python(code, str(checkout))
    assert done.code == 0, done.err


def test_nothing_is_patched_where_the_host_runs_natively(fresh_python, checkout, tmp_path):
    native = tmp_path / "native"
    (native / "apex" / "amp").mkdir(parents=True)
    (native / "apex" / "__init__.py").write_text("from . import amp\n")
    (native / "apex" / "amp" / "__init__.py").write_text("real = True\n")
    (native / "cv2.py").write_text("real = True\n")
    code = """
import sys, torch, types, numpy as np, torch.hub
sys.path.insert(0, sys.argv[2])
torch.cuda.is_available = lambda: True
torch._six = sys.modules["torch._six"] = types.ModuleType("torch._six")
torch.hub._download_url_to_file = None
from maskrcnn_benchmark_hml.compat.libraries import NUMPY_ALIASES
for name in NUMPY_ALIASES:
    setattr(np, name, name)
before = torch.Tensor.cuda, torch.cuda.set_device, torch.distributed.init_process_group
from maskrcnn_benchmark_hml.compat.installer import install
applied = install(sys.argv[1]).applied
import apex, cv2
from apex import amp
assert amp.real and cv2.real and np.float == "float"
assert before == (torch.Tensor.cuda, torch.cuda.set_device, torch.distributed.init_process_group)
for name in ("torch_six", "apex_module", "opencv", "numpy_aliases", "cuda_calls_on_cpu", "gloo_without_cuda"):
    assert name not in applied, applied
"""
    done = fresh_python(code, str(checkout), str(native))
    assert done.code == 0, done.err


def test_the_other_apex_of_pypi_is_not_taken_for_nvidias(fresh_python, checkout, tmp_path):
    other = tmp_path / "other"
    (other / "apex").mkdir(parents=True)
    (other / "apex" / "__init__.py").write_text("pyramid = True\n")
    code = """
import sys
sys.path.insert(0, sys.argv[2])
from maskrcnn_benchmark_hml.compat.installer import install
install(sys.argv[1])
from apex import amp
amp.initialize
"""
    done = fresh_python(code, str(checkout), str(other))
    assert done.code == 0, done.err


def test_an_extension_built_for_another_torch_is_passed_over(fresh_python, checkout):
    import importlib.machinery

    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (checkout / "maskrcnn_benchmark" / f"_C{suffix}").write_bytes(b"not a library")
    code = """
import sys
from maskrcnn_benchmark_hml.compat.installer import install
install(sys.argv[1])
from maskrcnn_benchmark import _C
import torch
assert _C.nms(torch.empty(0, 4), torch.empty(0), 0.5).numel() == 0
"""
    done = fresh_python(code, str(checkout))
    assert done.code == 0, done.err


def test_bad_input_is_one_sentence_and_changes_nothing(fresh_python, checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "maskrcnn_benchmark").mkdir(parents=True)
    (elsewhere / "maskrcnn_benchmark" / "__init__.py").write_text("")
    code = """
import sys
from maskrcnn_benchmark_hml.compat.installer import install
from maskrcnn_benchmark_hml.errors import HMLError
good, bad, elsewhere = sys.argv[1:]
def attempt(*args, **kwargs):
    before = list(sys.path), list(sys.meta_path)
    try:
        install(*args, **kwargs)
    except HMLError as error:
        print(error)
    assert before == (sys.path, sys.meta_path)
attempt(bad)
attempt(good, data=bad + "/none")
sys.path.insert(0, elsewhere)
import maskrcnn_benchmark
attempt(good)
del sys.modules["maskrcnn_benchmark"]
sys.path.remove(elsewhere)
install(good)
attempt(bad)
"""
    done = fresh_python(code, str(checkout), str(tmp_path), str(elsewhere))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    fragments = ("no Scene-Graph-Benchmark checkout", "no dataset folder", "already imported from", "already in use")
    assert len(lines) == len(fragments)
    for line, fragment in zip(lines, fragments):
        assert fragment in line


def test_cv2_stand_in_speaks_up_only_when_used(fresh_python, checkout):
    code = """
import sys, importlib.util
if importlib.util.find_spec("cv2"):
    print("has cv2"); sys.exit(0)
from maskrcnn_benchmark_hml.compat.installer import install
install(sys.argv[1])
import cv2
from cv2 import compare
try:
    cv2.resize(None)
except ImportError as error:
    print(error)
"""
    done = fresh_python(code, str(checkout))
    assert done.code == 0, done.err
    assert "opencv-python-headless" in done.out or "has cv2" in done.out


def test_catalog_moves_vg_entries_to_the_folder(fresh_python, checkout, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "VG-SGG-with-attri.h5").write_bytes(b"")
    (data / "VG-SGG-dicts.json").write_text("{}")
    code = """
import sys, runpy
from maskrcnn_benchmark_hml.compat.installer import install
install(sys.argv[1], data=sys.argv[2])
from maskrcnn_benchmark.config import cfg
for _ in range(2):  # the host executes the file again and again
    catalog = runpy.run_path(cfg.PATHS_CATALOG)["DatasetCatalog"]
    entry = catalog.get("VG_plain", cfg)
    assert entry["img_dir"] == sys.argv[2] + "/VG_100K", entry
    assert entry["roidb_file"].endswith("data/VG-SGG-with-attri.h5"), entry
    assert entry["dict_file"].endswith("data/VG-SGG-dicts.json"), entry
    assert entry["extra"].startswith("/private/home"), entry
    assert catalog.get("coco", cfg)["img_dir"].startswith("/private/home")
"""
    done = fresh_python(code, str(checkout), str(data))
    assert done.code == 0, done.err


@pytest.mark.parametrize("method", [pytest.param("spawn", marks=pytest.mark.slow), "forkserver"])
def test_workers_started_afresh_have_the_shims(fresh_python, checkout, method):
    (checkout / "maskrcnn_benchmark" / "data" / "toy.py").write_text(
        "import torch\n"
        "from torch._six import string_classes\n"
        "from maskrcnn_benchmark import _C\n"
        "class Toy(torch.utils.data.Dataset):\n"
        "    def __len__(self):\n        return 2\n"
        "    def __getitem__(self, i):\n        return _C.nms(torch.empty(0, 4), torch.empty(0), 0.5).numel() + i\n"
    )
    code = f"""
import sys
from maskrcnn_benchmark_hml.compat.installer import install
def main():
    install(sys.argv[1])
    import torch
    from maskrcnn_benchmark.data.toy import Toy
    loader = torch.utils.data.DataLoader(Toy(), num_workers=1, multiprocessing_context="{method}")
    print([int(x) for x in loader])
if __name__ == "__main__":
    main()
"""
    done = fresh_python(code, str(checkout), from_nothing=True)
    assert done.code == 0, done.err
    assert "[0, 1]" in done.out
