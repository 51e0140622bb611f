"""A dataset catalog for the benchmark's ``PATHS_CATALOG``: the host's own, with Visual Genome where HML_DATA says.

The host executes this file anew each time it looks a dataset up, so everything happens at the top level.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

from maskrcnn_benchmark_hml.datasets.layout import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME, check_folder
from maskrcnn_benchmark_hml.errors import HMLError

_PLACES = {
    "img_dir": (PHOTOS_NAME,),
    "roidb_file": ("{given}", H5_NAME),
    "dict_file": ("{given}", DICTS_NAME),
    "image_file": (IMAGES_NAME,),
}


def _host_catalog():
    package = importlib.import_module("maskrcnn_benchmark.config")
    path = Path(package.__file__).with_name("paths_catalog.py")
    if not path.is_file():
        raise HMLError(f"the benchmark has no {path}; set PATHS_CATALOG to its dataset catalog")
    spec = importlib.util.spec_from_file_location("hml_host_paths_catalog", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _move(entry: dict, folder: Path) -> dict:
    """The entry with absolute paths below ``folder``; the host joins its DATA_DIR with them to no effect."""
    moved = dict(entry)
    for key, names in _PLACES.items():
        if key in entry:
            choices = [folder / name.format(given=os.path.basename(entry[key])) for name in names]
            moved[key] = str(next((path for path in choices if path.exists()), choices[-1]))
    return moved


_host = _host_catalog()
DatasetCatalog = _host.DatasetCatalog
ModelCatalog = getattr(_host, "ModelCatalog", None)

if os.environ.get("HML_DATA"):
    _folder = check_folder(Path(os.environ["HML_DATA"]).expanduser().absolute())
    for _name, _entry in list(DatasetCatalog.DATASETS.items()):
        if "VG" in _name and "roidb_file" in _entry:  # IETrans: 50VG_stanford_...
            DatasetCatalog.DATASETS[_name] = _move(_entry, _folder)
