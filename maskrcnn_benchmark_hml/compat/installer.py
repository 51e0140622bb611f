"""``install(root)``: every shim, in order, once per process."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from ..datasets.layout import check_folder
from ..errors import HMLError
from . import host_modules, libraries, modules, statistics, workers
from .imports import active_finder

PACKAGE = "maskrcnn_benchmark"


def _patch_word_vectors(module) -> None:
    # Imported late: gensim and h5py (below) take a second that a run without these modules need not pay.
    from .word_vectors import download_free_word_vectors

    download_free_word_vectors(module)


def _patch_visual_genome(module) -> None:
    from .visual_genome import dataset_other_than_vg

    dataset_other_than_vg(module)


def _patch_evaluation(module) -> None:
    from .zero_shot import zero_shot_of_the_data

    zero_shot_of_the_data(module)


#: Host module (below the package) and what is exchanged in it once it has been imported.
HOST_PATCHES: tuple[tuple[str, Callable], ...] = (
    ("config.defaults", host_modules.device_default),
    ("config.defaults", host_modules.data_folder),
    ("utils.comm", host_modules.gather_objects),
    ("data.build", statistics.statistics_once),
    ("layers.batch_norm", host_modules.frozen_batch_norm),
    ("structures.bounding_box", host_modules.boxes_in_own_memory),
    ("modeling.roi_heads.relation_head.utils_relation", host_modules.quick_orthogonal_blocks),
    ("modeling.roi_heads.relation_head.utils_motifs", _patch_word_vectors),
    ("data.datasets.visual_genome", _patch_visual_genome),
    ("data.datasets.evaluation.vg.vg_eval", _patch_evaluation),
)


@dataclass(frozen=True)
class Installed:
    """What ``install`` did.

    Attributes:
        root: the checkout.
        applied: names of the shims that this machine needed, in order; empty when the host runs natively.
    """

    root: Path
    applied: tuple[str, ...]


_lock = threading.RLock()
_done: Installed | None = None


def _check(root: Path) -> None:
    if not (root / PACKAGE / "config" / "defaults.py").is_file():
        raise HMLError(f"{root} is no Scene-Graph-Benchmark checkout (no {PACKAGE}/config/defaults.py); correct --sgb")
    loaded = sys.modules.get(PACKAGE)
    where = getattr(loaded, "__file__", None)
    if where is not None and Path(where).resolve().parent.parent != root.resolve():
        raise HMLError(f"{PACKAGE} is already imported from {Path(where).parent}; start a new process for {root}")


def install(root: str | os.PathLike, data: str | os.PathLike | None = None) -> Installed:
    """Makes the checkout importable and installs the shims that this machine needs.

    Idempotent (a second call with the same folder changes nothing) and re-entrant (the imports that it triggers may
    call it). Call it before the host is imported: its modules are patched as they are imported.

    Args:
        root: an unmodified Scene-Graph-Benchmark checkout, or a fork of it.
        data: a dataset folder in this package's layout, used for the host's Visual Genome entries; also read from the
            environment variable HML_DATA, which it sets so that workers and ranks agree.
    Raises:
        HMLError: not a checkout, another one is in use already, or ``data`` is no folder.
    """
    global _done
    root = Path(root).expanduser().absolute()
    with _lock:
        if _done is not None and _done.root.resolve() == root.resolve():
            return _done
        if _done is not None:
            raise HMLError(f"the checkout {_done.root} is already in use; start a new process for {root}")
        _check(root)
        if data is not None:
            os.environ[host_modules.DATA_VARIABLE] = str(check_folder(Path(data)).expanduser().absolute())
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        _done = Installed(root, ())
        applied = [name for name, shim in machine_shims(root) if shim()]
        finder = active_finder()
        for name, patch in HOST_PATCHES:
            finder.after_import(f"{PACKAGE}.{name}", patch)
        _done = Installed(root, tuple(applied))
        return _done


def machine_shims(root: Path) -> list[tuple[str, Callable[[], bool]]]:
    """The shims outside the host, by name; each returns whether this machine needed it."""
    return [
        ("torch_six", modules.torch_six),
        ("apex_module", modules.apex_module),
        ("compiled_extension", lambda: modules.compiled_extension(root)),
        ("opencv", modules.opencv),
        ("numpy_aliases", libraries.numpy_aliases),
        ("torch_hub_download_name", libraries.torch_hub_download_name),
        ("torch_load_for_host", lambda: libraries.torch_load_for_host(root)),
        ("pickle_load_for_host", lambda: libraries.pickle_load_for_host(root)),
        ("cuda_calls_on_cpu", libraries.cuda_calls_on_cpu),
        ("gloo_without_cuda", libraries.gloo_without_cuda),
        ("data_parallel_on_cpu", libraries.data_parallel_on_cpu),
        ("shims_in_workers", lambda: workers.shims_in_workers(str(root))),
    ]
