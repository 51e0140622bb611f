"""Diagonal Fisher information F and parameter importance Omega, gathered while a stage trains (eq. 6-11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import HMLError
from .flat import FlatLayout

FISHER_MODES = ("mean", "ema")
CONTRIBUTIONS = ("descent", "released")
# Floors and ceiling of the released code.
_RELEASED_SMALL = 1e-20
_RELEASED_GAIN = 1e-15


def fisher_update(fisher: Tensor, grad: Tensor, step: int, *, mode: str = "mean", ema: float = 0.5) -> Tensor:
    """F^t from F^(t-1), in place (eq. 8; eq. 6-7 define F as the expectation that this mean estimates).

    ``mean``: F^t = (g*g + (t-1) F^(t-1)) / t. ``ema`` (released code): F^t = ema g*g + (1-ema) F^(t-1), F^0 = 0.

    Args:
        fisher: F^(t-1), any shape; overwritten with F^t.
        grad: g, same shape: unscaled, unclipped, averaged over ranks, of the current stage's loss without MR.
        step: t, from 1.
        mode: ``mean`` or ``ema``.
        ema: share of the new square under ``ema``, in (0, 1].

    Returns:
        ``fisher``.
    """
    return fisher.lerp_(grad * grad, _fisher_share(step, mode, ema))


def _fisher_share(step: int, mode: str, ema: float) -> float:
    return 1.0 / step if mode == "mean" else ema


def step_contribution(grad: Tensor, before: Tensor, after: Tensor, *, sign: str = "descent") -> Tensor:
    """max(0, -g (theta(t+1) - theta(t))): the loss that each parameter took off in one step (eq. 11).

    ``released`` follows the misprint of eq. 11, max(0, g (theta(t+1) - theta(t))), which rewards uphill moves.
    """
    moved = before - after if sign == "descent" else after - before
    return moved.mul_(grad).clamp_min_(0)


def importance_raw(contributions: Tensor, fisher: Tensor, displacement: Tensor, eps: float = 1e-30) -> Tensor:
    """One interval's share of Omega_raw: contributions / (F/2 dtheta^2 + eps) (eq. 9), elementwise.

    The denominator is the KL divergence between the interval's two ends in second order. A parameter that ends
    where it began (dtheta = 0) gets 0: over no distance there is nothing to protect, and 1/eps would drown all others.

    Args:
        contributions: sum of eq. 11 over the interval.
        fisher: F at the interval's end.
        displacement: theta(end) - theta(start).
        eps: added to the denominator; keep it far below F dtheta^2, which can be 1e-18.
    """
    share = contributions / (0.5 * fisher * displacement.square() + eps)
    return torch.where(displacement == 0, torch.zeros_like(share), share)


def released_importance(contributions: Tensor, fisher: Tensor, displacement: Tensor) -> Tensor:
    """One interval's share of Omega_raw as the released code computes it, with floors in place of eps.

    2 max(contributions, 1e-15) / max(F dtheta^2, 1e-20). It is never 0, so a parameter that never moved collects 2e5
    per interval. The released code closes an interval at each step (``interval=1``).
    """
    return 2 * contributions.clamp_min(_RELEASED_GAIN) / (fisher * displacement.square()).clamp_min(_RELEASED_SMALL)


def normalise_importance(raw: Sequence[Tensor]) -> list[Tensor]:
    """Omega = sigmoid(log10(P Omega_raw / sum Omega_raw)), global over all P parameters (eq. 10).

    Args:
        raw: Omega_raw of each parameter tensor, not negative.

    Returns:
        Omega in [0, 1), same shapes. Where Omega_raw is 0 (never updated), Omega is 0.
    """
    count = sum(tensor.numel() for tensor in raw)
    total = sum(float(tensor.sum(dtype=torch.float64)) for tensor in raw)
    if total <= 0:
        return [torch.zeros_like(tensor) for tensor in raw]
    # log10 of 0 is -inf, whose sigmoid is the 0 that is wanted.
    return [torch.sigmoid(torch.log10(tensor / (total / count))) for tensor in raw]


def released_normalise(values: Sequence[Tensor], ceiling: float | None = None) -> list[Tensor]:
    """The released code's normalisation of F and of Omega: sigmoid(log10 x - mean log10 x), x >= 1e-20.

    The mean runs over all P parameters. Unlike eq. 10 it leaves no parameter out: one never updated counts 1e-20.

    Args:
        values: F or Omega_raw of each parameter tensor.
        ceiling: upper bound of x; the released code has 1 for F and none for Omega.
    """
    logs = [torch.log10(tensor.clamp(_RELEASED_SMALL, ceiling)) for tensor in values]
    count = sum(tensor.numel() for tensor in logs)
    mean = sum(float(tensor.sum(dtype=torch.float64)) for tensor in logs) / count
    return [torch.sigmoid(tensor - mean) for tensor in logs]


class ImportanceTracker:
    """Gathers F and the importance of P parameters, one optimizer step after the other.

    Per step: ``record_gradients()`` when the gradients are final, ``optimizer.step()``, ``record_step()``; or
    ``discard_step()`` if the step was skipped. A parameter whose ``grad`` is None counts as one with gradient 0.

    Args:
        named_params: (name, parameter) pairs on one device.
        fisher_mode: ``mean`` (eq. 8) or ``ema`` (released code).
        ema: share of the new square under ``ema``, in (0, 1].
        interval: recorded steps per interval of eq. 9; 0 takes the whole stage as one.
        eps: of eq. 9, above 0.
        contribution: ``descent`` (eq. 11 with its sign repaired) or ``released`` (the misprinted sign and the
            floors of :func:`released_importance`, which takes the place of eq. 9 and of its eps).

    Memory: five vectors of P numbers, six with an interval above 0.
    """

    def __init__(
        self,
        named_params: Sequence[tuple[str, Tensor]],
        *,
        fisher_mode: str = "mean",
        ema: float = 0.5,
        interval: int = 0,
        eps: float = 1e-30,
        contribution: str = "descent",
    ) -> None:
        if fisher_mode not in FISHER_MODES:
            raise HMLError(f"the Fisher mode {fisher_mode!r} is unknown; use one of {', '.join(FISHER_MODES)}")
        if contribution not in CONTRIBUTIONS:
            raise HMLError(f"the contribution {contribution!r} is unknown; use one of {', '.join(CONTRIBUTIONS)}")
        if not 0 < ema <= 1:
            raise HMLError(f"the Fisher EMA is {ema}; it must be in (0, 1]")
        if interval < 0 or not eps > 0:
            raise HMLError(f"the importance interval is {interval} and eps {eps}; they must be >= 0 and > 0")
        self._layout = layout = FlatLayout(named_params)
        self._settings = {
            "fisher_mode": fisher_mode,
            "ema": float(ema),
            "interval": int(interval),
            "eps": float(eps),
            "contribution": contribution,
        }
        self._fisher = layout.zeros()
        self._contributions = layout.zeros()
        self._start = layout.flatten(dict(layout.named_params), "the model")
        self._raw = layout.zeros() if interval else None
        self._grad = layout.zeros()
        self._before = layout.zeros()
        self._scratch = layout.scratch()
        self._steps = 0
        self._pending = False

    @property
    def steps(self) -> int:
        """t: optimizer steps recorded so far; skipped and discarded ones do not count."""
        return self._steps

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
        """After ``optimizer.step()``: enter the step into F (eq. 8) and into the contributions (eq. 11).

        Raises:
            HMLError: the gradients of this step were not recorded, or were not finite.
        """
        if not self._pending:
            raise HMLError("record_step() needs a record_gradients() that returned True before this step")
        self._pending = False
        self._steps += 1
        layout, settings = self._layout, self._settings
        share = _fisher_share(self._steps, settings["fisher_mode"], settings["ema"])
        sign = 1.0 if settings["contribution"] == "descent" else -1.0
        blocks = zip(
            layout.blocks(self._fisher),
            layout.blocks(self._contributions),
            layout.blocks(self._grad),
            layout.blocks(self._before),
            layout.param_blocks(layout.params()),
        )
        # fisher_update and step_contribution, without a temporary tensor.
        for fisher, contributions, grad, before, after in blocks:
            scratch = self._scratch[: grad.numel()]
            torch.mul(grad, grad, out=scratch)
            fisher.lerp_(scratch, share)
            before.sub_(after).mul_(grad)
            if sign < 0:
                before.neg_()
            contributions.add_(before.clamp_min_(0))
        interval = settings["interval"]
        if interval and self._steps % interval == 0:
            self._close_interval(self._raw)
            self._contributions.zero_()
            self._start = layout.flatten(dict(layout.named_params), "the model")

    def discard_step(self) -> None:
        """The optimizer skipped the step whose gradients were recorded: forget it."""
        self._pending = False

    def silent(self) -> tuple[list[str], int]:
        """The parameters that have had gradients in this stage, but whose last recorded one is 0 throughout.

        Returns:
            Their names, and the number of parameters that have ever had a gradient other than 0.
        """
        layout = self._layout
        slices = zip(layout.shapes, layout.slices(self._fisher), layout.slices(self._grad))
        heard = [(name, bool(grad.any())) for name, fisher, grad in slices if fisher.any()]
        return [name for name, speaks in heard if not speaks], len(heard)

    def _close_interval(self, raw: Tensor) -> None:
        """Add the running interval's importance to ``raw``, in place (eq. 9)."""
        layout = self._layout
        blocks = zip(
            layout.blocks(raw),
            layout.blocks(self._contributions),
            layout.blocks(self._fisher),
            layout.blocks(self._start),
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
        raw = self._layout.zeros() if self._raw is None else self._raw.clone()
        interval = self._settings["interval"]
        if not interval or self._steps % interval:
            self._close_interval(raw)
        return self._layout.unflatten(self._fisher.clone()), self._layout.unflatten(raw)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-identical continuation needs, taken between two steps.

        As with torch's modules the tensors are the live ones: save or clone them before the next step.
        """
        tensors = {"fisher": self._fisher, "contributions": self._contributions, "start": self._start}
        if self._raw is not None:
            tensors["raw"] = self._raw
        shapes = {name: list(shape) for name, shape in self._layout.shapes.items()}
        return {"settings": dict(self._settings), "shapes": shapes, "steps": self._steps, **tensors}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; load the model's parameters as well.

        Raises:
            HMLError: the state is of other parameters or other settings; the tracker is left as it was.
        """
        vectors = ["fisher", "contributions", "start"] + (["raw"] if self._raw is not None else [])
        lacking = [name for name in ("settings", "shapes", "steps", *vectors) if name not in state]
        if "settings" not in lacking and state["settings"] != self._settings:
            changed = [k for k, v in self._settings.items() if state["settings"].get(k) != v]
            raise HMLError(
                f"the saved importance was gathered with {changed[0]} = {state['settings'].get(changed[0])}, now it is "
                f"{self._settings[changed[0]]}; restore the setting or start the stage again"
            )
        if lacking:
            raise HMLError(f"the saved importance lacks {lacking[0]}; the file is no importance state or is damaged")
        shapes = {name: tuple(shape) for name, shape in state["shapes"].items()}
        if list(shapes.items()) != list(self._layout.shapes.items()):
            differing = set(shapes.items()) ^ set(self._layout.shapes.items())
            name = min(differing)[0] if differing else "their order"
            raise HMLError(f"the saved importance is of other parameters (first: {name}); use the same model")
        wrong = [name for name in vectors if tuple(state[name].shape) != (self.numel,)]
        if wrong:
            raise HMLError(f"the saved importance has a {wrong[0]} vector of a wrong length; the file is damaged")
        for name in vectors:
            getattr(self, f"_{name}").copy_(state[name])
        self._steps = int(state["steps"])
        self._pending = False
