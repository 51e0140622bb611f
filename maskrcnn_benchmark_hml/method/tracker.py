"""Gathers F and Omega_raw while a stage trains, with the equations of :mod:`.importance`, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import HMLError
from .choices import CONTRIBUTIONS, EFFECTIVE, FISHER_MODES
from .flat import FlatLayout
from .importance import fisher_update, importance_raw, kl_term, loss_decrease, released_importance, step_contribution


class ImportanceTracker:
    """Gathers F and the importance of P parameters, one optimizer step after the other.

    Per step: ``record_gradients()`` when the gradients are final, ``optimizer.step()``, ``record_step()``; or
    ``discard_step()`` if the step was skipped. A parameter whose ``grad`` is None counts as one with gradient 0.

    Args:
        named_params: (name, parameter) pairs on one device.
        fisher_mode: ``mean`` (eq. 8) or ``ema`` (released code).
        ema: share of the new square under ``ema``, in (0, 1].
        interval: recorded steps per term of Omega_raw. 1 is eq. 9 as printed: the sum over steps of ratios, each with
            that step's contribution, F^t and displacement. 0 is one term for the whole stage, a ratio of sums
            (Riemannian Walk's, with a single interval): a parameter that ends near its start then outweighs all
            others. Above 1: one term for so many steps.
        eps: of eq. 9; at least the smallest normal number of the precision (1.2e-38 in float32).
        contribution: ``descent`` (eq. 11 with its sign repaired) or ``released`` (the misprinted sign and the
            floors of :func:`.importance.released_importance`, which takes the place of eq. 9 and of its eps).
        effective: how "if the loss rises, Delta l is set to 0" is read. ``parameter``: each parameter's contribution is
            clamped at 0. ``step``: besides, all contributions of a step are 0 if the sum of -g dtheta over P is below
            0, whatever ``contribution`` is. F takes such a step all the same.

    Memory: four vectors of P numbers under interval 1, five under 0, six above 1.

    Raises:
        HMLError: a setting outside its range; parameters that :class:`.flat.FlatLayout` refuses.
    """

    def __init__(
        self,
        named_params: Sequence[tuple[str, Tensor]],
        *,
        fisher_mode: str = "mean",
        ema: float = 0.5,
        interval: int = 1,
        eps: float = 1e-30,
        contribution: str = "descent",
        effective: str = "parameter",
    ) -> None:
        self._layout = layout = FlatLayout(named_params)
        self._settings: dict[str, Any] = {
            "fisher_mode": fisher_mode,
            "ema": float(ema),
            "interval": int(interval),
            "eps": float(eps),
            "contribution": contribution,
            "effective": effective,
        }
        _check(self._settings, layout.dtype)
        # Everything that survives a restart, by name.
        self._vectors = {"fisher": layout.zeros()}
        if interval:
            self._vectors["raw"] = layout.zeros()
        if interval != 1:
            self._vectors["contributions"] = layout.zeros()
            self._vectors["start"] = layout.flatten(dict(layout.named_params), "the model")
        self._grad = layout.zeros()
        self._before = layout.zeros()
        self._scratch = layout.scratch()
        self._steps = 0
        self._rising = 0
        self._pending = False

    @property
    def steps(self) -> int:
        """t: optimizer steps recorded so far; skipped and discarded ones do not count."""
        return self._steps

    @property
    def rising_steps(self) -> int:
        """Recorded steps in which the loss rose in first order; counted under ``effective="step"`` only, else 0."""
        return self._rising

    @property
    def numel(self) -> int:
        """P."""
        return self._layout.numel

    @torch.no_grad()
    def record_gradients(self) -> bool:
        """Take the gradients of this step: unscaled, unclipped, averaged over ranks, without the MR term.

        Returns:
            True; or False if a gradient holds inf or NaN (or one whose square overflows), and then the step enters
            neither F nor Omega.
        """
        block = self._layout.block
        norms = []
        slices = zip(self._layout.named_params, self._layout.slices(self._grad), self._layout.slices(self._before))
        for (_, param), grad, before in slices:
            for target, source in zip(before.split(block), param.detach().reshape(-1).split(block)):
                target.copy_(source)
            if param.grad is None:
                grad.zero_()
                continue
            for target, source in zip(grad.split(block), param.grad.detach().reshape(-1).split(block)):
                target.copy_(source)
                # One number per block, looked at once at the end: inf and NaN propagate into it.
                norms.append(torch.linalg.vector_norm(target))
        self._pending = not norms or self._all_finite(torch.stack(norms))
        return self._pending

    def _all_finite(self, norms: Tensor) -> bool:
        """Whether every g*g is finite, given the norms of the blocks."""
        if bool(torch.isfinite(norms * norms).all()):
            return True
        # A sum of squares can overflow where no square does.
        return all(bool(torch.isfinite(block * block).all()) for block in self._layout.blocks(self._grad))

    @torch.no_grad()
    def record_step(self) -> None:
        """After ``optimizer.step()``: enter the step into F (eq. 8) and into Omega_raw (eq. 9 and 11).

        Raises:
            HMLError: the gradients of this step were not recorded, or were not finite.
        """
        if not self._pending:
            raise HMLError("record_step() needs a record_gradients() that returned True before this step")
        self._pending = False
        self._steps += 1
        layout, settings, interval = self._layout, self._settings, self._settings["interval"]
        rises = settings["effective"] == "step" and self._loss_rises()
        self._rising += rises
        blocks = zip(
            layout.blocks(self._vectors["fisher"]),
            layout.blocks(self._vectors["raw" if interval == 1 else "contributions"]),
            layout.blocks(self._grad),
            layout.blocks(self._before),
            layout.param_blocks(layout.params()),
        )
        for fisher, total, grad, before, after in blocks:
            scratch = self._scratch[: grad.numel()]
            fisher_update(fisher, grad, self._steps, mode=settings["fisher_mode"], ema=settings["ema"], scratch=scratch)
            contribution = step_contribution(grad, before, after, sign=settings["contribution"], out=scratch)
            if rises:
                contribution.zero_()
            if interval == 1:
                self._add_step(total, contribution, fisher, before.sub_(after))
            else:
                total.add_(contribution)
        if interval > 1 and self._steps % interval == 0:
            self._close_interval(self._vectors["raw"])
            self._vectors["contributions"].zero_()
            self._vectors["start"] = layout.flatten(dict(layout.named_params), "the model")

    def _loss_rises(self) -> bool:
        """Whether the sum of -g dtheta over P is below 0. Ranks hold the same numbers, so they decide the same."""
        layout = self._layout
        blocks = zip(layout.blocks(self._grad), layout.blocks(self._before), layout.param_blocks(layout.params()))
        sums = [loss_decrease(grad, *ends, out=self._scratch[: grad.numel()]) for grad, *ends in blocks]
        return bool(torch.stack(sums).sum() < 0)

    def _add_step(self, raw: Tensor, contribution: Tensor, fisher: Tensor, displacement: Tensor) -> None:
        """Add one step's term to a block of Omega_raw; ``displacement``, of either sign, is overwritten."""
        if self._settings["contribution"] == "descent":
            # importance_raw without its mask: where the step did not move, its contribution is 0 already.
            raw.addcdiv_(contribution, kl_term(fisher, displacement, self._settings["eps"], out=displacement))
        else:
            raw.add_(released_importance(contribution, fisher, displacement))

    def discard_step(self) -> None:
        """The optimizer skipped the step whose gradients were recorded: forget it."""
        self._pending = False

    def silent(self) -> tuple[list[str], int]:
        """The parameters that have had gradients in this stage, but whose last recorded one is 0 throughout.

        Returns:
            Their names, and the number of parameters that have ever had a gradient other than 0.
        """
        layout = self._layout
        slices = zip(layout.shapes, layout.slices(self._vectors["fisher"]), layout.slices(self._grad))
        heard = [(name, bool(grad.any())) for name, fisher, grad in slices if fisher.any()]
        return [name for name, speaks in heard if not speaks], len(heard)

    def _close_interval(self, raw: Tensor) -> None:
        """Add the running interval's term to ``raw``, in place."""
        layout = self._layout
        blocks = zip(
            layout.blocks(raw),
            layout.blocks(self._vectors["contributions"]),
            layout.blocks(self._vectors["fisher"]),
            layout.blocks(self._vectors["start"]),
            layout.param_blocks(layout.params()),
        )
        for target, contributions, fisher, start, end in blocks:
            if self._settings["contribution"] == "descent":
                target.add_(importance_raw(contributions, fisher, end - start, self._settings["eps"]))
            else:
                target.add_(released_importance(contributions, fisher, end - start))

    @torch.no_grad()
    def finish(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F and Omega_raw (eq. 9, before eq. 10) up to now, with the running interval closed on a copy.

        Tracking goes on undisturbed. :func:`.reconstruction.mr_weights` normalises what is returned.

        Returns:
            (fisher, omega_raw): name -> tensor in the parameter's shape, independent of the tracker.
        """
        interval = self._settings["interval"]
        raw = self._vectors["raw"].clone() if interval else self._layout.zeros()
        if not interval or self._steps % interval:
            self._close_interval(raw)
        return self._layout.unflatten(self._vectors["fisher"].clone()), self._layout.unflatten(raw)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-identical continuation needs, taken between two steps.

        As with torch's modules the tensors are the live ones: save or clone them before the next step.
        """
        shapes = {name: list(shape) for name, shape in self._layout.shapes.items()}
        counts = {"steps": self._steps, "rising": self._rising}
        return {"settings": dict(self._settings), "shapes": shapes, **counts, **self._vectors}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; load the model's parameters as well.

        Raises:
            HMLError: the state is of other parameters or other settings, or of another version of hml; the tracker is
                left as it was.
        """
        _check_settings(state.get("settings"), self._settings)
        lacking = [name for name in ("shapes", "steps", "rising", *self._vectors) if name not in state]
        if lacking:
            raise HMLError(f"the saved importance lacks {lacking[0]}; the file is no importance state or is damaged")
        shapes = {name: tuple(shape) for name, shape in state["shapes"].items()}
        if list(shapes.items()) != list(self._layout.shapes.items()):
            differing = set(shapes.items()) ^ set(self._layout.shapes.items())
            name = min(differing)[0] if differing else "their order"
            raise HMLError(f"the saved importance is of other parameters (first: {name}); use the same model")
        wrong = [name for name in self._vectors if tuple(state[name].shape) != (self.numel,)]
        if wrong:
            raise HMLError(f"the saved importance has a {wrong[0]} vector of a wrong length; the file is damaged")
        for name, vector in self._vectors.items():
            vector.copy_(state[name])
        self._steps, self._rising = int(state["steps"]), int(state["rising"])
        self._pending = False


def _check(settings: dict[str, Any], dtype: torch.dtype) -> None:
    """HMLError unless the settings lie in their ranges."""
    choices = {
        "Fisher mode": (settings["fisher_mode"], FISHER_MODES),
        "contribution": (settings["contribution"], CONTRIBUTIONS),
        "reading of an effective step": (settings["effective"], EFFECTIVE),
    }
    for what, (value, known) in choices.items():
        if value not in known:
            raise HMLError(f"the {what} {value!r} is unknown; use one of {', '.join(known)}")
    if not 0 < settings["ema"] <= 1:
        raise HMLError(f"the Fisher EMA is {settings['ema']}; it must be in (0, 1]")
    if settings["interval"] < 0:
        raise HMLError(f"the importance interval is {settings['interval']}; it must be >= 0")
    smallest = torch.finfo(dtype).tiny
    if not smallest <= settings["eps"] < float("inf"):
        kind = str(dtype).removeprefix("torch.")
        raise HMLError(f"eps of eq. 9 is {settings['eps']}; in {kind} it must be finite and at least {smallest:.3g}")


def _check_settings(saved: Any, own: dict[str, Any]) -> None:
    """HMLError unless the saved settings are the tracker's own."""
    if not isinstance(saved, dict):
        raise HMLError("the saved importance lacks settings; the file is no importance state or is damaged")
    if saved.keys() != own.keys():
        raise HMLError(
            f"the saved importance was gathered by another version of hml (setting {min(saved.keys() ^ own.keys())}); "
            "start the stage again"
        )
    for name, value in own.items():
        if saved[name] != value:
            raise HMLError(
                f"the saved importance was gathered with {name} = {saved[name]}, now it is {value}; "
                "restore the setting or start the stage again"
            )
