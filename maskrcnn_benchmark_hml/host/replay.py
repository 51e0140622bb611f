"""A relation head that repeats another head's forward: its own code, on the pairs that the other one sampled.

The head's own ``forward`` runs, so that it prepares, extracts and changes what it likes (forks give the predictor all
pairs, the union extractor further arguments, or change the logits after the predictor). Only two things are not its
own: its samplers return what the student's samplers returned, and it stops where it would compute its loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor, nn

from ..errors import HMLError
from . import hook_points
from .step_call import LOGITS_POSITION, StepCall, own_list


def watch_samplers(head: Any, call: Callable[[], StepCall]) -> None:
    """Note what the samplers of a relation head return.

    Args:
        head: the student's relation head.
        call: gives the call that is noted at that moment.
    """
    for name in hook_points.sampler_names(head.samp_processor):
        setattr(head.samp_processor, name, _noting(getattr(head.samp_processor, name), name, call))


def _noting(sample: Callable, name: str, call: Callable[[], StepCall]) -> Callable:
    @functools.wraps(sample)
    def noting(*args, **kwargs):
        sampled = sample(*args, **kwargs)
        call().samples[name] = tuple(map(own_list, sampled))
        return sampled

    return noting


class _AtLoss(Exception):
    """Ends a replayed forward where the loss would be computed."""

    def __init__(self, logits: Any) -> None:
        self.logits = logits


class Replay:
    """Relation logits of a frozen relation head for the calls of another.

    Args:
        head: a copy of the student's relation head without hooks, frozen and in eval mode. It is changed.
    """

    def __init__(self, head: Any) -> None:
        self.head = head
        self._call = StepCall()
        self._predicted: Any = None
        for name in hook_points.sampler_names(head.samp_processor):
            setattr(head.samp_processor, name, functools.partial(self._sample, name))
        if hook_points.calls_loss_evaluator(head):
            hook_points.wrap_call(head, "loss_evaluator", self._stopping)
        head.predictor.register_forward_hook(self._note)

    def __call__(self, call: StepCall) -> Tensor:
        """Relation logits (N, C), row for row those of the student.

        Raises:
            HMLError: the head gives none.
        """
        self._call, self._predicted = call, None
        self.head.training = True  # the flag alone: the layers below stay as they are
        try:
            self.head(*map(own_list, call.args), **{name: own_list(value) for name, value in call.kwargs.items()})
            logits = self._predicted
        except _AtLoss as reached:
            logits = reached.logits
        finally:
            self.head.training = False
        if logits is None:
            raise HMLError(
                f"a copy of the relation head gives no relation logits when its {type(self.head.predictor).__name__} "
                "is in eval mode, so it cannot be a teacher; add HML.CR.WEIGHT 0"
            )
        return hook_points.as_rows(logits)

    def _sample(self, name: str, *args, **kwargs) -> tuple:
        if name not in self._call.samples:
            raise HMLError(f"the relation head samples pairs by {name} in the teacher but not in the student; "
                           "add HML.CR.WEIGHT 0")  # fmt: skip
        return tuple(map(own_list, self._call.samples[name]))

    def _stopping(self, evaluate: Callable) -> Callable:
        def loss_evaluator(*args, **kwargs) -> NoReturn:
            raise _AtLoss(hook_points.argument(evaluate, "relation_logits", 2, args, kwargs))

        return loss_evaluator

    def _note(self, predictor: nn.Module, args: tuple, output: Any) -> None:
        self._predicted = output[LOGITS_POSITION]
