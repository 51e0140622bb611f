"""Settings of the benchmark that its scripts stumble over late, hang on, or assert without a word.

Read as they stand in the settings: a key that a fork lacks is not checked.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import HMLError
from ..run_folder import CONFIG, CURVES, FINAL, LABELS, LAST_CHECKPOINT
from . import hook_points
from . import settings as host_settings

#: Whole numbers and the least that each may be; the first group is read by training alone.
_TRAINING = {f"SOLVER.{name}": 1 for name in (
    "MAX_ITER", "IMS_PER_BATCH", "CHECKPOINT_PERIOD", "VAL_PERIOD", "PRINT_GRAD_FREQ", "SCHEDULE.MAX_DECAY_STEP")}
_LEAST = {"TEST.IMS_PER_BATCH": 1, "DATALOADER.NUM_WORKERS": 0, "DATALOADER.SIZE_DIVISIBILITY": 0,
          "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE": 1}
_SIZES = ("MIN_SIZE_TRAIN", "MAX_SIZE_TRAIN", "MIN_SIZE_TEST", "MAX_SIZE_TEST")
_CHOICES = {
    "SOLVER.SCHEDULE.TYPE": ("WarmupMultiStepLR", "WarmupReduceLROnPlateau"),
    "SOLVER.WARMUP_METHOD": ("constant", "linear"),
}
#: Files that a run writes into OUTPUT_DIR under a fixed name.
_WRITTEN = ("log.txt", CURVES, CONFIG, LABELS, LAST_CHECKPOINT, f"{FINAL}.pth", "hml/settings.json",
            "hml/tree.json", "hml/stages.json")
_FOLDERS = ("hml", "inference", "hml_val")


def check_values(cfg: Mapping[str, Any], trains: bool) -> None:
    """Check the settings' numbers and names alone, without files.

    Args:
        trains: whether the script trains, or only tests.

    Raises:
        HMLError: names the first wrong key, its value and what is allowed.
    """
    for sentence in (*_wrong_numbers(cfg, trains), *_wrong_pictures(cfg), *_wrong_device(cfg), *_unknown_parts(cfg),
                     *_wrong_task(cfg)):
        raise HMLError(sentence)


def check_output(folder: str) -> None:
    """HMLError if OUTPUT_DIR holds a folder where a run writes a file, or a file where it makes a folder."""
    for name in _WRITTEN:
        if (Path(folder) / name).is_dir():
            raise HMLError(f"OUTPUT_DIR {folder} holds a folder called {name}, where the run writes its file of that "
                           "name; remove it, or give another OUTPUT_DIR")  # fmt: skip
    for name in _FOLDERS:
        if (Path(folder) / name).is_file():
            raise HMLError(f"OUTPUT_DIR {folder} holds a file called {name}, where the run makes a folder of that "
                           "name; remove it, or give another OUTPUT_DIR")  # fmt: skip


def value(cfg: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, None if there is no such key."""
    node: Any = cfg
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def _wrong_numbers(cfg: Mapping[str, Any], trains: bool) -> Iterator[str]:
    for key, least in {**(_TRAINING if trains else {}), **_LEAST}.items():
        given = value(cfg, key)
        if isinstance(given, int) and given < least:
            yield f"{key} is {given}; give a whole number of at least {least}"
    world = int(os.environ.get("WORLD_SIZE", 1))
    for key in ("SOLVER.IMS_PER_BATCH", "TEST.IMS_PER_BATCH") if trains else ("TEST.IMS_PER_BATCH",):
        if value(cfg, key) % world:
            yield (f"{key} is {value(cfg, key)}, which {world} processes cannot share; give a multiple of {world} "
                   "(it counts all of them together)")
    if not trains:
        return
    for key in ("SOLVER.BASE_LR", "SOLVER.GRAD_NORM_CLIP"):
        given = value(cfg, key)
        if given is not None and not given > 0:
            yield f"{key} is {given}; give a number above 0"
    for key, allowed in _CHOICES.items():
        given = value(cfg, key)
        if given is not None and given not in allowed:
            yield f"{key} is {given!r}; use one of {', '.join(allowed)}"
    share = value(cfg, "MODEL.ROI_RELATION_HEAD.POSITIVE_FRACTION")
    if share is not None and not 0 < share <= 1:
        yield f"MODEL.ROI_RELATION_HEAD.POSITIVE_FRACTION is {share}; give a share above 0 and at most 1"


