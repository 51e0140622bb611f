"""Grouping predicates by meaning (eq. 1-2), and the decisions by hand that may follow."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import HMLError
from .vectors import WordVectors, embed_phrase, phrase_words

_DECIMALS = 12
_log = logging.getLogger("maskrcnn_benchmark.hml")


def frequency_order(predicates: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """The predicates from most to least frequent; ties keep the index order."""
    return sorted(predicates, key=lambda name: -counts[name])


def cluster_predicates(
    order: Sequence[str], vectors: WordVectors, threshold: float, skip_words: Collection[str] = ()
) -> list[list[str]]:
    """Group predicates greedily in the given order (eq. 1-2).

    Each predicate's vector v = DWE(x) is compared by cosine similarity with every group's representative R_i. The
    most similar group (the earliest of equals) takes it if the similarity is at least T_SS, and R_i becomes
    (n R_i + v) / (n + 1); otherwise a group with R = v begins. Similarities are rounded to 12 decimals first, so that
    float64's rounding decides nothing: at T_SS = 1 predicates join whose vectors have the same direction.

    Returns:
        Groups in the order of their first members, members in the order given.

    Raises:
        HMLError: words without vector (all of them are named), a predicate of which every word is skipped, or one with
            the zero vector, which has no direction.
    """
    _check_words(order, vectors, skip_words)
    groups: list[list[str]] = []
    representatives: list[np.ndarray] = []
    for name in order:
        v = embed_phrase(vectors, name, skip_words)
        norm = np.linalg.norm(v)
        if norm == 0:
            raise HMLError(f"the vector of predicate {name!r} in {vectors.name} is zero; use other vectors")
        similarity = [
            round(float(r @ v / (np.linalg.norm(r) * norm)), _DECIMALS) if r.any() else -1.0 for r in representatives
        ]
        best = int(np.argmax(similarity)) if similarity else -1
        if best >= 0 and similarity[best] >= threshold:
            n = len(groups[best])
            representatives[best] = (n * representatives[best] + v) / (n + 1)
            groups[best].append(name)
        else:
            groups.append([name])
            representatives.append(v)
    return groups


def _check_words(order: Sequence[str], vectors: WordVectors, skip_words: Collection[str]) -> None:
    """Say which words are read in another spelling.

    Raises:
        HMLError: words without a vector; names each with the first predicate that has it.
    """
    missing: dict[str, str] = {}
    read: dict[str, str] = {}
    for name in order:
        words, unknown = phrase_words(vectors, name, skip_words)
        missing.update((word, name) for word in unknown if word not in missing)
        if words != [word for word in name.split() if word not in skip_words]:
            read[name] = " ".join(words)
    if read and not missing:
        used = ", ".join(f"{words!r} for {name!r}" for name, words in read.items())
        _log.warning("HML: %s lacks words as the predicates spell them; used instead: %s", vectors.name, used)
    if not missing:
        return
    named = ", ".join(f"{word!r} of {name!r}" for word, name in missing.items())
    is_one = len(missing) == 1
    raise HMLError(
        f"{len(missing)} word{'' if is_one else 's'} of the predicates {'has' if is_one else 'have'} no vector in "
        f"{vectors.name}: {named}; skip {'it' if is_one else 'them'} (--skip-words {' '.join(missing)}) or use vectors "
        f"that have {'it' if is_one else 'them'}"
    )


def check_overrides(
    overrides: Mapping[str, Any], predicates: Sequence[str], num_layers: int
) -> dict[str, dict[str, Any]]:
    """Overrides in their full form, predicate -> {"group": predicate, "layer": int}; either key may be absent.

    Accepts the short forms predicate -> "predicate" (join its group; its own name: a group of its own) and
    predicate -> layer.

    Raises:
        HMLError: an unknown predicate or key, or a layer outside 1..K.
    """
    full: dict[str, dict[str, Any]] = {}
    for name, entry in overrides.items():
        if name not in predicates:
            raise HMLError(f"an override names {name!r}, which is no predicate; correct the name")
        if isinstance(entry, str):
            entry = {"group": entry}
        elif isinstance(entry, int) and not isinstance(entry, bool):
            entry = {"layer": entry}
        if not isinstance(entry, Mapping) or not entry or set(entry) - {"group", "layer"}:
            raise HMLError(f"the override of {name!r} is {entry!r}; give a group's predicate, a layer, or both by name")
        if "group" in entry and entry["group"] not in predicates:
            raise HMLError(f"the override of {name!r} names the group of {entry['group']!r}, which is no predicate")
        layer = entry.get("layer", 1)
        if not isinstance(layer, int) or isinstance(layer, bool) or not 1 <= layer <= num_layers:
            raise HMLError(f"the override of {name!r} gives layer {layer!r}; layers run from 1 to {num_layers}")
        full[name] = dict(entry)
    return full


def apply_group_overrides(
    groups: Sequence[Sequence[str]], overrides: Mapping[str, Mapping[str, Any]], order: Sequence[str]
) -> list[list[str]]:
    """Move predicates between groups as the overrides say, then restore the frequency order within and between.

    "The group of X" is the group in which X ends, so the order of the overrides does not matter: with ``{"a": "b",
    "b": "c"}`` a and b both join c; with ``{"a": "b", "b": "b"}`` they form a group of their own.

    Raises:
        HMLError: overrides that lead in a circle.
    """
    target = {name: entry["group"] for name, entry in overrides.items() if "group" in entry}
    homes: dict[str, list[str]] = {}
    for group in groups:
        stay = [name for name in group if name not in target]
        homes.update((name, stay) for name in stay)
    for name in target:
        end = _final_home(name, target)
        homes[name] = homes.setdefault(end, [])
        homes[name].append(name)
    rank = {name: position for position, name in enumerate(order)}
    kept = {id(group): sorted(group, key=rank.__getitem__) for group in homes.values()}
    return sorted(kept.values(), key=lambda group: rank[group[0]])


def _final_home(name: str, target: Mapping[str, str]) -> str:
    """The predicate whose group takes ``name``: not moved itself, or the first of a new group."""
    passed = [name]
    while (end := target.get(passed[-1], passed[-1])) != passed[-1]:
        if end in passed:
            raise HMLError(
                f"the overrides of {', '.join(map(repr, passed))} are circular; give one of them its own name as group"
            )
        passed.append(end)
    return passed[-1]
