"""The host's cache of training statistics: written once, aside, and made again where it is cut short or stale."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..errors import HMLError
from ..files import cut_short, describe_format, formats, load_torch, why_unreadable, written_aside
from ..run_folder import STATISTICS

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")

CACHES = "*" + STATISTICS
#: Beside the statistics: the annotation files that they were counted in. The bundled benchmark has the same key.
_SOURCES = "sources"


def statistics_once(module: Any) -> None:
    """Cures five faults of ``get_dataset_statistics`` (data/build.py).

    Every rank counts the training set and writes the same file: here rank 0 counts and writes, the others then read.
    A run that is stopped while it writes leaves a cut file, with which no later run starts: here it is written aside,
    and one that is cut short all the same is removed and made again. A cache is used for ever, also when the annotation
    files have changed or ``--data`` names others: here it is made again.
    A test alone has no OUTPUT_DIR yet: it is made.
    """
    original = module.get_dataset_statistics

    @functools.wraps(original)
    def get_dataset_statistics(cfg: Any) -> Any:
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        result = None
        if not several or dist.get_rank() == 0:
            folder = getattr(cfg, "OUTPUT_DIR", "")
            if folder:
                os.makedirs(folder, exist_ok=True)
            remove_cut_caches(folder)
            _remove_stale_caches(folder, cfg)
            with _saved_aside(cfg):
                result = original(cfg)
        if several:
            dist.barrier()
        return original(cfg) if result is None else result

    module.get_dataset_statistics = get_dataset_statistics


def remove_cut_caches(folder: str | os.PathLike) -> None:
    """Remove every statistics cache of a folder that is cut short, and say so; the host counts again.

    Raises:
        HMLError: a cache may not be read, or a cut one not be removed.
    """
    for path in sorted(Path(folder).glob(CACHES)) if str(folder) else ():
        how = _how_cut(path)
        if not how:
            continue
        _remove(path, f"cut short ({how})")


def _remove(path: Path, fault: str) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise HMLError(f"the statistics cache {path} is {fault} and cannot be removed; delete it") from error
    logger.warning("the statistics cache %s was %s: removed, the training set is counted again", path, fault)


def _remove_stale_caches(folder: str | os.PathLike, cfg: Any) -> None:
    """Remove every cache that was counted in other annotation files, or before these were last changed.

    Raises:
        HMLError: one cannot be removed.
    """
    for path in sorted(Path(folder).glob(CACHES)) if str(folder) else ():
        sources = _sources(path, cfg)
        counted = _counted_in(path)
        newest = max((changed for _, _, changed in sources), default=0)
        if sources and (newest > path.stat().st_mtime_ns if counted is None else counted != sources):
            _remove(path, f"counted in other files than {', '.join(name for name, *_ in sources)} as they are now")


def _sources(cache: Path, cfg: Any) -> list[list[Any]]:
    """Path, bytes and time of change (ns) of the files of the datasets that a cache is named after; [] if unknown."""
    if not hasattr(cfg, "PATHS_CATALOG"):
        return []
    imports = importlib.import_module("maskrcnn_benchmark.utils.imports")
    catalog = imports.import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
    stem, together = cache.name[: -len(STATISTICS)], tuple(getattr(getattr(cfg, "DATASETS", None), "TRAIN", ()))
    try:
        args = [catalog.get(name, cfg)["args"] for name in (together if "".join(together) == stem else (stem,))]
    except (RuntimeError, KeyError, AssertionError):  # this catalog has no such dataset: this run does not read it
        return []
    if any("roidb_file" in one and not Path(one["roidb_file"]).is_file() for one in args):
        return []  # nothing could be counted again; a test on the user's own pictures needs no annotations
    values = [value for one in args for value in one.values()]
    files = {Path(value) for value in values if isinstance(value, (str, Path)) and Path(value).is_file()}
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files)]


def _counted_in(cache: Path) -> list[list[Any]] | None:
    """The files that a cache of ours names; None for one that the host wrote alone."""
    try:
        content = torch.load(cache, map_location="cpu", weights_only=True)
    except Exception as error:  # whole, see _how_cut, but of types that only the host can load
        logger.debug("%s: %s", cache, error)
        return None
    return content.get(_SOURCES) if isinstance(content, dict) else None


def _how_cut(path: Path) -> str:
    """How a cache can be seen to be cut short; "" if it is whole, whatever it holds."""
    try:
        kind = describe_format(path)
        how = cut_short(path, kind)
        if how or kind not in (formats.TORCH, formats.TORCH_LEGACY, formats.PICKLE):
            return how
        load_torch(path)
    except HMLError:  # whole, with something in it that is refused: the host's own reading says so
        return ""
    except OSError as error:
        raise HMLError(f"the statistics cache {why_unreadable(path, error, 'a torch file')}") from error
    except Exception as error:
        # The end of a legacy file is missing; torch 2.1 says so in an error of another kind.
        if isinstance(error, (EOFError, RuntimeError)) or "unexpected EOF" in str(error):
            return (str(error).splitlines() or ["it ends too early"])[0]
        logger.debug("%s: %s", path, error)  # whole, but of types that only the host can load
    return ""


@contextmanager
def _saved_aside(cfg: Any) -> Iterator[None]:
    """Inside, ``torch.save`` to a statistics cache writes beside the file and moves it there when it is whole.

    The annotation files that were counted are added to it.
    """
    save = torch.save

    @functools.wraps(save)
    def aside(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not (isinstance(f, (str, os.PathLike)) and Path(f).match(CACHES)):
            save(obj, f, *args, **kwargs)
            return
        if isinstance(obj, dict) and (sources := _sources(Path(f), cfg)):
            obj = {**obj, _SOURCES: sources}
        with written_aside(os.fspath(f), "statistics cache") as part:
            save(obj, part, *args, **kwargs)

    torch.save = aside
    try:
        yield
    finally:
        torch.save = save
