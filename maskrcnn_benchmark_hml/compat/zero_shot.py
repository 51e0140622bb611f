"""The host's zero-shot recall by the data set's own training split, not by Visual Genome's list of triplets."""

from __future__ import annotations

import functools
import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.mini_vg import vg150_vocabulary
from ..datasets.zero_shot import zero_shot_triplets
from ..files import write_json
from ..run_folder import ZERO_SHOT
from .visual_genome import HOST_IMAGE_COUNT, read_facts

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")

_LIST = "zeroshot_triplet"  # a fork calls its file zeroshot_triplet_new.pytorch


def zero_shot_of_the_data(module: Any) -> None:
    """Cures a zero-shot recall of other data's triplets (evaluation/vg/vg_eval.py).

    The host reads a list of VG150's zero-shot triplets as class indices, whatever data it tests. VG150 itself keeps
    that list, with which results are published. For other data the triplets are those of the annotation file that
    none of its training images has. A file beside the results says which it was, for ``hml report``.
    """
    original = getattr(module, "do_vg_evaluation", None)
    if original is None:  # a fork whose evaluation has another name
        logger.warning("%s has no do_vg_evaluation; its zero-shot recall (zR) is that of VG150's list", module.__name__)
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def do_vg_evaluation(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        source, triplets = _of_dataset(given["dataset"])
        host_torch = module.torch
        if triplets is not None:
            module.torch = _Torch(host_torch, triplets)
        try:
            result = original(*args, **kwargs)
        finally:
            module.torch = host_torch
        if given.get("output_folder"):
            write_json(Path(given["output_folder"]) / ZERO_SHOT, {"source": source}, "result")
        return result

    module.do_vg_evaluation = do_vg_evaluation


def _of_dataset(dataset: Any) -> tuple[str, np.ndarray | None]:
    """What the zero-shot triplets of a data set are taken from, in words, and the triplets; None: the host's list."""
    path = getattr(dataset, "roidb_file", "")
    if not path or not Path(path).is_file():
        logger.warning("zero-shot recall (zR) is left out: the data set %s has no annotation file in Visual Genome's "
                       "format, and the benchmark's list is of VG150's classes", type(dataset).__name__)  # fmt: skip
        return "none", np.zeros((0, 3), dtype=np.int64)
    split, validation = read_facts(path)
    if len(split) == HOST_IMAGE_COUNT and tuple(dataset.ind_to_predicates[1:]) == vg150_vocabulary().predicates:
        return "VG150", None
    triplets = zero_shot_triplets(path, validation)
    logger.info("zero-shot recall (zR): %d triplets of %s occur in no training image; the benchmark's own list is of "
                "VG150 and is not used", len(triplets), path)  # fmt: skip
    return "training split", triplets


class _Torch:
    """Stands in for ``torch`` in the host's module: where the host loads its list, these triplets are given."""

    def __init__(self, module: Any, triplets: np.ndarray) -> None:
        self._module, self._triplets = module, triplets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def load(self, f: Any, *args: Any, **kwargs: Any) -> Any:
        """The triplets, or the file where it is another one."""
        if Path(str(f)).name.startswith(_LIST):
            return torch.from_numpy(self._triplets)
        return self._module.load(f, *args, **kwargs)
