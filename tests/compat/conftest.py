"""A stand-in checkout: the few host modules that the shims touch, with the faults that they cure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ..embedded.warm_run import run_script

REPO = Path(__file__).resolve().parents[2]

FILES = {
    "config/__init__.py": "from .defaults import _C as cfg\n",
    "config/defaults.py": (
        "from types import SimpleNamespace as N\n"
        "_C = N(MODEL=N(DEVICE='cuda'), PATHS_CATALOG='the host catalog', OUTPUT_DIR='.')\n"
    ),
    "config/paths_catalog.py": (
        "import os\n"
        "class DatasetCatalog:\n"
        "    DATA_DIR = '/private/home/somebody'\n"
        "    DATASETS = {\n"
        "        'VG_plain': dict(img_dir='vg/VG_100K', roidb_file='vg/VG-SGG.h5', dict_file='vg/VG-SGG-dicts.json',\n"
        "                         image_file='vg/image_data.json', extra='vg/extra.json'),\n"
        "        'coco': dict(img_dir='coco/train', ann_file='coco/a.json'),\n"
        "    }\n"
        "    @staticmethod\n"
        "    def get(name, cfg):\n"
        "        entry = DatasetCatalog.DATASETS[name]\n"
        "        return {k: os.path.join(DatasetCatalog.DATA_DIR, v) for k, v in entry.items()}\n"
    ),
    "utils/__init__.py": "",
    "utils/comm.py": (
        "import torch.distributed as dist\n"
        "def get_world_size():\n    return dist.get_world_size() if dist.is_initialized() else 1\n"
        "def all_gather(data):\n    raise RuntimeError('wants cuda')\n"
    ),
    "utils/imports.py": "import torch\nassert torch._six.PY3\nfrom torch._six import string_classes\n",
    "layers/__init__.py": "from .batch_norm import FrozenBatchNorm2d\n",
    "layers/batch_norm.py": (
        "import torch\n"
        "class FrozenBatchNorm2d(torch.nn.Module):\n"
        "    def __init__(self, n):\n"
        "        super().__init__()\n"
        "        for name, value in (('weight', 2.0), ('bias', 1.0), ('running_mean', 0.5), ('running_var', 4.0)):\n"
        "            self.register_buffer(name, torch.full((n,), value))\n"
        "    def forward(self, x):\n"
        "        if x.dtype == torch.float16:\n"
        "            self.weight = self.weight.half()\n"
        "        return x * self.weight[0]\n"
    ),
    "layers/nms.py": "from maskrcnn_benchmark import _C\nfrom apex import amp\nnms = amp.float_function(_C.nms)\n",
    "data/__init__.py": "from .build import get_dataset_statistics\n",
    "data/build.py": "def get_dataset_statistics(cfg):\n    return {'counted': True}\n",
    "data/datasets/__init__.py": "",
    "data/datasets/visual_genome.py": (
        "import json, os\n"
        "import numpy as np\n"
        "def load_image_filenames(img_dir, image_file):\n"
        "    fns = [os.path.join(img_dir, str(e['image_id'])) for e in json.load(open(image_file))]\n"
        "    assert len(fns) == 108073\n"
        "    return fns, []\n"
        "class VGDataset:\n"
        "    def __init__(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im=5000):\n"
        "        self.num_val_im = num_val_im\n"
        "        self.filenames, self.img_info = load_image_filenames(img_dir, image_file)\n"
    ),
    "modeling/__init__.py": "",
    "modeling/roi_heads/__init__.py": "",
    "modeling/roi_heads/relation_head/__init__.py": "",
    "modeling/roi_heads/relation_head/utils_relation.py": "def block_orthogonal(*a):\n    raise RuntimeError('slow')\n",
    "modeling/roi_heads/relation_head/utils_motifs.py": (
        "def load_word_vectors(root, wv_type, dim):\n    raise RuntimeError('downloads')\n"
    ),
    "modeling/roi_heads/relation_head/model_vctree.py": (
        "from .utils_relation import block_orthogonal\nfrom .utils_motifs import load_word_vectors\n"
    ),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a benchmark checkout."""
    root = tmp_path / "checkout"
    for name, text in {"__init__.py": "", **FILES}.items():
        path = root / "maskrcnn_benchmark" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "tools").mkdir()
    return root


@pytest.fixture
def fresh_python(tmp_path: Path):
    """Runs Python code in a new process with this repository importable; returns exit code and output.

    With ``from_nothing`` Python itself is started; otherwise torch is imported already.
    """

    def run(code: str, *arguments: str, from_nothing: bool = False, **variables: str) -> SimpleNamespace:
        script = tmp_path / "snippet.py"
        script.write_text(code)
        environ = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", **variables}
        if not from_nothing:
            return SimpleNamespace(**dict(zip(("code", "out", "err"), run_script(script, arguments, environ))))
        done = subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, text=True, env=environ, cwd=tmp_path
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return run
