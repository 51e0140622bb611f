"""At stage 1's first step: can a copy of this relation head be the teacher of stage 2?"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import HMLError
from ..training.seeding import seeded
from ..training.teacher import copy_module
from . import hook_points
from .replay import Replay
from .step_call import StepCall

_log = logging.getLogger("maskrcnn_benchmark.hml")
#: Of the largest logit: float16 rounds to 0.001, and batched kernels differ by less.
_TOLERANCE = 0.02
_REMEDY = "train without a teacher (HML.CR.WEIGHT 0), or choose another MODEL.ROI_RELATION_HEAD.PREDICTOR"


class SelfCheck:
    """Replays the student's first call in a copy of its head, with equal weights.

    Args:
        head: the student's relation head, freshly built, without hooks.
        labels_given: objects' labels are given (PredCls); else predictors decode them, in eval mode in another way.
    """

    def __init__(self, head: Any, labels_given: bool) -> None:
        self.student, self.copy, self.labels_given = head, copy_module(head), labels_given

    def __call__(self, call: StepCall, logits: Tensor) -> None:
        """Check the copy's answer.

        Args:
            call: the student's first. logits: (N, C), its relation logits.

        Raises:
            HMLError: the copy fails, or its logits have another shape, are not finite, or mean another thing.
        """
        copied, name = self.copy, type(self.student.predictor).__name__
        copied.load_state_dict(self.student.state_dict())
        copied.to(logits.device).requires_grad_(False).eval()
        if not self.labels_given:
            hook_points.teacher_reads_labels(copied.predictor)
        with seeded(0), torch.no_grad():
            replay = Replay(copied)
            answers = _answer(replay, call, name)
            trained = _without_chance(replay, call)
        if answers.shape != logits.shape:
            raise HMLError(f"a copy of {name} answers the student's {tuple(logits.shape)} relation logits with "
                           f"{tuple(answers.shape)}, so it cannot be a teacher; {_REMEDY}")
        if not bool(answers.isfinite().all()):
            raise HMLError(f"a copy of {name} gives relation logits that are NaN or infinite in eval mode; {_REMEDY}")
        if trained is None or trained.shape != answers.shape:
            return
        off = float((trained - answers).abs().max()) / max(1.0, float(answers.abs().max())) if len(answers) else 0.0
        if off > _TOLERANCE and self.labels_given:
            raise HMLError(
                f"in eval mode the relation logits of {name} are another quantity than in training (they differ by "
                f"{off:.0%} of the largest): CR would compare the two, because the teacher is in eval mode; {_REMEDY}"
            )
        if off > _TOLERANCE:
            _log.info("HML: the teacher's relation logits (eval mode) differ from those in training mode by up to "
                      "%.0f %% of the largest, because it decodes the objects' labels itself", 100 * off)


def _answer(replay: Replay, call: StepCall, name: str) -> Tensor:
    try:
        return replay(call)
    except HMLError:
        raise
    except Exception as error:  # of a fork's own code, of any kind
        raise HMLError(
            f"a copy of {name} fails in eval mode on the student's own pairs ({type(error).__name__}: {error}), so it "
            f"cannot be a teacher; {_REMEDY}"
        ) from error


def _without_chance(replay: Replay, call: StepCall) -> Tensor | None:
    """The copy's logits with its predictor in training mode but without dropout; None if it gives none so."""
    fixed = (nn.modules.batchnorm._BatchNorm, nn.RNNBase)
    for part in replay.head.predictor.modules():
        part.training = not isinstance(part, fixed)
    try:
        with _no_dropout():
            return replay(call)
    except Exception as error:
        # A loss or a sampling that a predictor does in training alone may want what a replay has not.
        _log.debug("HML: no comparison of the predictor's modes: %r", error)
        return None
    finally:
        replay.head.predictor.eval()


@contextlib.contextmanager
def _no_dropout() -> Iterator[None]:
    """torch's dropout, called by modules or by hand, leaves its input as it is."""
    original = torch.nn.functional.dropout
    torch.nn.functional.dropout = lambda input, *args, **kwargs: input
    try:
        yield
    finally:
        torch.nn.functional.dropout = original
