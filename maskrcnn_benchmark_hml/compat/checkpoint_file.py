"""Reads a checkpoint as it comes from this or another trainer: what is around the weights is taken off and said.

| in the file                                        | taken as                                                   |
|----------------------------------------------------|------------------------------------------------------------|
| ``model``, else ``state_dict``, ... (`CONTAINERS`) | the weights; without any, the file itself is them          |
| ``module.``, ``_orig_mod.`` anywhere in a name     | left out: DataParallel and torch.compile put them there    |
| another prefix before ``backbone.``, ``rpn.``, ... | left out (``model.`` of Lightning), names without it too   |
| numpy scalars beside the weights                   | Python numbers                                             |
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import file_formats
from ..errors import HMLError
from ..files import describe_format, load_torch, why_unreadable

#: Where trainers put the weights; the first that is there counts, their average (EMA) only for want of them.
CONTAINERS = ("model", "state_dict", "model_state_dict", "module", "net", "network", "weights", "params",
              "model_ema", "state_dict_ema", "ema")
_WRAPPERS = ("module", "_orig_mod")
_TOP = ("backbone.", "rpn.", "roi_heads.")
RELATION_HEAD = "roi_heads.relation."
NEEDED_CLASSIFIER = ("the frozen detector's classifier must know this vocabulary: train one from this file with "
                     "tools/detector_pretrain_net.py, or use PredCls, which needs none")
#: How entries of a catalog and downloads begin.
REMOTE = ("catalog://", "http")
#: What ``torch.load`` raises for a file that is no checkpoint, or not all of one.
LOAD_ERRORS = (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, MemoryError,
               pickle.UnpicklingError, zipfile.BadZipFile, struct.error)


def is_local(entry: str) -> bool:
    """Not an entry of the catalog, a download or a Caffe2 pickle, which hosts load in their own ways."""
    return not entry.startswith(REMOTE) and not entry.endswith(".pkl")


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Load a checkpoint onto the CPU; nothing but data is ever built from the file (:mod:`..unpickling`).

    Returns:
        The content, its weights as ``model`` (plain names -> tensors); and what was taken off, in words.

    Raises:
        HMLError: why the file cannot be read, or what it holds instead.
    """
    try:
        loaded = load_torch(path)
    except HMLError:
        raise
    except LOAD_ERRORS as error:
        raise HMLError(not_loaded(path, error)) from error
    return unwrapped_content(loaded, path)


def weight_names(path: str | Path) -> list[str]:
    """The plain names of a checkpoint's weights, without reading their values where the format allows that.

    Raises:
        HMLError: as :func:`read_checkpoint`.
    """
    try:
        loaded = load_torch(path, mmap=True)
    except HMLError:
        raise
    except LOAD_ERRORS:  # files of the format before torch 1.6 cannot be mapped
        return list(read_checkpoint(path)[0]["model"])
    return list(unwrapped_content(loaded, path)[0]["model"])


def not_loaded(path: str | Path, error: BaseException) -> str:
    """Why ``torch.load`` could not read the file, as a sentence with the remedy."""
    if isinstance(error, OSError) or not Path(path).is_file():
        return why_unreadable(path, error, "a torch file")
    kind = describe_format(path)
    if kind == file_formats.SAFETENSORS:
        return (f"{path} is a safetensors file, not a torch file; convert it: python -c \"import torch, "
                f"safetensors.torch as s; torch.save({{'model': s.load_file('{path}')}}, 'weights.pth')\"")
    if kind == file_formats.PICKLE and not file_formats.cut_short(path, kind):
        return (f"{path} is a plain pickle file (as detectron2 and Caffe2 models are), not a torch file; give a file "
                "that was saved by torch.save and has this benchmark's parameter names")
    return why_unreadable(path, error, "a torch file")


