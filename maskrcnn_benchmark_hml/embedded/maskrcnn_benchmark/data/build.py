"""Datasets, statistics and loaders from the configuration."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size, is_main_process
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_labels
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.datasets.own_pictures import WITHOUT_BOXES
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import load_torch, save_torch, write_json
from maskrcnn_benchmark_hml.run_folder import STATISTICS

from . import datasets as D
from .collate_batch import BatchCollator
from .datasets.evaluation.vg.detection import require_coco_code
from .datasets.evaluation.vg.vg_eval import boxes_are_given
from .samplers import DistributedSampler, GroupedBatchSampler, IterationBasedBatchSampler, ShuffledSampler
from .transforms import build_transforms

_STATISTICS = ("fg_matrix", "pred_dist", "obj_classes", "rel_classes", "att_classes")


def _catalog(cfg: CfgNode) -> Any:
    return import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog


# ---- statistics ----


def get_dataset_statistics(cfg: CfgNode) -> dict[str, Any]:
    """Predicate counts of the training split, from ``OUTPUT_DIR/<dataset>_statistics.cache`` if it is still valid.

    The cache is valid while the annotation and vocabulary files keep their size and time. It stands for annotations
    that are not there: a test on pictures of the user needs none.

    Returns:
        ``fg_matrix``, ``pred_dist`` (C, C, P), ``obj_classes``, ``rel_classes``, ``att_classes``.
    """
    logger = logging.getLogger(__name__)
    name = _only_one(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    entry = _catalog(cfg).get(name, cfg)
    args = entry["args"]
    sources = [_identity(args[key]) for key in ("roidb_file", "dict_file") if key in args]
    cache = Path(cfg.OUTPUT_DIR) / f"{name}{STATISTICS}"
    absent = not os.path.isfile(args["roidb_file"]) if "roidb_file" in args else False
    result = _read_cache(cache, None if absent else sources)
    if result is not None:
        logger.info("Statistics of %s: read from %s", name, cache)
    else:
        result = getattr(D, entry["factory"]).count_statistics(**args)
        logger.info("Statistics of %s: counted over its training split", name)
        if is_main_process():
            save_torch({**result, "sources": sources}, cache, "statistics cache")
    _check_class_counts(cfg, result["obj_classes"], result["rel_classes"], result["att_classes"], name)
    return result


def _identity(file: str) -> list[Any]:
    """Path, bytes and modification time in nanoseconds; empty for a missing file, which fails when it is read."""
    if not os.path.isfile(file):
        return [file]
    status = os.stat(file)
    return [os.path.realpath(file), status.st_size, status.st_mtime_ns]


def _read_cache(cache: Path, sources: list[list[Any]] | None) -> dict[str, Any] | None:
    """The cached statistics, or None when there are none, or they cannot be read, or belong to other files.

    Args:
        sources: the files that they must belong to; None: any.
    """
    if not cache.is_file():
        return None
    try:
        content = load_torch(cache)
    except Exception as error:  # torch raises many types for a damaged file; the cache is only a copy
        logging.getLogger(__name__).warning("%s cannot be read and is made again (%s)", cache, error)
        return None
    if not isinstance(content, dict) or sources is not None and content.get("sources") != sources:
        logging.getLogger(__name__).info("%s belongs to other annotation files and is made again", cache)
        return None
    return {key: content[key] for key in _STATISTICS}


# ---- datasets ----


def build_dataset(
    cfg: CfgNode,
    dataset_list: Sequence[str],
    transforms: Callable[[Any, Any], tuple[Any, Any]] | None,
    dataset_catalog: Any,
    is_train: bool = True,
) -> list[Dataset]:
    """The datasets that ``dataset_list`` names in the catalog; for training there must be exactly one.

    Raises:
        HMLError: a name is unknown, a file is missing, or the numbers of classes differ from the configuration's.
    """
    if not isinstance(dataset_list, (list, tuple)):
        raise HMLError(f"the datasets are {dataset_list!r}; give a list of names")
    if is_train:
        _only_one(dataset_list, "DATASETS.TRAIN")
    datasets = []
    for name in dataset_list:
        entry = dataset_catalog.get(name, cfg)
        dataset = getattr(D, entry["factory"])(**entry["args"], transforms=transforms)
        _check_class_counts(
            cfg, dataset.ind_to_classes, dataset.ind_to_predicates, dataset.ind_to_attributes, name
        )
        datasets.append(dataset)
    return datasets


def _only_one(names: Sequence[str], key: str) -> str:
    if len(names) != 1:
        raise HMLError(f"{key} names {len(names)} datasets; name exactly one, since a model has one vocabulary")
    return names[0]


def _check_class_counts(cfg: CfgNode, objects: list, predicates: list, attributes: list, name: str) -> None:
    model = cfg.MODEL
    expected = [("ROI_BOX_HEAD.NUM_CLASSES", model.ROI_BOX_HEAD.NUM_CLASSES, objects, "object classes")]
    if model.RELATION_ON:
        head = model.ROI_RELATION_HEAD
        expected.append(("ROI_RELATION_HEAD.NUM_CLASSES", head.NUM_CLASSES, predicates, "predicates"))
    if model.ATTRIBUTE_ON:
        head = model.ROI_ATTRIBUTE_HEAD
        expected.append(("ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES", head.NUM_ATTRIBUTES, attributes, "attributes"))
    for key, count, names, what in expected:
        if count != len(names):
            raise HMLError(f"MODEL.{key} is {count}, but {name} has {len(names)} {what} with the background; "
                           f"set it to {len(names)}")  # fmt: skip


def save_custom_data_info(cfg: CfgNode, dataset: Any) -> None:
    """Write which of the user's pictures and which names the numbers in custom_prediction.json mean."""
    content = {"idx_to_files": dataset.custom_files, "ind_to_classes": dataset.ind_to_classes,
               "ind_to_predicates": dataset.ind_to_predicates}  # fmt: skip
    write_json(Path(cfg.DETECTED_SGG_DIR) / "custom_data_info.json", content, "list of pictures and names")


