"""The method of one stage: the object that owns the stage's state, and what it does at each event.

The order of the events in the host's training loop (``tests/host/test_event_order.py`` traces it)::

    model = build_detection_model()
    on_stage_start(head)                  # copy the head as the teacher
    load the host's starting weights or, to resume, a checkpoint
    if not resumed:
        on_fresh_start(head)              # STAGES.INIT previous: the previous head's weights
    on_parameters(head)                   # theta* is set, F and Omega start
    if resumed:
        load_state_dict(state)
    loader = make_data_loader()
    on_data(counts)                       # class weights of l_new (eq. 4)
    for iteration, batch in loader:
        losses = model(batch):
            on_forward(call, logits)      # CR (eq. 5), after the predictor's forward
            relation_loss(logits, labels) # l_new (eq. 4); before on_forward if the predictor computes its own losses
        losses.backward()
        on_gradients()                    # keep the gradient for F and Omega, then add MR's gradient (eq. 12)
        clip_grad_norm()
        on_skipped()                      # only if a gradient outside F holds inf or NaN
        optimizer.step()
        on_step(iteration)                # F (eq. 8) and Omega_raw (eq. 9, 11)
    on_stage_end(head)                    # the memory: head, F, Omega (eq. 10)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from ..errors import HMLError
from ..finite import first_not_finite
from ..method.losses import class_balanced_loss, class_balanced_weights, concept_reconstruction
from ..method.memory import StageMemory
from ..method.reconstruction import ModelReconstruction
from ..method.tracker import ImportanceTracker
from .background import BackgroundCount
from .data import StageData
from .importance_facts import importance_facts, log_facts
from .stages import Stage
from .teacher import Teacher

_log = logging.getLogger("maskrcnn_benchmark.hml")
_MAX_BAD_STEPS = 50
_LOG_EVERY = 200
_Value = TypeVar("_Value")


class StageMethod:
    """The state of one stage and its events, whose order is at the top of this file.

    Everything that must survive a restart is in ``state_dict``.

    Args:
        settings: the ``HML`` config node.
        stage: the stage.
        memory: what the previous stage handed on; None in the first.
    """

    def __init__(self, settings, stage: Stage, memory: StageMemory | None) -> None:
        self.settings, self.stage, self.memory = settings, stage, memory
        self.teacher: Teacher | None = None
        self._tracker: ImportanceTracker | None = None
        self.reconstruction: ModelReconstruction | None = None
        self._data: StageData | None = None
        self.background = BackgroundCount()
        self.bad_steps = 0
        self._recorded = False
        self._weights: torch.Tensor | None = None
        self._old_classes: torch.Tensor | None = None
        self._prefix = ""

    @property
    def tracker(self) -> ImportanceTracker:
        """F and Omega of this stage, from ``on_parameters`` on."""
        return _given(self._tracker, "on_parameters")

    @property
    def data(self) -> StageData:
        """What the stage keeps of the dataset, from ``on_data`` on."""
        return _given(self._data, "on_data")

    # -- start ------------------------------------------------------------------------------------------------------

    def on_stage_start(
        self, head: nn.Module, prefix: str, tracked: Sequence[str],
        replay: Callable[[nn.Module], Callable[[Any], torch.Tensor]],
    ) -> None:
        """Read a freshly built relation head, before any hook is registered on it, and copy it as the teacher.

        Args:
            head: the relation head.
            prefix: its name within the model, e.g. ``roi_heads.relation.``.
            tracked: prefixes, relative to the head, of the parameters that F, Omega and MR act on.
            replay: see :class:`.teacher.Teacher`.
        """
        self._prefix = prefix
        self._tracked_names = [
            name for name, p in head.named_parameters()
            if p.requires_grad and p.is_floating_point() and name.startswith(tuple(tracked))
        ]
        if not self._tracked_names:
            raise HMLError(f"no trainable parameter of the relation head begins with {' or '.join(tracked)}")
        if self.memory is not None and self.settings.CR.WEIGHT > 0:
            self.teacher = Teacher(head, self.memory.head, replay)

    def on_fresh_start(self, head: nn.Module) -> None:
        """The host has loaded what a stage begins with, such as a detector: under INIT previous that head wins."""
        if self.memory is not None and self.settings.STAGES.INIT == "previous":
            head.load_state_dict(self.memory.head)

    def on_parameters(self, head: nn.Module) -> None:
        """The head is on its device and has its starting weights: begin tracking (once; before the first step).

        Raises:
            HMLError: a weight is NaN or infinite; every step would be skipped.
        """
        params = dict(head.named_parameters())
        bad, count_bad, _ = first_not_finite((self._prefix + name, p) for name, p in params.items())
        if bad:
            raise HMLError(
                f"{self.stage.title()} begins with NaN or infinite weights, first in {bad} ({count_bad} tensors); look "
                "at GLOVE_DIR, MODEL.PRETRAINED_DETECTOR_CKPT and the predictor's own initialisation"
            )
        named = [(name, params[name]) for name in self._tracked_names]
        count = sum(p.numel() for _, p in named)
        importance, mr = self.settings.IMPORTANCE, self.settings.MR
        self._tracker = ImportanceTracker(
            named, fisher_mode=self.settings.FISHER.MODE, ema=self.settings.FISHER.EMA, interval=importance.INTERVAL,
            eps=importance.EPS, contribution=importance.CONTRIBUTION, effective=importance.EFFECTIVE,
        )
        _log.info("HML: F, Omega and MR act on %d tensors, P = %s parameters under %s", len(named), f"{count:,}",
                  self._prefix + " and ".join(sorted({n.split(".")[0] for n in self._tracked_names})))
        if self.memory is not None and mr.WEIGHT > 0:
            theta_star = self.teacher_parameters(named[0][1].device) or self.memory.head
            self.reconstruction = ModelReconstruction(
                named, theta_star, self.memory.fisher, self.memory.omega, mr.WEIGHT, mr.MODE, mr.REDUCTION
            )
            _log.info("HML: MR pulls each parameter by %.3e of its distance to theta* per unit learning rate (mean)",
                      self.reconstruction.pull)

    def teacher_parameters(self, device: torch.device) -> dict[str, torch.Tensor] | None:
        """theta*: the teacher's own tensors, not a copy; None without a teacher."""
        if self.teacher is None:
            return None
        self.teacher.head.to(device)
        own = dict(self.teacher.head.named_parameters())
        return {name: own[name].detach() for name in self._tracked_names}

    def on_data(self, data: StageData, measured_batch: int | None = None) -> None:
        """The stage's label counts are known: set l_new's class weights (eq. 4).

        Args:
            data: what the stage keeps.
            measured_batch: images per step over all processes where n_0 is measured (detected boxes); None: n_0 is
                ``data.counts[0]``.
        """
        self._data = data
        if measured_batch is not None and self.settings.LOSS.BACKGROUND_COUNT < 0:
            self.background.begin(data.images, measured_batch)
        self._set_class_weights()

    def _set_class_weights(self) -> None:
        counts = torch.as_tensor(self.data.counts, dtype=torch.float64)
        if self.settings.LOSS.BACKGROUND_COUNT >= 0:
            counts[0] = self.settings.LOSS.BACKGROUND_COUNT
        elif self.background.value is not None:
            counts[0] = self.background.value
        if self.stage.class_balanced:
            weights = class_balanced_weights(counts, self.settings.LOSS.GAMMA or None) ** self.stage.exponent
            weights[counts == 0] = 0
        else:
            weights = (counts > 0).double()
            weights[0] = 1
        self._weights = weights.float()

    # -- every step -------------------------------------------------------------------------------------------------

    def relation_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """l_new (eq. 4), or plain cross entropy over background and the stage's classes.

        Args:
            logits: (N, C) relation logits. labels: (N,) class indices.
        """
        if self._weights is None:
            raise HMLError("the class weights are not set; the training data must be loaded before the first forward")
        if self.background.observe(labels):
            self._set_class_weights()
        if self._weights.device != logits.device:
            self._weights = self._weights.to(logits.device)
        return class_balanced_loss(logits.float(), labels.long(), self._weights)

    def on_forward(self, call: Any, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        """CR's loss term (eq. 5) for the forward that the student just made; empty without a teacher.

        Args:
            call: what the teacher needs to repeat it. logits: (N, C), the student's relation logits.
        """
        if self.teacher is None:
            return {}
        old = self.teacher.relation_logits(call, logits.device)
        if self._old_classes is None:
            classes = self.stage.old_classes if self.settings.CR.CLASSES == "old" else range(logits.shape[1])
            self._old_classes = torch.as_tensor(list(classes), device=logits.device)
        distance = concept_reconstruction(
            logits.float(), old.float(), self._old_classes, metric=self.settings.CR.METRIC,
            temperature=self.settings.CR.TEMPERATURE, reduction=self.settings.CR.REDUCTION,
        )
        return {"loss_cr": self.settings.CR.WEIGHT * distance}

    def on_gradients(self) -> bool:
        """Keep the mini-batch gradient for F and Omega, then add MR's closed-form gradient (eq. 12).

        F and Omega see the gradient of the loss alone, before it is clipped. MR's gradient is clipped together with it:
        the host clips next, and its norm (SOLVER.GRAD_NORM_CLIP) is that of the sum. The paper does not say.

        Returns:
            False if a gradient holds inf or NaN: the step must then be skipped, and enters neither F nor Omega.
        """
        self._recorded = self.tracker.record_gradients()
        if not self._recorded:
            self._count_bad_step()
            return False
        if self.reconstruction is not None:
            self.reconstruction.add_gradient_()
        return True

    def on_skipped(self) -> None:
        """The step whose gradients ``on_gradients`` took is not done: a gradient outside F holds inf or NaN."""
        self.tracker.discard_step()
        self._recorded = False
        self._count_bad_step()

    def _count_bad_step(self) -> None:
        self.bad_steps += 1
        if self.bad_steps >= _MAX_BAD_STEPS:
            raise HMLError(f"the gradients held inf or NaN {_MAX_BAD_STEPS} times in a row; lower SOLVER.BASE_LR")

    def check_trained(self, iterations: int) -> None:
        """At the stage's end: refuse a model that no step has changed; a later stage or a test would not notice.

        Raises:
            HMLError: all ``iterations`` of the stage were skipped.
        """
        if self.tracker.steps == 0:
            raise HMLError(
                f"{self.stage.title()} trained nothing: its {iterations} steps were all skipped, because a gradient "
                "held inf or NaN; lower HML.CR.WEIGHT, HML.MR.WEIGHT or SOLVER.BASE_LR, and give another OUTPUT_DIR"
            )

    def on_step(self, iteration: int) -> None:
        """The optimizer has moved the parameters: update F (eq. 8) and Omega_raw (eq. 9, 11); log MR at times."""
        if self._recorded:
            self.tracker.record_step()
            self.bad_steps = 0
            if iteration % _LOG_EVERY == 0:
                self._warn_of_vanished_gradients(iteration)
        self._recorded = False
        if self.reconstruction is not None and iteration % _LOG_EVERY == 0:
            _log.info("HML: iteration %d: MR %.3e, times lambda %.3e", iteration, value := self.reconstruction.value(),
                      self.settings.MR.WEIGHT * value)

    def _warn_of_vanished_gradients(self, iteration: int) -> None:
        """Balanced weights give large first gradients; a ReLU that they push below 0 for all pairs never comes back."""
        silent, heard = self.tracker.silent()
        if 2 * len(silent) > heard:
            _log.warning(
                "HML: iteration %d: %d of the relation head's %d trained tensors no longer get a gradient (%s, ...). "
                "The head's gradients have vanished; only its biases still learn. Start again with a smaller "
                "SOLVER.GRAD_NORM_CLIP (0.3, say) or SOLVER.BASE_LR, or a longer SOLVER.WARMUP_ITERS",
                iteration, len(silent), heard, silent[0],
            )

    def unlogged_terms(self) -> dict[str, float]:
        """The terms of the total loss (eq. 3) that are no losses of the forward: ``loss_mr``, lambda MR (eq. 12)."""
        if self.reconstruction is None:
            return {}
        return {"loss_mr": self.settings.MR.WEIGHT * self.reconstruction.value()}

    # -- end and restart --------------------------------------------------------------------------------------------

    def on_stage_end(self, head: nn.Module, provenance: dict) -> StageMemory:
        """What this stage hands to the next."""
        fisher, omega = self.tracker.finish()
        pull = None if self.reconstruction is None else self.reconstruction.pull
        facts = importance_facts(self.stage.index, self.settings, self.tracker, omega, pull)
        log_facts(self.stage.title(), facts)
        kept = {"images": self.data.images, "relations": self.data.relations, "steps": self.tracker.steps,
                "importance": facts}
        weights = {name: t.detach().cpu().clone() for name, t in head.state_dict().items()}
        return StageMemory(self.stage.index, weights, fisher, omega, {**provenance, **kept})

    def state_dict(self) -> dict:
        return {
            "stage": self.stage.index, "bad_steps": self.bad_steps, "tracker": self.tracker.state_dict(),
            "background": self.background.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        if state["stage"] != self.stage.index:
            raise HMLError(f"the resume file is of stage {state['stage']}, not of {self.stage.title()}")
        self.bad_steps = state["bad_steps"]
        self.background.load_state_dict(state["background"])
        self.tracker.load_state_dict(state["tracker"])


def _given(value: _Value | None, event: str) -> _Value:
    if value is None:
        raise HMLError(f"the event {event} must come first; keep the order of events of stage_method.py")
    return value
