"""HML.TEST.TAU: one pass over the test images, then one evaluation per tau of the same logits, adjusted.

The host's ``inference`` runs as always, while what its relation head hands to the post-processor is noted. Then it runs
once per tau with a model that only post-processes the noted logits and a loader that decodes no picture.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import check_config
from ..errors import HMLError
from ..method.adjustment import adjust_logits, log_prior, tau_folder
from ..method.choices import PRIORS
from . import hook_points
from .training_data import training_label_counts

_log = logging.getLogger("maskrcnn_benchmark.hml")
_CPU = torch.device("cpu")


def wrap_tests(namespace: dict[str, Any]) -> None:
    """Let a script's tests also evaluate adjusted logits where HML.TEST.TAU asks for it.

    In a training script only ``run_test`` does so, never a validation; a test script's ``inference`` always.
    """
    if "train" not in namespace:
        if namespace.get("inference") is not None:
            namespace["inference"] = _with_adjusted(namespace["inference"])
    elif namespace.get("run_test") is not None:
        namespace["run_test"] = _adjusting(namespace, namespace["run_test"])


def check_test(cfg, namespace: Mapping[str, Any], script: str) -> None:
    """Refuse a run whose adjusted tests cannot be done, before it starts.

    Raises:
        HMLError: a wrong setting, no folder for the results, or a script without the functions that are wrapped.
    """
    if not cfg.HML.TEST.TAU:
        if cfg.HML.TEST.PRIOR != PRIORS[0]:
            raise HMLError(f"HML.TEST.PRIOR is {cfg.HML.TEST.PRIOR!r} and has no effect here: give HML.TEST.TAU, or "
                           "leave it out")
        return
    check_config(cfg)
    missing = [name for name in ("inference", *(["run_test"] if "train" in namespace else []))
               if namespace.get(name) is None]
    if missing:
        raise HMLError(f"{script} has no {missing[0]}, which HML.TEST.TAU needs; leave HML.TEST.TAU empty")
    if not cfg.OUTPUT_DIR:
        raise HMLError("OUTPUT_DIR is empty; HML.TEST.TAU needs a folder for its results: add OUTPUT_DIR <folder>")


def _adjusting(namespace: dict[str, Any], run_test: Callable) -> Callable:
    @functools.wraps(run_test)
    def tested(*args, **kwargs):
        original = namespace["inference"]
        namespace["inference"] = _with_adjusted(original)
        try:
            return run_test(*args, **kwargs)
        finally:
            namespace["inference"] = original

    return tested


def _with_adjusted(inference: Callable) -> Callable:
    signature = inspect.signature(inference)

    @functools.wraps(inference)
    def inferred(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        given = call.arguments
        cfg = given["cfg"]
        if not cfg.HML.TEST.TAU:
            return inference(*args, **kwargs)
        head, folder = hook_points.relation_head(given["model"]), Path(given["output_folder"])
        record = _Record(given["data_loader"])
        given["data_loader"] = record
        with record.of(head.post_processor):
            result = inference(*call.args, **call.kwargs)
        given["data_loader"] = _Replay(record)
        prior = _prior(cfg)
        for tau in cfg.HML.TEST.TAU:
            target = folder / tau_folder(tau)
            target.mkdir(parents=True, exist_ok=True)
            given["output_folder"] = str(target)
            given["model"] = _Adjusted(head.post_processor, record, prior, tau, cfg.HML.TEST.PRIOR)
            _log.info("HML: the same logits less %g log prior (%s), into %s", tau, cfg.HML.TEST.PRIOR, target)
            inference(*call.args, **call.kwargs)
        return result

    return inferred


def _prior(cfg) -> Tensor:
    return log_prior(training_label_counts(cfg).tolist(), cfg.MODEL.ROI_RELATION_HEAD.POSITIVE_FRACTION)


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors, and what else has ``to`` (boxes), on a device; lists and tuples of them item by item."""
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value.to(device) if hasattr(value, "to") else value


class _Record:
    """A loader that notes what it yields except the pictures, and what the post-processor is called with meanwhile."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.batches: list[tuple] = []
        self.calls: list[tuple] = []
        self.device = _CPU

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple]:
        for batch in self.loader:
            self.batches.append(tuple(batch[1:]))
            yield batch

    def of(self, post_processor: nn.Module) -> Any:
        """Note the calls of this module until the returned handle's block ends."""
        return post_processor.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, args: tuple) -> None:
        logits, *rest = args
        self.device = hook_points.as_rows(logits[0]).device
        # A copy: post-processors write their results into the boxes that they are given.
        self.calls.append(_moved((tuple(logits), *copy.deepcopy(rest)), _CPU))


class _Replay:
    """The batches of a record without their pictures."""

    def __init__(self, record: _Record) -> None:
        self.record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record.loader, name)

    def __len__(self) -> int:
        return len(self.record.batches)

    def __iter__(self) -> Iterator[tuple]:
        return ((_NoPictures(), *batch) for batch in self.record.batches)


class _NoPictures:
    def to(self, *args, **kwargs) -> _NoPictures:
        return self


class _Adjusted(nn.Module):
    """A model that answers the k-th batch with the k-th noted call of the post-processor, its logits adjusted."""

    def __init__(self, post_processor: nn.Module, record: _Record, prior: Tensor, tau: float, over: str) -> None:
        super().__init__()
        self.post_processor, self.record = post_processor, record
        self.prior, self.tau, self.over = prior, tau, over
        self._at = 0

    def forward(self, images: Any, targets: Any = None, *args, **kwargs) -> Any:
        if len(self.record.calls) != len(self.record.batches):
            raise HMLError(
                f"{len(self.record.batches)} test batches led to {len(self.record.calls)} calls of the relation "
                "head's post_processor, where HML.TEST.TAU needs one each; leave HML.TEST.TAU empty on this benchmark"
            )
        (relations, *others), *rest = _moved(copy.deepcopy(self.record.calls[self._at]), self.record.device)
        self._at += 1
        adjust = functools.partial(adjust_logits, prior=self.prior, tau=self.tau, over=self.over)
        relations = adjust(relations) if torch.is_tensor(relations) else [adjust(part) for part in relations]
        return self.post_processor((relations, *others), *rest)
