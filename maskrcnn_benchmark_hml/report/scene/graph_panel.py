"""A scene graph as primitives: nodes and edges where Graphviz is at hand, else a list of three columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...scene_graph import SceneGraph
from .graphviz import Layout, lay_out
from .primitives import Item, Line, Rect, Text, centred, text
from .text import shortened, width_of

FOUND, CHANGED = "✓", "≠"
"""Marks before a predicate: it is in the annotation; another run has another predicate for the pair."""
_NODE, _PREDICATE = 13.0, 12.0
_HEIGHT = 22.0
_CHANGED_LINE, _CHANGED_FILL = "#b45309", "#ffedc2"
_FOUND_LINE, _FOUND_FILL = "#15803d", "#dcf5e1"
_PLAIN_LINE, _PLAIN_FILL = "#9ca3af", "#f3f4f6"


@dataclass(frozen=True)
class Marks:
    """Of each relation of a graph: whether it is annotated, and whether another run has another predicate."""

    found: Sequence[bool]
    changed: Sequence[bool]

    def before(self, at: int) -> str:
        """The marks of one relation, with a space behind them."""
        marks = FOUND * self.found[at] + CHANGED * self.changed[at]
        return f"{marks} " if marks else ""


def graph_items(
    graph: SceneGraph, names: Sequence[str], colours: Sequence[str], marks: Marks, direction: str = "LR"
) -> list[Item]:
    """The graph's relations, from (0, 0) to the right and down; every relation has a node or a row of its own.

    Args:
        names: what each object is called here. colours: of each object.
        direction: of most edges, LR or TB.
    """
    if not graph.relations:
        return [text(0, 0, "no relation" if graph.objects else "no object", colour="#555555")]
    used = sorted({end for relation in graph.relations for end in (relation.subject, relation.object)})
    node = {object_: at for at, object_ in enumerate(used)}
    labels = [shortened(names[object_]) for object_ in used]
    predicates = [marks.before(at) + shortened(r.predicate) for at, r in enumerate(graph.relations)]
    sizes = [(width_of(label, _NODE, bold=True) + 14, _HEIGHT) for label in labels]
    sizes += [(width_of(p, _PREDICATE, bold=marks.changed[at]) + 14, _HEIGHT - 2) for at, p in enumerate(predicates)]
    edges = []
    for at, relation in enumerate(graph.relations):
        edges += [(node[relation.subject], len(used) + at), (len(used) + at, node[relation.object])]
    layout = lay_out(sizes, edges, direction)
    if layout is None:
        return _list_items(graph, names, colours, marks)
    items: list[Item] = [Line(points, curved=True, arrow=at % 2 == 1) for at, points in enumerate(layout.lines)]
    for at, label in enumerate(labels):
        box = _box(layout, at, sizes[at])
        items += [Rect(box, colours[used[at]], "#ffffff", 2.0, radius=3), centred(box, label, _NODE, bold=True)]
    for at, label in enumerate(predicates):
        box = _box(layout, len(used) + at, sizes[len(used) + at])
        items += [_predicate_box(box, graph, at, marks), centred(box, label, _PREDICATE, bold=marks.changed[at])]
    return items


def _box(layout: Layout, node: int, size: tuple[float, float]) -> tuple[float, float, float, float]:
    x, y = layout.centres[node]
    return x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2


def _predicate_box(box: tuple[float, float, float, float], graph: SceneGraph, at: int, marks: Marks) -> Rect:
    relation = graph.relations[at]
    score = "" if relation.score is None else f", score {relation.score:.3f}"
    title = f"relation {at + 1}: {relation.predicate}{score}"
    if marks.changed[at]:
        return Rect(box, _CHANGED_LINE, _CHANGED_FILL, 2.2, radius=9, dashed=True, title=title)
    if marks.found[at]:
        return Rect(box, _FOUND_LINE, _FOUND_FILL, 1.6, radius=9, title=title)
    return Rect(box, _PLAIN_LINE, _PLAIN_FILL, 1.0, radius=9, title=title)


def _list_items(graph: SceneGraph, names: Sequence[str], colours: Sequence[str], marks: Marks) -> list[Item]:
    """Rows of subject, predicate and object, the strongest relation first."""
    rows: list[tuple[Text, Text, Text]] = []
    for at, relation in enumerate(graph.relations):
        predicate = marks.before(at) + shortened(relation.predicate)
        rows.append((
            text(0, 0, shortened(names[relation.subject]), _NODE),
            text(0, 0, predicate, _NODE, bold=marks.changed[at]),
            text(0, 0, shortened(names[relation.object]), _NODE),
        ))  # fmt: skip
    heads = [text(0, 0, head, 11.0, colour="#555555") for head in ("subject", "predicate", "object")]
    columns = [max([heads[k].width, *(row[k].width for row in rows)]) + 26 for k in range(3)]
    starts = [0.0, columns[0], columns[0] + columns[1]]
    items: list[Item] = [text(start + 10, 0, head.text, 11.0, colour="#555555") for start, head in zip(starts, heads)]
    for at, row in enumerate(rows):
        relation, top = graph.relations[at], 18 + at * _HEIGHT
        box = (starts[1], top + 1, starts[1] + columns[1] - 6, top + _HEIGHT - 2)
        items.append(_predicate_box(box, graph, at, marks))
        for k, end in ((0, relation.subject), (2, relation.object)):
            items.append(Rect((starts[k], top + 4, starts[k] + 5, top + _HEIGHT - 5), fill=colours[end]))
        for k, cell in enumerate(row):
            items.append(text(starts[k] + 10, top + 2, cell.text, _NODE, bold=cell.bold))
    return items
