"""A training without HML under ``hml run``: the host's own, which in addition saves when a signal asks it to stop.

Nothing of what is computed changes. How a resumed run goes on is the host's own matter: SGB forgets its schedule.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import Interrupted
from .curves import Curves
from .interrupt import Interrupt
from .run_lock import RunLock

_log = logging.getLogger("maskrcnn_benchmark.hml")


class PlainRun:
    """What a host's ``train`` builds, noted so that a checkpoint can be written from outside its loop.

    Args:
        namespace: the script's globals; names that it lacks are left out, and without a checkpointer nothing is saved.
    """

    def __init__(self, namespace: dict[str, Any], interrupt: Interrupt, lock: RunLock) -> None:
        self.namespace, self.interrupt, self.lock = namespace, interrupt, lock
        self.checkpointer: Any = None
        self.iteration = 0
        self.saved_iteration = -1

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Within, the script's globals note what they build."""
        wrappers = {"build_detection_model": self._build, "make_optimizer": self._optimizer,
                    "DetectronCheckpointer": self._checkpointer_class, "run_val": self.interrupt.stoppable}
        original = {name: self.namespace[name] for name in wrappers if self.namespace.get(name) is not None}
        self.namespace.update({name: wrappers[name](value) for name, value in original.items()})
        try:
            yield
        finally:
            self.namespace.update(original)

    def _build(self, build: Callable) -> Callable:
        def built(*args, **kwargs):
            model = build(*args, **kwargs)
            model.register_forward_pre_hook(self._before_forward)
            return model

        return built

    def _before_forward(self, model, inputs) -> None:
        if model.training:
            self.iteration += 1
        elif self.interrupt.world > 1:  # in a validation: all processes do equally many batches
            self.interrupt.check()

    def _optimizer(self, make: Callable) -> Callable:
        def made(*args, **kwargs):
            optimizer = make(*args, **kwargs)
            optimizer.register_step_post_hook(self._after_step)
            return optimizer

        return made

    def _after_step(self, optimizer, args, kwargs) -> None:
        self.lock.check()
        self.interrupt.check()

    def _checkpointer_class(self, base: type) -> type:
        run = self

        class NotedCheckpointer(base):
            def __init__(self, *args, **kwargs) -> None:
                super().__init__(*args, **kwargs)
                run.checkpointer = self

            def load(self, *args, **kwargs) -> Any:
                extra = super().load(*args, **kwargs)
                if self.has_checkpoint():
                    run.iteration = run.saved_iteration = int((extra or {}).get("iteration", 0))
                return extra

            def save(self, name: str, **kwargs) -> None:
                super().save(name, **kwargs)
                run.saved_iteration = run.iteration

        return NotedCheckpointer

    def leave(self) -> None:
        """Save, unless the host has done so, and end the process, saying how to go on."""
        if self.checkpointer is not None and self.iteration and self.saved_iteration != self.iteration:
            self.checkpointer.save(f"model_{self.iteration:07d}", iteration=self.iteration)
        self.interrupt.leave("the training without HML", self.iteration)


def train_plainly(namespace: dict[str, Any], train: Callable[[], Any], cfg: Any, world: int, lock: RunLock) -> Any:
    """Call the host's own training, with its settings ``cfg``; returns what it returns."""
    with Interrupt(world) as interrupt:
        run = PlainRun(namespace, interrupt, lock)
        curves = Curves(cfg, namespace, cfg.SOLVER.MAX_ITER, lambda: run.iteration)
        try:
            with run.attached(), curves.attached():
                model = train()
        except Interrupted:
            run.leave()
        return model
