"""Where datasets lie. Replace this file for a run with ``PATHS_CATALOG my_catalog.py``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from maskrcnn_benchmark_hml.errors import HMLError

_SPLITS = ("train", "val", "test")


class DatasetCatalog:
    """Names of the form ``<dataset>_<split>`` to the arguments of the dataset's constructor."""

    DATA_DIR = os.environ.get("HML_DATA") or os.path.join("datasets", "vg")
    DATASETS = {
        "VG_stanford_filtered_with_attribute": {
            "img_dir": "VG_100K",
            "roidb_file": "VG-SGG-with-attri.h5",
            "dict_file": "VG-SGG-dicts-with-attri.json",
            "image_file": "image_data.json",
        },
    }

    @staticmethod
    def get(name: str, cfg: Any) -> dict[str, Any]:
        """``{"factory": class name, "args": constructor arguments}`` of the dataset ``name``."""
        base, _, split = name.rpartition("_")
        if base not in DatasetCatalog.DATASETS or split not in _SPLITS:
            known = ", ".join(f"{d}_{s}" for d in DatasetCatalog.DATASETS for s in _SPLITS)
            raise HMLError(f"DATASETS names {name!r}, which is not in the catalog; use one of {known}")
        head = cfg.MODEL.ROI_RELATION_HEAD
        folder = Path(DatasetCatalog.DATA_DIR)
        args: dict[str, Any] = {key: str(folder / file) for key, file in DatasetCatalog.DATASETS[base].items()}
        args.update(
            split=split,
            # Only SGDet may lose a relation to boxes that do not touch; the other tasks are given the boxes.
            filter_non_overlap=not head.USE_GT_BOX and cfg.MODEL.RELATION_ON and head.REQUIRE_BOX_OVERLAP,
            filter_empty_rels=cfg.MODEL.RELATION_ON,
            flip_aug=cfg.MODEL.FLIP_AUG,
            custom_eval=cfg.TEST.CUSTUM_EVAL,
            custom_path=cfg.TEST.CUSTUM_PATH,
        )
        return {"factory": "VGDataset", "args": args}


class ModelCatalog:
    """Weights by name: this benchmark downloads nothing, so every ``catalog://`` name asks for a local file."""

    @staticmethod
    def get(name: str) -> str:
        raise HMLError(f"MODEL.WEIGHT is catalog://{name}, which would be a download; set it to a local file or to ''")