def weight_not_used(weight: str, checkpoint: str) -> str:
    """What to say where a folder's own checkpoint is loaded although MODEL.WEIGHT names another file; "" if it does
    not, or names an entry of a catalog as SGB's configs do."""
    if not weight or not is_local(weight) or Path(weight).resolve() == Path(checkpoint).resolve():
        return ""
    return (f"MODEL.WEIGHT {weight} is not used: last_checkpoint in OUTPUT_DIR names {checkpoint}, which comes first; "
            "to use MODEL.WEIGHT, give another OUTPUT_DIR")


def other_shapes(path: str | Path, wrong: Mapping[str, tuple[Any, Any]], remedy: str) -> str:
    """The sentence on tensors of other shapes: name -> (shape in the file, shape in the model)."""
    shown = [f"{name} is {tuple(theirs)}, not {tuple(ours)}" for name, (theirs, ours) in wrong.items()]
    more = f", ... ({len(shown)} in all)" if len(shown) > 2 else ""
    return (f"{path} has other shapes than this model ({', '.join(shown[:2])}{more}); check the NUM_CLASSES keys "
            f"(a dataset with another vocabulary?) and the widths in the configuration; {remedy}")


def unwrapped_content(loaded: Any, path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """The same content with its weights, under plain names, as ``model``; and what was taken off, in words.

    Raises:
        HMLError: there are no weights in it.
    """
    if not isinstance(loaded, Mapping):
        raise HMLError(f"{path} holds a {type(loaded).__name__}, not a checkpoint; give a .pth file of a run")
    weights, inside, notes = loaded, list[str](), list[str]()
    while not _are_weights(weights):
        name = next((n for n in CONTAINERS if isinstance(weights.get(n), Mapping)), None)
        if name is None:
            held = ", ".join(map(str, list(weights)[:5])) or "nothing"
            raise HMLError(
                f"{path} holds no weights ({'/'.join(inside) + ': ' if inside else ''}{held}); they are looked for "
                f"under {', '.join(CONTAINERS[:4])}: save them as torch.save({{'model': weights}}, FILE)"
            )
        weights = weights[name]
        inside.append(name)
    if inside not in ([], ["model"]):
        notes.append(f"the weights are those under {'/'.join(inside)}")
    rest = {key: _plain_number(value) for key, value in loaded.items() if key not in CONTAINERS} if inside else {}
    names, notes_of_names = plain_names([n for n, v in weights.items() if torch.is_tensor(v)])
    return {**rest, "model": {new: weights[old] for old, new in names.items()}}, notes + notes_of_names


def plain_names(given: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Names of weights without what wrappers put before or into them.

    Returns:
        name in the file -> plain name; and what was taken off, in words.
    """
    names, notes = {name: name for name in given if name != "n_averaged"}, []  # a count of torch's AveragedModel
    for word in _WRAPPERS:
        without = {old: ".".join(part for part in new.split(".") if part != word) for old, new in names.items()}
        count = sum(without[old] != names[old] for old in names)
        if count and len(set(without.values())) == len(without):
            names = without
            notes.append(f"{word}. is removed from {count} names")
    if not any(new.startswith(_TOP) for new in names.values()):
        starts = Counter(
            found.group(1) for new in names.values() if (found := re.match(r"(.*?\.)(?:backbone|rpn|roi_heads)\.", new))
        )
        if starts:
            (prefix, count), = starts.most_common(1)
            unused = f", {len(names) - count} others are not used" if len(names) > count else ""
            names = {old: new[len(prefix):] for old, new in names.items() if new.startswith(prefix)}
            notes.append(f"{prefix} is removed from {count} names{unused}")
    return names, notes


def holds_relation_head(weights: Iterable[str]) -> bool:
    """Whether these names (plain ones) include a relation head's."""
    return any(name.startswith(RELATION_HEAD) for name in weights)


def _are_weights(value: Mapping[str, Any]) -> bool:
    return any(torch.is_tensor(item) for item in value.values()) and not any(
        isinstance(value.get(name), Mapping) for name in CONTAINERS
    )


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
