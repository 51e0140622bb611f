"""Scene graphs for the tests of drawing: any number of objects, in a heap in the middle of the picture."""

from __future__ import annotations

import random

from maskrcnn_benchmark_hml.scene_graph import Relation, SceneGraph, SceneObject

OBJECTS = ("man", "woman", "horse", "tree", "building", "sidewalk", "car", "shirt", "motorcycle", "traffic light")
PREDICATES = ("on", "has", "in", "wearing", "of", "near", "riding", "in front of", "parked on", "standing on")


def crowded(count: int, seed: int = 0, relations: int = 25, width: int = 640, height: int = 480) -> SceneGraph:
    """``count`` objects most of which overlap; the relations are of random pairs, no pair twice."""
    chance = random.Random(seed)
    objects = []
    for at in range(count):
        w, h = (chance.uniform(0.04, 0.6 if at == 0 else 0.3) * side for side in (width, height))
        x = min(max(0.0, chance.gauss(0.45, 0.15) * width), width - w)
        y = min(max(0.0, chance.gauss(0.45, 0.15) * height), height - h)
        objects.append(SceneObject(chance.choice(OBJECTS), (x, y, x + w, y + h)))
    pairs = [(one, two) for one in range(count) for two in range(count) if one != two]
    chance.shuffle(pairs)
    found = tuple(
        Relation(one, two, chance.choice(PREDICATES), 0.9 / (rank + 1)) for rank, (one, two) in enumerate(pairs)
    )
    return SceneGraph("", width, height, "predcls", tuple(objects), found[:relations], str(seed))


def other_predicates(graph: SceneGraph, seed: int = 0) -> SceneGraph:
    """The same objects and pairs; a third of the relations with another predicate."""
    from dataclasses import replace

    chance = random.Random(seed)
    relations = [
        replace(r, predicate=chance.choice([p for p in PREDICATES if p != r.predicate])) if at % 3 == 0 else r
        for at, r in enumerate(graph.relations)
    ]
    return replace(graph, relations=tuple(relations))
