"""Names to classes or functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskrcnn_benchmark_hml.errors import HMLError


class Registry(dict):
    """A dict filled by ``register(name, thing)`` or the decorator ``@register(name)``.

    Raises:
        HMLError: on looking up an unknown name (the message lists the known ones) or registering a name twice.
    """

    def register(self, name: str, thing: Any = None) -> Callable[[Any], Any] | None:
        """Register ``thing``, or without it return a decorator that does."""
        if thing is not None:
            if name in self:
                raise HMLError(f"{name!r} is registered twice; give one of the two another name")
            self[name] = thing
            return None

        def decorator(decorated: Any) -> Any:
            self.register(name, decorated)
            return decorated

        return decorator

    def __missing__(self, name: str) -> Any:
        raise HMLError(f"there is nothing named {name!r} here; use one of {', '.join(sorted(self)) or '(none yet)'}")