# ---- loaders ----


def _shape_groups(dataset: Any, edges: Sequence[float]) -> list[int]:
    """Per image the number of ``edges`` that its height / width reaches."""
    infos = (dataset.get_img_info(i) for i in range(len(dataset)))
    return [bisect_right(edges, float(info["height"]) / float(info["width"])) for info in infos]


def make_batch_data_sampler(
    cfg: CfgNode, dataset: Any, is_train: bool, is_distributed: bool, images_per_batch: int, start_iter: int
) -> BatchSampler:
    """Training: global batches in an order that (SOLVER.SEED, iteration) fixes, of which a process takes its share.

    Test: the images in their order, a consecutive share for each process.
    """
    world = get_world_size()
    edges = [1.0] if cfg.DATALOADER.ASPECT_RATIO_GROUPING else []
    if is_train:
        order = ShuffledSampler(dataset, cfg.SOLVER.SEED)
        batches = GroupedBatchSampler(order, _shape_groups(dataset, edges), images_per_batch)
        rank = get_rank() if is_distributed else 0
        return IterationBasedBatchSampler(
            batches, cfg.SOLVER.MAX_ITER, start_iter, cfg.SOLVER.SEED, rank, world if is_distributed else 1
        )
    if is_distributed:
        # Ungrouped: all processes must do equally many batches, since each batch may end in an exchange.
        return BatchSampler(DistributedSampler(dataset, shuffle=False), images_per_batch // world, drop_last=False)
    in_order = SequentialSampler(dataset)
    return GroupedBatchSampler(in_order, _shape_groups(dataset, edges), images_per_batch // world)


def make_data_loader(
    cfg: CfgNode,
    mode: str = "train",
    is_distributed: bool = False,
    start_iter: int = 0,
    dataset_to_test: str | None = None,
) -> DataLoader | list[DataLoader]:
    """The training loader, or one loader per validation or test dataset.

    Batches are (ImageList, targets, dataset indices). ``len(loader)`` of the training loader is SOLVER.MAX_ITER; it
    yields the batches of iterations ``start_iter`` and later, the same that an uninterrupted run sees there.

    Args:
        mode: train, val or test: what the images are for.
        dataset_to_test: train, val or test: which split to read; None: as ``mode``.
    """
    split = mode if dataset_to_test is None else dataset_to_test
    for value in (mode, split):
        if value not in ("train", "val", "test"):
            raise HMLError(f"there is no data loader for {value!r}; use train, val or test")
    is_train = mode == "train"
    if not is_train and cfg.TEST.CUSTUM_EVAL and cfg.MODEL.RELATION_ON and cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX:
        raise HMLError(WITHOUT_BOXES)
    if not is_train and not cfg.TEST.CUSTUM_EVAL and not boxes_are_given(cfg):
        require_coco_code()  # now, not after the images have gone through the network
    key, images_per_batch = ("SOLVER", cfg.SOLVER.IMS_PER_BATCH) if is_train else ("TEST", cfg.TEST.IMS_PER_BATCH)
    if images_per_batch < 1 or images_per_batch % get_world_size():
        raise HMLError(f"{key}.IMS_PER_BATCH is {images_per_batch}; it must be a positive multiple of the "
                       f"{get_world_size()} processes")  # fmt: skip
    names = {"train": cfg.DATASETS.TRAIN, "val": cfg.DATASETS.VAL, "test": cfg.DATASETS.TEST}[split]
    datasets = build_dataset(cfg, names, build_transforms(cfg, is_train), _catalog(cfg), is_train)
    if cfg.TEST.CUSTUM_EVAL and not is_train and is_main_process():
        save_custom_data_info(cfg, datasets[0])
    if is_train:
        mkdir(cfg.OUTPUT_DIR)
        save_labels(datasets, cfg.OUTPUT_DIR)
    loaders = [
        DataLoader(
            dataset,
            batch_sampler=make_batch_data_sampler(cfg, dataset, is_train, is_distributed, images_per_batch, start_iter),
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            collate_fn=BatchCollator(cfg.DATALOADER.SIZE_DIVISIBILITY),
            # Its own generator: starting an iteration leaves the process's random numbers alone.
            generator=torch.Generator().manual_seed(cfg.SOLVER.SEED),
        )
        for dataset in datasets
    ]
    return loaders[0] if is_train else loaders
