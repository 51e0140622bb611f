"""Copies a state dict into a model, name by name, or refuses and says which names or shapes differ."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from maskrcnn_benchmark_hml.compat.checkpoint_file import NEEDED_CLASSIFIER, other_shapes
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.finite import check_weights

_WRAPPER = "module."
# The relation head alone pools every box from all levels; a detector has no such convolution to start from.
NEVER_IN_A_DETECTOR = ".pooler.reduce_channel."
DETECTOR = ("backbone.", "rpn.", "roi_heads.box.")
CLASSIFIER = "roi_heads.box.predictor."
OTHER_HEADS = ("roi_heads.relation.", "roi_heads.attribute.", "roi_heads.mask.", "roi_heads.keypoint.")


@dataclass(frozen=True)
class LoadReport:
    """Names in the model's terms: ``missing`` kept their initial value, ``unexpected`` stayed in the file."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside DistributedDataParallel, or the model itself."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def strip_wrapper(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same state dict without the ``module.`` that DistributedDataParallel puts before every name."""
    if state_dict and all(name.startswith(_WRAPPER) for name in state_dict):
        return {name[len(_WRAPPER) :]: value for name, value in state_dict.items()}
    return dict(state_dict)


def source_name(name: str, load_mapping: Mapping[str, str], given: Container[str]) -> str:
    """The name under which the file holds what the model calls ``name``.

    A file without the part that the mapping names may have the model's own: one of a whole relation model, say.
    """
    for ours, theirs in load_mapping.items():
        if ours in name:
            mapped = name.replace(ours, theirs)
            return name if mapped not in given and name in given else mapped
    return name


def brief(names: Sequence[str], shown: int = 4) -> str:
    """The first few names and how many there are in all."""
    text = ", ".join(names[:shown])
    return text if len(names) <= shown else f"{text}, ... ({len(names)} in all)"


def unknown_names(unexpected: Sequence[str], own: Sequence[str]) -> list[str]:
    """Names of a file that no part of the model explains.

    A part of the detector that the task does without (in PredCls the proposals and the classifier) and other heads are
    known. A name inside a part that the model has is not: the file is from a deeper network, say.
    """
    absent = [part for part in DETECTOR if not any(name.startswith(part) for name in own)]
    return [name for name in unexpected if not name.startswith((*absent, *OTHER_HEADS))]


def load_state_dict(
    model: torch.nn.Module,
    loaded_state_dict: Mapping[str, torch.Tensor],
    load_mapping: Mapping[str, str] | None = None,
    new_parts: Sequence[str] = (),
    source: str = "the checkpoint",
    partial: bool = False,
    may_be_new: str | None = None,
) -> LoadReport:
    """Load by exact name; everything is checked before the first value is copied.

    Args:
        load_mapping: part of a name in the model -> part of the name in the file, for modules that start as a copy of
            another one (the relation head's extractors start as the detector's box head).
        new_parts: name prefixes that the file need not have: they keep their initialisation.
        source: what to call the file in messages.
        partial: load what fits by name, however little that is, and by shape as far as ``may_be_new`` allows.
        may_be_new: the part of the model whose tensors may, with ``partial``, have other shapes in the file: they keep
            their initialisation, to be trained anew. None: all must agree.

    Raises:
        HMLError: a name is missing or unknown (not with ``partial``), no name fits, a shape differs (a model for
            another number of classes, mostly), or a value is NaN or infinite.
    """
    mapping = load_mapping or {}
    target = unwrapped(model)
    own = target.state_dict()
    given = strip_wrapper(loaded_state_dict)
    names = {name: source_name(name, mapping, given) for name in own}

    missing = [name for name, theirs in names.items() if theirs not in given]
    refused = [
        name
        for name in missing
        if not any(name.startswith(part + ".") for part in new_parts)
        or (names[name] != name and NEVER_IN_A_DETECTOR not in name)
    ]
    used = set(names.values())
    unexpected = tuple(name for name in given if name not in used)
    unknown = unknown_names(unexpected, list(own))
    nothing = len(missing) == len(names)
    if nothing or ((refused or unknown) and not partial):
        lacking = [f"lacks {brief([names[name] for name in refused or missing])}"] if refused or nothing else []
        surplus = [f"has {brief(unknown)}, which this model has not"] if unknown else []
        raise HMLError(
            f"{source} {' and '.join(lacking + surplus)}; it belongs to another model: use the configuration that it "
            "was trained with, another file, or MODEL.PARTIAL_LOAD True for what fits by name"
        )
    found = {name: given[theirs] for name, theirs in names.items() if theirs in given}
    wrong = {name: (value.shape, own[name].shape) for name, value in found.items() if value.shape != own[name].shape}
    trained = [name for name in wrong if may_be_new is not None and name.startswith(may_be_new)]
    if wrong and not (partial and len(trained) == len(wrong)):
        raise HMLError(other_shapes(source, wrong, _remedy(wrong, trained)))
    found = {name: value for name, value in found.items() if name not in wrong}
    missing += wrong
    check_weights(found.items(), source)
    target.load_state_dict(found, strict=False)
    return LoadReport(tuple(found), tuple(missing), unexpected)


def _remedy(wrong: Collection[str], trained: Collection[str]) -> str:
    if len(trained) == len(wrong):
        return "MODEL.PARTIAL_LOAD True leaves them at their initialisation, to be trained anew"
    if all(name.startswith(CLASSIFIER) for name in wrong if name not in trained):
        return NEEDED_CLASSIFIER
    return "use the settings that it was trained with"
