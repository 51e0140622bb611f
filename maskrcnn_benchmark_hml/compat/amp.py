"""The programming interface of ``apex.amp`` over ``torch.amp``: mixed precision without building apex.

``O0`` changes nothing. ``O1`` wraps the model's forward in autocast: float16 with a loss scaler on CUDA, bfloat16
without one on CPU (bfloat16 has float32's range); there LSTMs stay in float32 if the processor has none in bfloat16. As
with apex, gradients are unscaled when ``scale_loss`` ends, so that clipping and HML's hooks see true gradients, and a
step whose gradients hold inf or NaN is skipped: the next ``optimizer.step()`` does nothing, fires no hooks, and the
scale is lowered.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, Callable

import torch

from ..errors import HMLError
from . import lstm


def _new_scaler() -> Any:
    """A ``GradScaler`` for CUDA under either of its two addresses (``torch.amp`` has it since torch 2.3)."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda")
    return torch.cuda.amp.GradScaler()


def _as_list(value: Any) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """``value`` with every floating-point tensor in it cast to ``dtype``; containers keep their type."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _cast(item, dtype) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _floats(value: Any) -> Iterator[torch.Tensor]:
    """Every floating-point tensor in ``value``, one container deep."""
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(item, torch.Tensor) and item.is_floating_point():
            yield item


def _run_autocast(forward: Callable, device_type: str, dtype: torch.dtype, *args: Any, **kwargs: Any) -> Any:
    with torch.autocast(device_type, dtype=dtype):
        return forward(*args, **kwargs)


# CUDA's autocast (and apex) compute these in float32; CPU's leaves them in bfloat16, which numpy cannot hold.
_FLOAT32_ON_CPU = tuple(
    (where, name) for where in (torch.nn.functional, torch, torch.Tensor) for name in ("softmax", "log_softmax")
)


class Amp:
    """One process's mixed-precision state, with the functions of the ``apex.amp`` module as methods.

    Attributes:
        opt_level: ``"O0"`` (off) or ``"O1"``.
        device_type: ``"cuda"`` or ``"cpu"``; meaningful under O1.
        last_step_skipped: True from the end of a ``scale_loss`` block whose gradients held inf or NaN until the next
            ``scale_loss`` ends. Hooks read it to keep such a step out of their statistics.
    """

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Callable]] = []
        self._reset()

    def _reset(self) -> None:
        for module, name, original in reversed(self._replaced):
            setattr(module, name, original)
        self._replaced = []
        self.opt_level = "O0"
        self.device_type = "cpu"
        self.last_step_skipped = False
        self._scaler: Any = None
        self._global: contextlib.ExitStack | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The low precision of O1 on the current device."""
        return torch.float16 if self.device_type == "cuda" else torch.bfloat16

    @property
    def loss_scale(self) -> float:
        """The factor applied to the loss; 1 where no scaler is used."""
        return self._scaler.get_scale() if self._scaler is not None else 1.0

    def autocast(self) -> contextlib.AbstractContextManager:
        """A context with the precision of the model's forward, for code that runs in a hook outside it."""
        if self.opt_level == "O0":
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def disable_casts(self) -> contextlib.AbstractContextManager:
        """A context in which O1 casts nothing."""
        return torch.autocast(self.device_type, enabled=False)

    def initialize(
        self,
        models: Any,
        optimizers: Any = None,
        enabled: bool = True,
        opt_level: str = "O1",
        **ignored: Any,
    ) -> Any:
        """Prepares models and optimizers for ``opt_level``; returns them as they came (apex's convention).

        Raises:
            HMLError: an ``opt_level`` other than O0 and O1 (pure half precision has no equivalent in torch.amp).
        """
        if opt_level not in ("O0", "O1"):
            raise HMLError(f"mixed precision level {opt_level!r} is not supported without apex; use O0 or O1")
        self._reset()
        if enabled and opt_level == "O1":
            self.opt_level = "O1"
            for model in _as_list(models):
                parameter = next(model.parameters(), None)
                self.device_type = "cuda" if parameter is not None and parameter.is_cuda else "cpu"
                # A partial, not a closure: copy.deepcopy(model) then rebinds it to the copy's own forward.
                model.forward = functools.partial(_run_autocast, model.forward, self.device_type, self.dtype)
            if self.device_type == "cuda":
                self._scaler = _new_scaler()
            else:
                self._align_cpu()
        return models if optimizers is None else (models, optimizers)

    def init(self, enabled: bool = True, **ignored: Any) -> Amp:
        """apex's older entry point, used by test scripts: O1 for everything this thread runs from now on."""
        self._reset()
        if enabled:
            self.opt_level = "O1"
            self.device_type = "cuda" if torch.cuda.is_available() else "cpu"
            if self.device_type == "cpu":
                self._align_cpu()
            # Weights may still be loaded after this call, so their low-precision copies must not be cached.
            self._global = contextlib.ExitStack()
            self._global.enter_context(torch.autocast(self.device_type, dtype=self.dtype, cache_enabled=False))
        return self

    def deactivate(self) -> None:
        """Ends what ``init`` or ``initialize`` began, except for the forwards that are wrapped already."""
        if self._global is not None:
            self._global.close()
        self._reset()

    @contextlib.contextmanager
    def scale_loss(
        self, loss: torch.Tensor, optimizers: Any, loss_id: int = 0, model: Any = None, delay_unscale: bool = False
    ) -> Iterator[torch.Tensor]:
        """Yields the loss to call ``backward`` on; on leaving, gradients are unscaled and checked.

        Gradients that were there before the block are kept and added back unscaled, so that accumulation works.
        ``delay_unscale`` leaves the gradients scaled, for all but the last of several backward passes.
        """
        if self.opt_level == "O0":
            self.last_step_skipped = False
            yield loss
            return
        scale = self.loss_scale
        if scale == 0.0:
            raise HMLError("the loss scale fell to 0: gradients are never finite; lower SOLVER.BASE_LR or use float32")
        chosen = _as_list(optimizers)
        parameters = [p for optimizer in chosen for p in self.master_params(optimizer)]
        earlier = [] if delay_unscale else [(p, p.grad) for p in parameters if p.grad is not None]
        if self._scaler is not None:
            for parameter, _ in earlier:
                parameter.grad = None
        yield self._scaler.scale(loss) if self._scaler is not None else loss
        if delay_unscale:
            return
        overflow = self._unscale(chosen, parameters)
        if self._scaler is not None:
            for parameter, gradient in earlier:
                parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
        self.last_step_skipped = overflow
        if overflow:
            for optimizer in chosen:
                _skip_next_step(optimizer)

    def _unscale(self, optimizers: list, parameters: list[torch.nn.Parameter]) -> bool:
        """Divides the gradients by the scale, updates the scale; True if any gradient is inf or NaN."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return False
        if self._scaler is None:
            # A sum is finite exactly when all its terms are (short of float32's own limit), in a single pass.
            sums = torch.stack([gradient.sum(dtype=torch.float32) for gradient in gradients])
            return not bool(torch.isfinite(sums).all())
        before = self._scaler.get_scale()
        for optimizer in optimizers:
            self._scaler.unscale_(optimizer)
        self._scaler.update()
        return self._scaler.get_scale() < before

    @staticmethod
    def master_params(optimizer: torch.optim.Optimizer) -> Iterator[torch.nn.Parameter]:
        """The parameters that the optimizer updates (under O1 there is no second copy of them)."""
        for group in optimizer.param_groups:
            yield from group["params"]

    def _cast_function(self, function: Callable, dtype_of: Callable[[list[torch.dtype]], torch.dtype]) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.opt_level == "O0":
                return function(*args, **kwargs)
            dtype = dtype_of([t.dtype for value in (*args, *kwargs.values()) for t in _floats(value)])
            with torch.autocast(self.device_type, enabled=False):
                return function(*_cast(args, dtype), **_cast(kwargs, dtype))

        return wrapped

    def float_function(self, function: Callable) -> Callable:
        """``function`` with float32 inputs (float64 where one is) whenever O1 is on; unchanged otherwise."""
        return self._cast_function(function, lambda found: functools.reduce(torch.promote_types, found, torch.float32))

    def half_function(self, function: Callable) -> Callable:
        """``function`` with low-precision inputs whenever O1 is on; unchanged otherwise."""
        return self._cast_function(function, lambda found: self.dtype)

    def promote_function(self, function: Callable) -> Callable:
        """``function`` with inputs cast to the widest of their types whenever O1 is on; unchanged otherwise."""
        return self._cast_function(function, lambda found: functools.reduce(torch.promote_types, found, self.dtype))

    def _align_cpu(self) -> None:
        for module, name in _FLOAT32_ON_CPU:
            self._replaced.append((module, name, getattr(module, name)))
            self.register_float_function(module, name)
        if not lstm.runs_under_autocast(self.dtype):
            self._replaced.append((torch.nn.LSTM, "forward", torch.nn.LSTM.forward))
            torch.nn.LSTM.forward = lstm.in_float32_where_needed(torch.nn.LSTM.forward)

    def register_float_function(self, module: Any, name: str) -> None:
        """Replaces ``module.name`` by :meth:`float_function` of it."""
        setattr(module, name, self.float_function(getattr(module, name)))

    def register_half_function(self, module: Any, name: str) -> None:
        """Replaces ``module.name`` by :meth:`half_function` of it."""
        setattr(module, name, self.half_function(getattr(module, name)))

    def register_promote_function(self, module: Any, name: str) -> None:
        """Replaces ``module.name`` by :meth:`promote_function` of it."""
        setattr(module, name, self.promote_function(getattr(module, name)))

    def state_dict(self) -> dict[str, Any]:
        """Level and scaler state: plain numbers, loadable with ``weights_only=True``."""
        return {"opt_level": self.opt_level, "scaler": self._scaler.state_dict() if self._scaler is not None else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues the scaler of a saved run; a run saved without a scaler leaves the new one as it is."""
        if self._scaler is not None and state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])


def _skip_next_step(optimizer: torch.optim.Optimizer) -> None:
    """Makes the next ``optimizer.step()`` a no-op that puts the real one back."""
    own = optimizer.__dict__.get("step")
    if getattr(own, "skips_one_step", False):
        return

    def skip(closure: Callable | None = None) -> None:
        if own is None:
            del optimizer.step
        else:
            optimizer.step = own

    skip.skips_one_step = True
    optimizer.step = skip


amp = Amp()