def _wrong_pictures(cfg: Mapping[str, Any]) -> Iterator[str]:
    for name in _SIZES:
        given = value(cfg, f"INPUT.{name}")
        sizes = given if isinstance(given, (list, tuple)) else [given]
        if given is not None and (not sizes or not all(_number(size) and size >= 1 for size in sizes)):
            yield f"INPUT.{name} is {given!r}; give sizes in pixels, of at least 1"
    for name in ("PIXEL_MEAN", "PIXEL_STD"):
        given = value(cfg, f"INPUT.{name}")
        if given is None:
            continue
        if len(given) != 3 or not all(map(_number, given)):
            yield f"INPUT.{name} is {given!r}; give three numbers, one for each colour"
        elif name == "PIXEL_STD" and not all(number > 0 for number in given):
            yield f"INPUT.{name} is {given!r}; give three numbers above 0"


def _number(given: Any) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool) and given == given


def _wrong_device(cfg: Mapping[str, Any]) -> Iterator[str]:
    name = value(cfg, "MODEL.DEVICE")
    if name is None:
        return
    try:
        device = torch.device(name)
    except RuntimeError:
        yield f"MODEL.DEVICE is {name!r}; give cpu, cuda, or cuda:1 and the like"
        return
    if device.type == "cuda" and not torch.cuda.is_available():
        yield f"MODEL.DEVICE is {name}, but torch sees no GPU here; add MODEL.DEVICE cpu"
    elif device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        yield f"MODEL.DEVICE is {name}, but this machine has {torch.cuda.device_count()} GPUs, counted from 0"


def _unknown_parts(cfg: Mapping[str, Any]) -> Iterator[str]:
    for key in hook_points.PARTS:
        given, known = value(cfg, key), hook_points.registered(key)
        if given is not None and known and given not in known:
            near = difflib.get_close_matches(given, known, n=1)
            yield f"{key} is {given!r}, which is not known; " + (
                f"did you mean {near[0]}?" if near else f"use one of: {', '.join(known)}")
    if value(cfg, "MODEL.RELATION_ON"):
        predictor, known = host_settings.predictor_name(cfg), hook_points.known_predictors()
        if predictor not in known:
            yield f"there is no relation predictor {predictor!r}; the benchmark has: {', '.join(known)}"
    elif value(cfg, "HML.ENABLED"):
        yield "HML.ENABLED is True, but MODEL.RELATION_ON is False: there is no relation head to train; set it to True"


def _wrong_task(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Combinations that hosts assert, or fail on in the middle of a run."""
    head = value(cfg, "MODEL.ROI_RELATION_HEAD")
    if not value(cfg, "MODEL.RELATION_ON") or not isinstance(head, Mapping):
        return
    if head.get("USE_GT_OBJECT_LABEL") and not head.get("USE_GT_BOX", True):
        yield ("MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL is True and USE_GT_BOX is False, which is no task: given "
               "labels belong to given boxes; set USE_GT_BOX True (PredCls) or USE_GT_OBJECT_LABEL False (SGDet)")
    name, given = host_settings.predictor_name(cfg), value(cfg, "TEST.IMS_PER_BATCH")
    world = int(os.environ.get("WORLD_SIZE", 1))
    if given and given > world and not head.get("USE_GT_OBJECT_LABEL") and hook_points.decodes_one_image(name, cfg):
        yield (f"TEST.IMS_PER_BATCH is {given}, but without given labels (SGCls, SGDet) {name} of this benchmark "
               f"decodes one image at a time in tests and validations; set TEST.IMS_PER_BATCH {world}")
