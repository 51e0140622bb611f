"""The two builders of a predicate tree: by word vectors (eq. 1-2), and by frequency as the released code does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import HMLError
from .clustering import apply_group_overrides, check_overrides, cluster_predicates, frequency_order
from .layers import layers_by_frequency, layers_by_group, released_boundaries
from .tree import PredicateTree, check_names
from .vectors import WordVectors

# Human actions of VG150 that are fine although nothing coarser shares their group (method section of the paper).
VG_ACTIONS = (
    "looking at", "playing", "says", "eating", "walking in", "watching", "using", "riding", "carrying", "holding",
)  # fmt: skip


def _check_counts(predicates: Sequence[str], counts: Mapping[str, int]) -> dict[str, int]:
    for name in predicates:
        if name not in counts:
            raise HMLError(f"there is no count for the predicate {name!r}; count the training split (0 is allowed)")
        if isinstance(counts[name], bool) or int(counts[name]) != counts[name] or counts[name] < 0:
            raise HMLError(f"the count of {name!r} is {counts[name]!r}; counts are whole numbers, 0 or more")
    odd = [name for name in counts if name not in predicates]
    if odd:
        raise HMLError(f"there is a count for {odd[0]!r}, which is no predicate; correct the name")
    return {name: int(counts[name]) for name in predicates}


def build_clustered_tree(
    predicates: Sequence[str],
    counts: Mapping[str, int],
    vectors: WordVectors,
    *,
    threshold: float = 0.70,
    num_layers: int = 2,
    actions: Sequence[str] = VG_ACTIONS,
    overrides: Mapping[str, Any] | None = None,
    skip_words: Sequence[str] = (),
) -> PredicateTree:
    """Cluster predicates by meaning, then layer each group by frequency rank (eq. 1-2).

    Predicates are visited from most to least frequent (ties in index order). Within a group rank r (from 0) goes to
    layer min(r + 1, K); a predicate of ``actions`` alone in its group goes to layer K; overrides have the last word.

    Args:
        predicates: names in index order.
        counts: predicate -> relations in the training split.
        vectors: word vectors.
        threshold: T_SS, the cosine similarity that joins a group, in [-1, 1]; it belongs to the vectors
            (GloVe 840B .70, word2vec GoogleNews .65, GloVe 6B near .86).
        num_layers: K, at least 1.
        actions: human actions; every name must be a predicate, except that the default list may exceed a vocabulary.
        overrides: predicate -> {"group": predicate, "layer": int}, either key alone, or just the predicate or int.
        skip_words: words left out of DWE.

    Raises:
        HMLError: a word or predicate without vector, an unknown name, an empty layer, a value out of range.
    """
    check_names(predicates)
    counts = _check_counts(predicates, counts)
    if not -1 <= threshold <= 1:
        raise HMLError(f"the threshold is {threshold}; a cosine similarity lies in [-1, 1]")
    known = tuple(name for name in actions if name in predicates)
    odd = [name for name in actions if name not in predicates]
    if odd and tuple(actions) != VG_ACTIONS:
        raise HMLError(f"the action list names {odd[0]!r}, which is no predicate; correct the name")
    overrides = check_overrides(overrides or {}, predicates, num_layers)
    order = frequency_order(predicates, counts)
    groups = cluster_predicates(order, vectors, threshold, skip_words)
    groups = apply_group_overrides(groups, overrides, order)
    layers = layers_by_group(groups, known, num_layers)
    return _tree(
        predicates, counts, groups, layers, num_layers, overrides, "clustered",
        threshold=float(threshold), vectors=vectors.name, vectors_digest=vectors.digest,
        actions=known, skip_words=tuple(skip_words),
    )  # fmt: skip


def build_frequency_tree(
    predicates: Sequence[str],
    counts: Mapping[str, int],
    *,
    boundaries: Sequence[int] | None = None,
    num_layers: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    vectors: WordVectors | None = None,
    threshold: float = 0.70,
    skip_words: Sequence[str] = (),
) -> PredicateTree:
    """Layer the predicates by frequency rank alone, as the released code does.

    Args:
        predicates: names in index order.
        counts: predicate -> relations in the training split.
        boundaries: ascending ranks at which the next layer begins: (10,) gives the ranks [0, 10) and [10, end).
            None takes the released code's for ``num_layers``: (10,), (10, 35) or (10, 20, 35).
        num_layers: K; None follows from the boundaries (2 without them).
        overrides: as in :func:`build_clustered_tree`.
        vectors: with them the groups, which the layers here do not depend on, are clustered (for the report that
            asks what a fine prediction would be called coarsely); without, each predicate is its own group.
        threshold: T_SS of that clustering.
        skip_words: words left out of DWE.

    Raises:
        HMLError: boundaries that do not ascend, exceed the predicates or contradict ``num_layers``; unknown names.
    """
    check_names(predicates)
    counts = _check_counts(predicates, counts)
    if boundaries is None:
        boundaries = released_boundaries(2 if num_layers is None else num_layers)
    if num_layers is not None and len(boundaries) != num_layers - 1:
        raise HMLError(f"{num_layers} layers have {num_layers - 1} boundaries between them, not {len(boundaries)}")
    num_layers = len(boundaries) + 1
    order = frequency_order(predicates, counts)
    layers = layers_by_frequency(order, boundaries)
    overrides = check_overrides(overrides or {}, predicates, num_layers)
    if vectors is None:
        groups = [[name] for name in order]
    else:
        groups = cluster_predicates(order, vectors, threshold, skip_words)
    groups = apply_group_overrides(groups, overrides, order)
    source = {} if vectors is None else {
        "threshold": float(threshold), "vectors": vectors.name, "vectors_digest": vectors.digest,
        "skip_words": tuple(skip_words),
    }  # fmt: skip
    return _tree(predicates, counts, groups, layers, num_layers, overrides, "frequency", **source)


def _tree(
    predicates: Sequence[str],
    counts: dict[str, int],
    groups: list[list[str]],
    layers: dict[str, int],
    num_layers: int,
    overrides: dict[str, dict[str, Any]],
    builder: str,
    **source: Any,
) -> PredicateTree:
    layers.update({name: entry["layer"] for name, entry in overrides.items() if "layer" in entry})
    return PredicateTree(
        predicates=tuple(predicates),
        groups=tuple(tuple(group) for group in groups),
        layers={name: layers[name] for name in predicates},
        counts=counts,
        num_layers=num_layers,
        builder=builder,
        overrides=overrides,
        **source,
    )
