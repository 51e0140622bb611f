"""A scene graph is the same after it was written and read."""

import json

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.scene_graph import Relation, SceneGraph, SceneObject

GRAPH = SceneGraph(
    "park/a.jpg", 640, 480, "sgdet",
    (SceneObject("man", (0.5, 1, 20, 30.25), 0.75), SceneObject("bike", (3, 4, 50, 60))),
    (Relation(0, 1, "riding", 0.5), Relation(0, 1, "on")), "17",
)  # fmt: skip


def test_json_gives_an_equal_graph_back():
    assert SceneGraph.from_json(json.loads(json.dumps(GRAPH.to_json()))) == GRAPH


@pytest.mark.parametrize("key", ["objects", "relations", "width", "task"])
def test_a_graph_that_is_not_complete_is_refused(key):
    content = GRAPH.to_json()
    del content[key]
    with pytest.raises(HMLError, match=f"not complete.*{key}"):
        SceneGraph.from_json(content)


@pytest.mark.parametrize("content", [{}, [], {"format": "hml scene graph", "version": 2}])
def test_other_json_is_refused(content):
    with pytest.raises(HMLError, match="is no hml scene graph of version 1"):
        SceneGraph.from_json(content)
