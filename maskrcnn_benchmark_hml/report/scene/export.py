"""A scene graph in the formats of other tools: DOT (Graphviz) and GraphML (networkx, Gephi, yEd, Cytoscape)."""

from __future__ import annotations

import io
import re

from ...scene_graph import Relation, SceneGraph


def dot_text(graph: SceneGraph) -> str:
    """The graph as DOT. Every relation is a node of its own, so that Graphviz draws no label on another."""
    lines = ["digraph scene_graph {", f"  graph [rankdir=LR label={_quoted(graph.picture or graph.image_id)}]"]
    for at, object_ in enumerate(graph.objects):
        lines.append(f"  o{at} [shape=box style=bold label={_quoted(object_.name)}]")
    for rank, relation in enumerate(graph.relations, 1):
        tooltip = "" if relation.score is None else f" tooltip={_quoted(f'score {relation.score:.6g}')}"
        lines.append(f"  r{rank} [shape=box style=rounded label={_quoted(relation.predicate)}{tooltip}]")
        lines.append(f"  o{relation.subject} -> r{rank} [arrowhead=none]")
        lines.append(f"  r{rank} -> o{relation.object}")
    return "\n".join([*lines, "}", ""])


def graphml_text(graph: SceneGraph) -> str:
    """The graph as GraphML: a node for each object, an edge for each relation.

    Nodes have name, x1, y1, x2, y2 (pixels) and, if it is known, score (a fraction); edges predicate, rank from 1, and
    score likewise.
    """
    import networkx
    from networkx.readwrite.graphml import write_graphml_xml

    made = networkx.MultiDiGraph(picture=_allowed(graph.picture), width=graph.width, height=graph.height,
                                 task=graph.task, image_id=_allowed(graph.image_id))  # fmt: skip
    for at, object_ in enumerate(graph.objects):
        corners = dict(zip(("x1", "y1", "x2", "y2"), map(float, object_.box)))
        made.add_node(f"o{at}", name=_allowed(object_.name), **corners, **_score(object_.score))
    for rank, relation in enumerate(graph.relations, 1):
        made.add_edge(f"o{relation.subject}", f"o{relation.object}", key=f"r{rank}", **_edge(relation, rank))
    stream = io.BytesIO()
    # The writer of the standard library: another one is used where lxml is installed, with other bytes.
    write_graphml_xml(made, stream, named_key_ids=False)
    return stream.getvalue().decode("utf-8") + "\n"


def _edge(relation: Relation, rank: int) -> dict[str, str | int | float]:
    return {"predicate": _allowed(relation.predicate), "rank": rank, **_score(relation.score)}


def _score(score: float | None) -> dict[str, str | int | float]:
    return {} if score is None else {"score": float(score)}


def _allowed(text: str) -> str:
    """Without the characters that XML does not allow."""
    return re.sub("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)


def _quoted(text: str) -> str:
    return '"' + _allowed(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
