"""A predicate's layer by its rank: within its group, or among all predicates."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import HMLError

# The released code's splits of VG's 50 predicates by frequency rank, by number of layers.
RELEASED_BOUNDARIES = {1: (), 2: (10,), 3: (10, 35), 4: (10, 20, 35)}


def layers_by_group(groups: Sequence[Sequence[str]], actions: Sequence[str], num_layers: int) -> dict[str, int]:
    """Rank r (from 0) within a group is layer min(r + 1, K); an action alone in its group is layer K."""
    if num_layers < 1:
        raise HMLError(f"the number of layers is {num_layers}; a tree has at least one")
    layers = {name: min(rank + 1, num_layers) for group in groups for rank, name in enumerate(group)}
    layers.update({group[0]: num_layers for group in groups if len(group) == 1 and group[0] in actions})
    return layers


def released_boundaries(num_layers: int) -> tuple[int, ...]:
    """The ranks at which the released code's layers 2, 3, ... begin; HMLError if it has no such split."""
    if num_layers not in RELEASED_BOUNDARIES:
        raise HMLError(f"there is no released split into {num_layers} layers; give the boundaries")
    return RELEASED_BOUNDARIES[num_layers]


def layers_by_frequency(order: Sequence[str], boundaries: Sequence[int]) -> dict[str, int]:
    """Layers of predicates given from most to least frequent, by the ranks at which the next layer begins."""
    edges = [0, *boundaries, len(order)]
    if any(low >= high for low, high in zip(edges, edges[1:])):
        raise HMLError(
            f"the boundaries {list(boundaries)} must ascend between 0 and {len(order)}, the number of predicates; "
            "give other ranks"
        )
    return {name: 1 + sum(rank >= edge for edge in boundaries) for rank, name in enumerate(order)}
