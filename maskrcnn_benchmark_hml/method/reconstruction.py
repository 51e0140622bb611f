"""Model Reconstruction (MR, eq. 12): important parameters stay near the previous stage's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import HMLError
from .choices import MR_MODES, MR_REDUCTIONS
from .flat import FlatLayout
from .importance import normalise_importance, released_normalise


def mr_weights(fisher: Mapping[str, Tensor], omega_raw: Mapping[str, Tensor], mode: str = "paper") -> dict[str, Tensor]:
    """F + Omega of eq. 12, one weight per parameter.

    Args:
        fisher: F of the previous stage, name -> tensor.
        omega_raw: Omega_raw (eq. 9) of the previous stage, same names and shapes.
        mode: ``paper``: raw F + eq. 10's Omega; where Omega_raw = 0 (no step lowered the loss by that parameter, or it
            was never updated) the weight is 0, and F is dropped though it can be above 0; ``released``: both passed
            through the released code's normalisation; ``mean_one``: the paper's, divided by their mean over all
            parameters; ``l2``: 1 everywhere, the control that pulls plainly towards theta*.

    Raises:
        HMLError: an unknown mode, or F and Omega of different parameters.
    """
    if mode not in MR_MODES:
        raise HMLError(f"the MR mode {mode!r} is unknown; use one of {', '.join(MR_MODES)}")
    names = list(fisher)
    if names != list(omega_raw) or any(fisher[name].shape != omega_raw[name].shape for name in names):
        raise HMLError("F and Omega belong to different parameters; take both from one stage's memory")
    if mode == "l2":
        return {name: torch.ones_like(fisher[name]) for name in names}
    if mode == "released":
        first = released_normalise([fisher[name] for name in names], ceiling=1.0)
        second = released_normalise([omega_raw[name] for name in names])
    else:
        # A parameter with Omega_raw = 0 drops out of MR, whatever gradient it had.
        first = [torch.where(omega_raw[name] > 0, fisher[name], 0.0) for name in names]
        second = normalise_importance([omega_raw[name] for name in names])
    weights = {name: f + omega for name, f, omega in zip(names, first, second)}
    if mode == "mean_one":
        total = float(sum(w.sum(dtype=torch.float64) for w in weights.values()))
        count = sum(w.numel() for w in weights.values())
        # If no parameter was ever updated, all weights are 0 and stay so.
        return {name: w * (count / total) for name, w in weights.items()} if total > 0 else weights
    return weights


def mr_value(
    params: Mapping[str, Tensor], theta_star: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    """MR = mean over P of (F + Omega)(theta - theta*)^2 (eq. 12), differentiable, without lambda.

    The equation as printed, for tests and for reading. Training runs :class:`ModelReconstruction`, whose ``value`` and
    gradient, computed in blocks, are held to this function by tests/method/test_eq9.py.

    Args:
        params: theta, name -> tensor.
        theta_star: theta*, same names and shapes.
        weights: F + Omega, same names and shapes.
    """
    count = sum(param.numel() for param in params.values())
    terms = [(weights[name] * (param - theta_star[name]).square()).sum() for name, param in params.items()]
    return torch.stack(terms).sum() / count


class ModelReconstruction:
    """MR of one stage, applied as its closed-form gradient; no autograd graph over the P parameters.

    :func:`mr_value` is the same value on whole tensors, and differentiable.

    Args:
        named_params: (name, parameter) pairs of the student, on one device.
        theta_star: the previous stage's final parameters, by the same names; kept by reference, not copied.
        fisher: F of the previous stage.
        omega_raw: Omega_raw of the previous stage.
        lam: lambda of eq. 3, 0 or more.
        mode: see :func:`mr_weights`.
        reduction: ``mean`` over P (eq. 12), or ``sum``: no division by P, so lambda is on the scale of a weight decay.

    Raises:
        HMLError: an unknown reduction, a parameter that the previous stage does not have, in name or shape, or lambda
            below 0.
    """

    def __init__(
        self,
        named_params: Sequence[tuple[str, Tensor]],
        theta_star: Mapping[str, Tensor],
        fisher: Mapping[str, Tensor],
        omega_raw: Mapping[str, Tensor],
        lam: float,
        mode: str = "paper",
        reduction: str = "mean",
    ) -> None:
        if reduction not in MR_REDUCTIONS:
            raise HMLError(f"the MR reduction {reduction!r} is unknown; use one of {', '.join(MR_REDUCTIONS)}")
        if not 0 <= lam < float("inf"):
            raise HMLError(f"lambda, the weight of MR, is {lam}; it must be finite and not negative")
        self._layout = layout = FlatLayout(named_params)
        for name, shape in layout.shapes.items():
            if name not in theta_star or tuple(theta_star[name].shape) != shape:
                have = f"has the shape {tuple(theta_star[name].shape)}" if name in theta_star else "is absent"
                raise HMLError(
                    f"the parameter {name} {have} in the previous stage, here it is {shape}; "
                    "both stages need the same model"
                )
        self._theta_star = [theta_star[name].detach().to(layout.device) for name in layout.shapes]
        weights = mr_weights(_fitted(layout, fisher, "F"), _fitted(layout, omega_raw, "Omega"), mode)
        self._weights = layout.flatten(weights, "F + Omega")
        self._scratch = layout.scratch()
        self._lam = float(lam)
        self._divisor = layout.numel if reduction == "mean" else 1

    @torch.no_grad()
    def add_gradient_(self) -> None:
        """Add 2 lambda (F + Omega)(theta - theta*) / P to each ``grad``, in place; a ``grad`` of None stays None.

        Under the reduction ``sum``, here and below, without the division by P. Called before the host clips, so that
        the norm which is clipped is that of the loss's gradient and MR's together.
        """
        layout = self._layout
        factor = 2.0 * self._lam / self._divisor
        weights = layout.slices(self._weights)
        for (_, param), star, weight in zip(layout.named_params, self._theta_star, weights):
            grad = param.grad
            if grad is None:
                continue
            plain = grad.is_contiguous() and grad.dtype == layout.dtype
            target = grad.detach().view(-1) if plain else torch.zeros_like(weight)
            flat = (target, param.detach().reshape(-1), star.reshape(-1), weight)
            for add_to, theta, theta_star, w in zip(*(tensor.split(layout.block) for tensor in flat)):
                scratch = self._scratch[: w.numel()]
                torch.sub(theta, theta_star, out=scratch)
                add_to.addcmul_(scratch, w, value=factor)
            if not plain:
                grad.add_(target.view(grad.shape))

    @torch.no_grad()
    def value(self) -> float:
        """MR's value without lambda (eq. 12), summed in float64."""
        layout = self._layout
        blocks = zip(
            layout.param_blocks(layout.params()), layout.param_blocks(self._theta_star), layout.blocks(self._weights)
        )
        total = torch.zeros((), dtype=torch.float64, device=layout.device)
        for theta, star, weight in blocks:
            total += ((theta - star).square_() * weight).sum(dtype=torch.float64)
        return float(total) / self._divisor

    @property
    def pull(self) -> float:
        """Mean over P of 2 lambda (F + Omega) / P: what MR adds to a gradient per unit of distance.

        Compare it with the weight decay, which adds its factor per unit of distance from 0.
        """
        return 2.0 * self._lam * float(self._weights.mean(dtype=torch.float64)) / self._divisor


def _fitted(layout: FlatLayout, values: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The layout's parameters out of ``values``, in its order, on its device and in its dtype."""
    return layout.unflatten(layout.flatten(dict(values), f"the previous stage's {what}"))
