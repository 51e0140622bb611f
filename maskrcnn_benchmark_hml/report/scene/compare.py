"""Which relations of a graph are annotated, and for which pairs of objects two graphs have different predicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...metrics.matching import pairwise_iou
from ...scene_graph import Relation, SceneGraph

NEAR = 0.5
"""IoU from which two boxes are one object, as in the metrics."""


def strongest(graph: SceneGraph, top: int) -> SceneGraph:
    """The graph with its first ``top`` relations alone, and all its objects."""
    return replace(graph, relations=graph.relations[:top])


def found_in(graph: SceneGraph, annotated: SceneGraph) -> list[bool]:
    """For each relation whether the annotation has it: both names, the predicate, and both boxes with IoU >= 0.5."""
    same = _same_objects(graph, annotated)
    return [
        any(
            relation.predicate == other.predicate
            and same[relation.subject, other.subject]
            and same[relation.object, other.object]
            for other in annotated.relations
        )
        for relation in graph.relations
    ]


def changed(graph: SceneGraph, others: Sequence[SceneGraph]) -> list[bool]:
    """For each relation whether another graph has the same pair of objects, but never with this predicate."""
    result = [False] * len(graph.relations)
    for other in others:
        for at, predicates in enumerate(_other_predicates(graph, other)):
            result[at] |= bool(predicates) and graph.relations[at].predicate not in predicates
    return result


def _other_predicates(graph: SceneGraph, other: SceneGraph) -> list[set[str]]:
    """For each relation the predicates that ``other`` has for its pair of objects."""
    of_pair: dict[tuple[int, int], set[str]] = {}
    for relation in other.relations:
        of_pair.setdefault((relation.subject, relation.object), set()).add(relation.predicate)
    if same_objects(graph, other):
        return [of_pair.get((r.subject, r.object), set()) for r in graph.relations]
    partner = best_partners(graph, other)
    return [of_pair.get((partner[r.subject], partner[r.object]), set()) for r in graph.relations]


def best_partners(graph: SceneGraph, other: SceneGraph) -> list[int]:
    """For each object that of ``other`` with the same name and the largest IoU, at least 0.5; -1 if there is none."""
    if not graph.objects or not other.objects:
        return [-1] * len(graph.objects)
    overlaps = _overlaps(graph, other)
    return [int(row.argmax()) if row.max() >= NEAR else -1 for row in overlaps]


def same_objects(one: SceneGraph, two: SceneGraph) -> bool:
    """Whether two graphs have the same objects, scores aside, so that one photo serves both."""
    return [(o.name, o.box) for o in one.objects] == [(o.name, o.box) for o in two.objects]


def difference(graphs: Sequence[SceneGraph], top: int) -> int:
    """How many of the first ``top`` relations of the graphs are of a pair with another predicate in another graph."""
    return sum(
        sum(changed(strongest(graph, top), [*graphs[:at], *graphs[at + 1 :]])) for at, graph in enumerate(graphs)
    )


def in_words(graph: SceneGraph, relation: Relation) -> str:
    """The relation as a sentence: man riding horse."""
    return f"{graph.objects[relation.subject].name} {relation.predicate} {graph.objects[relation.object].name}"


def _same_objects(graph: SceneGraph, other: SceneGraph) -> np.ndarray:
    return _overlaps(graph, other) >= NEAR


def _overlaps(graph: SceneGraph, other: SceneGraph) -> np.ndarray:
    """(n, m) IoU of the objects' boxes; 0 where the names differ."""
    one, two = (np.array([o.box for o in g.objects], np.float64).reshape(-1, 4) for g in (graph, other))
    names_one, names_two = (np.array([o.name for o in g.objects], object) for g in (graph, other))
    return np.where(names_one[:, None] == names_two[None, :], pairwise_iou(one, two), 0.0)
