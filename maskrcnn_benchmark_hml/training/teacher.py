"""The previous stage's relation head, frozen, replayed on the student's own boxes and pairs (CR, eq. 5)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import HMLError


class Teacher:
    """A frozen copy of a relation head that answers on exactly the pairs the student was given.

    It lives outside the student's module tree: hosts match checkpoint keys by suffix and would fill it.

    Args:
        head: the student's relation head, freshly built and without our hooks; it is copied.
        weights: ``state_dict`` of the previous stage's head.
        replay: given the copy, the function from a call to relation logits (N, C); the host knows how heads are called.
    """

    def __init__(
        self, head: nn.Module, weights: Mapping[str, Tensor], replay: Callable[[nn.Module], Callable[[Any], Tensor]]
    ) -> None:
        self.head = copy_module(head)
        try:
            self.head.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise HMLError(
                f"the previous stage's relation head does not fit this model ({str(error).splitlines()[1].strip()}); "
                "train both stages with the same model settings"
            ) from error
        self.head.requires_grad_(False)
        self.head.eval()
        self.answer = replay(self.head)

    @torch.no_grad()
    def relation_logits(self, call: Any, device: torch.device) -> Tensor:
        """Relation logits (N, C) for the call that the student just made.

        Args:
            call: what the host noted of it; handed on as it is.
            device: the student's.
        """
        if next(self.head.parameters()).device != device:
            self.head.to(device)
        return self.answer(call)


def copy_module(module: nn.Module) -> nn.Module:
    """A deep copy, also of modules that keep computed tensors, as ``torch.nn.utils.weight_norm`` does.

    ``copy.deepcopy`` refuses a tensor that has a graph ("Only Tensors created explicitly by the user ..."); such a one
    is computed again at the next forward, so the copy gets its values alone.
    """
    kept = (value for part in module.modules() for value in vars(part).values())
    computed = (value for value in kept if isinstance(value, Tensor) and value.grad_fn is not None)
    return copy.deepcopy(module, {id(value): value.detach().clone() for value in computed})
