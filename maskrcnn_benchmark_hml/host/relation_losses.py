"""The losses of a relation head under HML: l_new takes the place of its relation loss, and CR is added."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import HMLError
from ..training.stage_method import StageMethod
from . import hook_points
from .step_call import StepCall, own_list

_log = logging.getLogger("maskrcnn_benchmark.hml")


class RelationLosses:
    """Exchanges and adds losses of one stage's relation head, and notes what the teacher needs to answer.

    Args:
        method: of the stage.
        num_classes: C, predicates and background.
    """

    def __init__(self, method: StageMethod, num_classes: int) -> None:
        self.method, self.num_classes = method, num_classes
        self.call = StepCall()
        self.on_first: Callable[[StepCall, Tensor], None] | None = None
        self._named = False

    def attach(self, head: Any) -> None:
        """Register on a relation head that has no hooks of ours yet."""
        self.head = head
        head.register_forward_pre_hook(self._before_head, with_kwargs=True)
        head.predictor.register_forward_pre_hook(self._before_predictor, with_kwargs=True)
        if hook_points.calls_loss_evaluator(head):
            hook_points.wrap_call(head, "loss_evaluator", self._with_new_loss)
            return
        head.predictor.register_forward_hook(self._after_predictor)
        if getattr(head.predictor, hook_points.CRITERION, None) is not None:
            hook_points.wrap_call(head.predictor, hook_points.CRITERION, self._with_own_criterion)

    def add_to(self, losses: dict[str, Tensor]) -> None:
        """After the model's forward: add CR to the losses, and say once which of them are the host's."""
        if not self._named:
            self._named = True
            own = [name for name, value in losses.items() if value is not self.call.new_loss]
            _log.info("HML: %s: beside l_new the host's own losses are trained: %s", self.method.stage.title(),
                      ", ".join(own) or "none")
        losses.update(self.call.added_losses)
        self.call = StepCall()

    # Mixed precision's autocast is on wherever the teacher answers: within the head's forward.

    def _before_head(self, head: nn.Module, args: tuple, kwargs: dict) -> None:
        if head.training:
            self.call.args = tuple(map(own_list, args))
            self.call.kwargs = {name: own_list(value) for name, value in kwargs.items()}

    def _before_predictor(self, predictor: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.head.training:
            self.call.predictor_args, self.call.predictor_kwargs = args, dict(kwargs)

    def _with_new_loss(self, evaluate: Callable) -> Callable:
        def loss_evaluator(*args, **kwargs):
            losses = evaluate(*args, **kwargs)
            labels = hook_points.as_rows(hook_points.argument(evaluate, "rel_labels", 1, args, kwargs))
            logits = hook_points.as_rows(hook_points.argument(evaluate, "relation_logits", 2, args, kwargs))
            self._concept_reconstruction(logits)
            self.call.new_loss = self.method.relation_loss(logits, labels)
            return hook_points.with_relation_loss(losses, self.call.new_loss)

        return loss_evaluator

    def _with_own_criterion(self, evaluate: Callable) -> Callable:
        """The predictor computes its losses itself and returns no logits in training (SHA-GCL)."""

        def criterion_loss(logits, labels, *args, **kwargs):
            if logits.shape != (self.call.pair_count(self.head.predictor), self.num_classes):  # the objects' loss
                return evaluate(logits, labels, *args, **kwargs)
            self.call.own_logits = logits
            self.call.new_loss = self.method.relation_loss(logits, labels)
            return self.call.new_loss

        return criterion_loss

    def _after_predictor(self, predictor: nn.Module, inputs: tuple, output: tuple) -> None:
        if self.head.training:
            self._concept_reconstruction(self.call.relation_logits(predictor, output))

    def _concept_reconstruction(self, logits: Tensor) -> None:
        if not logits.requires_grad:
            raise HMLError(
                f"the relation logits of {type(self.head.predictor).__name__} carry no gradient in training, so l_new "
                "and CR would train nothing; its own losses are the method of this predictor: choose another "
                "MODEL.ROI_RELATION_HEAD.PREDICTOR, or HML.ENABLED False"
            )
        if self.on_first is not None:
            self.on_first(self.call, logits)
            self.on_first = None
        self.call.added_losses = self.method.on_forward(self.call, logits)

