"""One training forward of a relation head: what it was given, what its samplers returned, and what its predictor gave.

What a predictor's call looks like stands here alone: the names of its arguments and the place of its logits. A fork
whose predictor returns more, or elsewhere, is a change in this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..errors import HMLError
from .hook_points import argument, as_rows

PAIRS, PAIRS_POSITION = "rel_pair_idxs", 1
LOGITS_POSITION = 1


def own_list(value: Any) -> Any:
    """A list copied, its items kept; anything else as it is. Hosts edit lists of tensors in place."""
    return list(value) if isinstance(value, list) else value


@dataclass
class StepCall:
    """What HML notes during one training forward.

    Attributes:
        args, kwargs: the arguments of the relation head.
        samples: the name of a sampler -> what it returned.
        predictor_args, predictor_kwargs: the arguments of its predictor.
        own_logits: relation logits that the predictor gave to its own criterion (SHA-GCL).
        new_loss: l_new of this forward, as it was given to the host.
        added_losses: loss terms to add to those of the host.
    """

    args: tuple = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    samples: dict[str, tuple] = field(default_factory=dict)
    predictor_args: tuple = ()
    predictor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    own_logits: Tensor | None = None
    new_loss: Tensor | None = None
    added_losses: dict[str, Tensor] = field(default_factory=dict)

    def pair_count(self, predictor: nn.Module) -> int:
        """Sampled pairs of all images."""
        given = predictor.forward, PAIRS, PAIRS_POSITION, self.predictor_args, self.predictor_kwargs
        return sum(len(rows) for rows in argument(*given))

    def relation_logits(self, predictor: nn.Module, output: Any) -> Tensor:
        """The relation logits (N, C) of a predictor with a criterion of its own: from its output, else from that.

        Raises:
            HMLError: there are none.
        """
        given = output[LOGITS_POSITION]
        if given is not None:
            return as_rows(given)
        if self.own_logits is None:
            raise HMLError(
                f"{type(predictor).__name__} gives no relation logits in training and has no single relation loss "
                "that l_new could take the place of; choose another relation predictor"
            )
        return self.own_logits
