"""Puts a picture's drawing together: photo and boxes, then the graph of each run, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ...scene_graph import SceneGraph
from .compare import changed, found_in, in_words, same_objects, strongest
from .graph_panel import CHANGED, FOUND, Marks, graph_items
from .photo_panel import COLOURS, display_names, photo_items
from .primitives import Drawing, Item, extent, moved, text

TOP = 20
"""Relations drawn of each graph, unless another number is given."""
_MARGIN, _BETWEEN = 16.0, 28.0


def draw_scene(
    graphs: Sequence[SceneGraph],
    titles: Sequence[str],
    photo: Image.Image | None = None,
    *,
    annotated: SceneGraph | None = None,
    top: int = TOP,
    name: str = "",
) -> Drawing:
    """The drawing of one picture: its photo with boxes, and the graph of the ``top`` relations of each run.

    Graphs with equal objects share one photo, others have a photo each. Objects without a drawn relation are left out,
    unless there is no relation at all. A predicate has a mark where ``annotated`` has the relation, and where another
    graph has another predicate for the same pair of objects.

    Args:
        graphs: at least one, all of one picture; relations with the highest score first.
        titles: one for each graph; "" for none.
        photo: as it is displayed; None: the boxes are drawn on a blank ground.
        name: of the picture, for the heading; default: the graphs' own.

    Raises:
        ValueError: no graph, or another number of titles.
    """
    if not graphs or len(graphs) != len(titles):
        raise ValueError(f"{len(graphs)} graphs and {len(titles)} titles")
    name = name or graphs[0].picture or graphs[0].image_id
    drawn = [strongest(graph, top) for graph in graphs]
    marks = [_marks(one, [*graphs[:at], *graphs[at + 1 :]], annotated) for at, one in enumerate(drawn)]
    shared = all(same_objects(drawn[0], other) for other in drawn[1:])
    shown = [_shown(drawn)] * len(drawn) if shared else [_shown([one]) for one in drawn]
    named = [display_names(graph, of) for graph, of in zip(drawn, shown)]
    coloured = [_colours(graph, of) for graph, of in zip(drawn, shown)]
    panels = _panels(drawn, [names for names, _ in named], coloured, marks)
    columns: list[list[Item]] = []
    for at, graph in enumerate(drawn):
        if at == 0 or not shared:
            columns.append(photo_items(graph, shown[at], *named[at], coloured[at], photo))
        columns.append(_headed(panels[at], titles[at], _subtitle(graph, annotated)))
    items = _side_by_side(columns, _headings(name, drawn[0], photo), marks)
    width, height = extent(items)
    title = f"Scene graph of {name or 'a picture'}" + (f": {', '.join(filter(None, titles))}" if any(titles) else "")
    words = "\n".join(_described(graph, of, marked) for graph, of, marked in zip(drawn, titles, marks))
    return Drawing(width + _MARGIN, height + _MARGIN, tuple(items), title, words)


def _marks(graph: SceneGraph, others: Sequence[SceneGraph], annotated: SceneGraph | None) -> Marks:
    found = found_in(graph, annotated) if annotated is not None else [False] * len(graph.relations)
    return Marks(found, changed(graph, others))


def _shown(graphs: Sequence[SceneGraph]) -> list[int]:
    """The objects of any drawn relation; without relations all of them."""
    used = {end for graph in graphs for r in graph.relations for end in (r.subject, r.object)}
    return sorted(used) or list(range(len(graphs[0].objects)))


def _colours(graph: SceneGraph, shown: Sequence[int]) -> list[str]:
    result = [COLOURS[-1]] * len(graph.objects)
    for at, object_ in enumerate(shown):
        result[object_] = COLOURS[at % len(COLOURS)]
    return result


def _panels(
    graphs: Sequence[SceneGraph], names: Sequence[list[str]], colours: Sequence[list[str]], marks: Sequence[Marks]
) -> list[list[Item]]:
    """The graphs, all from left to right or all from top to bottom, as they take less room."""
    both = [
        [graph_items(*of, direction) for of in zip(graphs, names, colours, marks)] for direction in ("LR", "TB")
    ]
    return min(both, key=lambda panels: sum(max(extent(panel)) for panel in panels))


def _subtitle(graph: SceneGraph, annotated: SceneGraph | None) -> str:
    count = len(graph.relations)
    said = f"{count} relation{'' if count == 1 else 's'}"
    if annotated is None or not annotated.relations:
        return said
    return f"{said}, among them {sum(found_in(annotated, graph))} of {len(annotated.relations)} annotated ones"


def _headed(panel: list[Item], title: str, subtitle: str) -> list[Item]:
    head: list[Item] = [text(0, 0, title, 15.0, bold=True, longest=60)] if title else []
    top = 20.0 if title else 0.0
    head.append(text(0, top, subtitle, 11.0, colour="#555555"))
    return head + [moved(item, 0, top + 22) for item in panel]


def _headings(name: str, graph: SceneGraph, photo: Image.Image | None) -> list[Item]:
    items: list[Item] = [text(0, 0, name, 15.0, bold=True, longest=60)] if name else []
    if photo is None:
        items.append(text(0, extent(items)[1], "without the photo", 11.0, colour="#555555"))
    return [moved(item, _MARGIN, _MARGIN) for item in items]


def _side_by_side(columns: Sequence[list[Item]], headings: list[Item], marks: Sequence[Marks]) -> list[Item]:
    """Headings, the columns from left to right, and what the marks mean."""
    items, x = list(headings), _MARGIN
    top = max(_MARGIN, extent(headings)[1] + 8)
    for column in columns:
        items += [moved(item, x, top) for item in column]
        x += extent(column)[0] + _BETWEEN
    legend = []
    if any(any(one.found) for one in marks):
        legend.append(f"{FOUND} the annotation has this relation")
    if any(any(one.changed) for one in marks):
        legend.append(f"{CHANGED} another run has another predicate for this pair")
    bottom = extent(items)[1] + 12
    return items + [text(_MARGIN, bottom + 16 * at, line, 11.0, colour="#333333") for at, line in enumerate(legend)]


def _described(graph: SceneGraph, title: str, marks: Marks) -> str:
    lines = [
        in_words(graph, relation)
        + (", annotated" if marks.found[at] else "")
        + (", another run has another predicate" if marks.changed[at] else "")
        for at, relation in enumerate(graph.relations)
    ]
    return f"{title or 'relations'}: " + ("; ".join(lines) or "none")


