"""The predicate tree: groups of like predicates, split into layers from coarse to fine (eq. 1-2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import HMLError
from .clustering import apply_group_overrides, check_overrides, frequency_order
from .layers import layers_by_frequency, layers_by_group, released_boundaries
from .tree_file import read_tree_file, write_tree_file

BACKGROUND = "__background__"


@dataclass(frozen=True)
class PredicateTree:
    """A predicate tree, checked when made: groups and layers cover each predicate once, no layer is empty.

    Attributes:
        predicates: names in the dataset's index order, without background.
        groups: each most frequent first; the groups ordered by their first member.
        layers: predicate -> layer, 1 (coarse) to K (fine).
        counts: predicate -> relations in the training split.
        num_layers: K.
        builder: ``clustered`` or ``frequency``.
        threshold: T_SS of the clustering, None without one; it belongs to the vectors.
        vectors: name of the word vectors, None without clustering.
        vectors_digest: SHA-256 of the vectors' file.
        overrides: predicate -> {"group": predicate, "layer": int}, what was decided by hand.
        actions: predicates put into the last layer if alone in their group.
        skip_words: words left out of DWE.
    """

    predicates: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    layers: dict[str, int]
    counts: dict[str, int]
    num_layers: int
    builder: str
    threshold: float | None = None
    vectors: str | None = None
    vectors_digest: str | None = None
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    skip_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = set(self.predicates)
        check_names(self.predicates)
        members = [name for group in self.groups for name in group]
        for what, given in (("groups", members), ("layers", list(self.layers)), ("counts", list(self.counts))):
            odd = sorted(set(given) - names)
            if odd:
                raise HMLError(f"the tree's {what} name {odd[0]!r}, which is no predicate; correct the name")
            if len(given) != len(names):
                name = next((n for n in self.predicates if given.count(n) != 1), "")
                raise HMLError(f"the tree's {what} name {name!r} {given.count(name)} times; each predicate once")
        for name, layer in self.layers.items():
            if not 1 <= layer <= self.num_layers:
                raise HMLError(f"the tree puts {name!r} into layer {layer}; layers run from 1 to {self.num_layers}")
        for name, count in self.counts.items():
            if count < 0:
                raise HMLError(f"the tree's count of {name!r} is {count}; counts cannot be negative")
        for k in range(1, self.num_layers + 1):
            if k not in self.layers.values():
                raise HMLError(
                    f"layer {k} of {self.num_layers} of the tree is empty, so stage {k} would have no data; "
                    "use fewer layers, another threshold or boundary, or an override"
                )

    def layer(self, k: int) -> tuple[str, ...]:
        """The predicates of layer k (1..K), most frequent first."""
        if not 1 <= k <= self.num_layers:
            raise HMLError(f"the tree has no layer {k}; its layers are 1 to {self.num_layers}")
        return tuple(name for name in frequency_order(self.predicates, self.counts) if self.layers[name] == k)

    def layer_indices(self, k: int, rel_classes: Sequence[str]) -> list[int]:
        """Class indices (ascending, background excluded) of layer k in a host's ``rel_classes``."""
        self.check_vocabulary(rel_classes)
        chosen = set(self.layer(k))
        return [index for index, name in enumerate(rel_classes) if name in chosen]

    def coarse_of(self, name: str) -> str:
        """The most frequent predicate of a predicate's group: what it is called coarsely."""
        for group in self.groups:
            if name in group:
                return group[0]
        raise HMLError(f"the tree has no predicate {name!r}; check the vocabulary")

    def check_vocabulary(self, rel_classes: Sequence[str]) -> None:
        """HMLError unless ``rel_classes`` is background followed by exactly the tree's predicates, in any order."""
        if not rel_classes or rel_classes[0] != BACKGROUND:
            raise HMLError(f"class 0 of the predicates must be {BACKGROUND}; check the dataset's vocabulary file")
        here, there = set(self.predicates), set(rel_classes[1:])
        if here != there or len(rel_classes) != len(here) + 1:
            lacking = ", ".join(sorted(there - here)[:5])
            extra = ", ".join(sorted(here - there)[:5])
            parts = [f"not in the tree: {lacking}" if lacking else "", f"only in the tree: {extra}" if extra else ""]
            reason = "; ".join(part for part in parts if part) or "a predicate is listed twice"
            raise HMLError(f"tree and dataset have different predicates ({reason}); build a tree with hml tree --data")

    @property
    def digest(self) -> str:
        """SHA-256 of what training depends on: predicates, groups, layers. Hexadecimal."""
        content = [self.predicates, self.groups, sorted(self.layers.items()), self.num_layers]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the tree as a small readable JSON file, aside first."""
        write_tree_file(path, self)

    @classmethod
    def load(cls, path: str | Path) -> PredicateTree:
        """Read a tree file; HMLError names what is wrong with it."""
        return cls(**read_tree_file(path))

    def with_layers(self, num_layers: int) -> PredicateTree:
        """The same groups cut into K layers by the builder's rule; the overrides keep the last word.

        Raises:
            HMLError: K is below 1, exceeds what the groups give, has no released split (a frequency tree), or lies
                below an override's layer.
        """
        if num_layers == self.num_layers:
            return self
        overrides = check_overrides(self.overrides, self.predicates, num_layers)
        if self.builder == "frequency":
            order = frequency_order(self.predicates, self.counts)
            layers = layers_by_frequency(order, released_boundaries(num_layers))
        else:
            layers = layers_by_group(self.groups, self.actions, num_layers)
        layers.update({name: entry["layer"] for name, entry in overrides.items() if "layer" in entry})
        return replace(self, layers={name: layers[name] for name in self.predicates}, num_layers=num_layers)

    def with_overrides(self, overrides: Mapping[str, Any]) -> PredicateTree:
        """The tree with further overrides, of the form that :func:`.tree_builders.build_clustered_tree` takes.

        A predicate whose rank in its group changes thereby gets the layer of that rank (not in a frequency tree, where
        groups decide no layer); the other layers stay as they are, and an override's layer has the last word.

        Raises:
            HMLError: an unknown predicate, a layer outside 1..K, a layer left empty, or overrides in a circle.
        """
        new = check_overrides(overrides, self.predicates, self.num_layers)
        groups = apply_group_overrides(self.groups, new, frequency_order(self.predicates, self.counts))
        merged = {name: {**self.overrides.get(name, {}), **new.get(name, {})} for name in (*self.overrides, *new)}
        layers = dict(self.layers)
        if self.builder != "frequency":
            before, after = (layers_by_group(g, self.actions, self.num_layers) for g in (self.groups, groups))
            layers.update({name: after[name] for name in after if after[name] != before[name]})
        layers.update({name: entry["layer"] for name, entry in merged.items() if "layer" in entry})
        return replace(self, groups=tuple(map(tuple, groups)), layers=layers, overrides=merged)

    def describe(self) -> str:
        """The tree for reading: what made it, its layers, and each group with counts and layers."""
        total = max(1, sum(self.counts.values()))
        sizes = f"{len(self.predicates)} predicates, {len(self.groups)} groups, K = {self.num_layers}"
        made = f"{self.builder} tree: {sizes}"
        if self.vectors is not None:
            made += f"; groups by {self.vectors} (T_SS = {self.threshold:g})"
        lines = [made]
        for k in range(1, self.num_layers + 1):
            names = self.layer(k)
            share = sum(self.counts[name] for name in names) / total
            lines.append(f"layer {k}: {len(names)} predicates, {share:.1%} of the relations: {', '.join(names)}")
        lines.append("groups (layer in brackets):")
        for group in self.groups:
            lines.append("  " + ", ".join(f"{name} [{self.layers[name]}] {self.counts[name]:,}" for name in group))
        if self.overrides:
            lines.append("overrides: " + json.dumps(self.overrides))
        lines.append(f"digest {self.digest[:16]}")
        return "\n".join(lines)


def check_names(predicates: Sequence[str]) -> None:
    """HMLError unless there are predicates, all of them names, each once, without the background."""
    if not predicates:
        raise HMLError("there is no predicate to build a tree from; check the vocabulary")
    for name in predicates:
        if not isinstance(name, str) or not name.strip() or name == BACKGROUND:
            raise HMLError(f"{name!r} is no predicate; list the names without {BACKGROUND}")
        if list(predicates).count(name) > 1:
            raise HMLError(f"the predicate {name!r} is listed twice; list each once")
