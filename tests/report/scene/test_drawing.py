"""A picture's drawing: no two labels overlap, all relations are there, the same bytes again, escaped text, marks."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest
from PIL import Image, ImageDraw

from maskrcnn_benchmark_hml.report.scene import draw_scene, graphviz
from maskrcnn_benchmark_hml.report.scene.compare import changed, difference, found_in
from maskrcnn_benchmark_hml.report.scene.graph_panel import CHANGED, FOUND
from maskrcnn_benchmark_hml.report.scene.labels import overlap, place_labels
from maskrcnn_benchmark_hml.report.scene.primitives import Drawing, Photo, Rect, Text
from maskrcnn_benchmark_hml.scene_graph import Relation, SceneGraph, SceneObject

from .scenes import crowded, other_predicates

COUNTS = (2, 3, 5, 8, 11, 12, 20, 30, 40)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=["graph", "list"])
def layout(request, monkeypatch):
    """The graph by Graphviz, and the list that is drawn without it."""
    if request.param == "list":
        monkeypatch.setattr(graphviz, "layout_command", lambda: ())
    elif not graphviz.layout_command():
        pytest.skip("neither Graphviz's program dot nor pygraphviz is installed")
    return request.param


@pytest.fixture
def photo() -> Image.Image:
    image = Image.linear_gradient("L").resize((640, 480)).convert("RGB")
    ImageDraw.Draw(image).ellipse((200, 100, 400, 400), "orange")
    return image


def texts(drawing: Drawing) -> list[Text]:
    return [item for item in drawing.items if isinstance(item, Text)]


def words(drawing: Drawing) -> list[str]:
    return [item.text for item in texts(drawing)]


def test_no_two_labels_overlap_and_all_are_inside(layout):
    for count in COUNTS:
        graph = crowded(count, seed=count)
        drawing = draw_scene([graph, other_predicates(graph)], ["one", "two"], annotated=crowded(count, seed=count))
        found = texts(drawing)
        assert not [(a, b) for a, b in combinations(found, 2) if overlap(a.box, b.box) > 0], count
        for item in found:
            x1, y1, x2, y2 = item.box
            assert x1 >= 0 and y1 >= 0 and x2 <= drawing.width and y2 <= drawing.height
        shown = {end for r in graph.relations[:20] for end in (r.subject, r.object)}
        # Labels on the photo stand on a filled rectangle, in white.
        assert len([item for item in found if item.colour == "#ffffff"]) == len(shown)


def test_nodes_of_the_graph_do_not_overlap(layout):
    if layout == "list":
        return
    for count in COUNTS:
        nodes = [item.box for item in draw_scene([crowded(count, seed=count)], [""]).items
                 if isinstance(item, Rect) and item.fill and item.radius in (3, 9)]  # fmt: skip
        assert len(nodes) > min(count, 20)
        assert not [pair for pair in combinations(nodes, 2) if overlap(*pair) > 0.5], count


def test_a_label_without_room_is_left_out_and_no_other_is_covered():
    boxes = [(10.0, 10.0, 30.0, 30.0)] * 30
    places = place_labels(boxes, [(18.0, 9.0)] * 30, (0.0, 0.0, 60.0, 40.0))
    placed = [(x, y, x + 18, y + 9) for x, y in filter(None, places)]
    assert 3 < len(placed) < 30 and not [pair for pair in combinations(placed, 2) if overlap(*pair) > 0]


def test_text_takes_the_width_that_was_measured(photo, tmp_path):
    """Nothing is drawn outside a text's box, in the PNG; the SVG is told the width."""
    drawing = draw_scene([crowded(5)], ["a title in bold: jgÅ"], photo)
    (title,) = (item for item in texts(drawing) if item.text.startswith("a title"))
    alone = Drawing(title.width + 20, 40, (replace(title, x=10.0, y=10.0),), "")
    alone.png(tmp_path / "t.png")
    ink = Image.open(tmp_path / "t.png").convert("L").point(lambda v: 255 * (v < 200)).getbbox()
    assert abs(ink[0] - 20) <= 3 and abs(ink[2] - 2 * (10 + title.width)) <= 4
    assert ink[1] >= 20 and ink[3] <= 2 * (10 + 1.2 * title.size) + 1
    assert f'textLength="{title.width:.1f}'.rstrip("0").rstrip(".") in drawing.svg()


def test_the_same_drawing_has_the_same_bytes(layout, photo, tmp_path):
    graphs = [crowded(14), other_predicates(crowded(14))]
    one, two = (draw_scene(graphs, ["a", "b"], photo) for _ in range(2))
    assert one.svg() == two.svg()
    one.png(tmp_path / "1.png"), two.png(tmp_path / "2.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


HARMFUL = '</text><script>alert("1")</script>&amp;\x00\x1b[31m]]>'


def test_text_is_escaped_and_readable_by_machines(layout, photo):
    objects = (SceneObject(HARMFUL, (10, 10, 90, 90)), SceneObject("b", (50, 50, 200, 200)))
    graph = SceneGraph(HARMFUL, 640, 480, "predcls", objects, (Relation(0, 1, HARMFUL, 0.5),))
    svg = draw_scene([graph], [HARMFUL], photo, name=HARMFUL).svg()
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(f"{SVG}script")) and "<script" not in svg and "\x1b" not in svg
    assert root.get("role") == "img"
    title, described = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("aria-labelledby") == title.get("id") and root.get("aria-describedby") == described.get("id")
    assert "Scene graph of" in title.text and '<script>alert("1")</script>' in described.text
    (image,) = root.iter(f"{SVG}image")
    assert image.get("href").startswith("data:image/jpeg;base64,")
    assert not re.search(r"(href|src)=\"(?!data:)", svg)


def test_several_predicates_of_one_pair_are_all_drawn(layout):
    objects = tuple(SceneObject(name, (10.0 * at, 10, 60 + at, 90)) for at, name in enumerate(("man", "horse")))
    names = ("riding", "on", "near", "above")
    graph = SceneGraph("", 100, 100, "predcls", objects, tuple(Relation(0, 1, name) for name in names))
    assert set(names) <= set(words(draw_scene([graph], [""])))


def test_without_graphviz_there_are_three_columns(monkeypatch):
    monkeypatch.setattr(graphviz, "layout_command", lambda: ())
    graph = crowded(6, relations=4)
    drawing = draw_scene([graph], ["run"])
    rows: dict[float, list[str]] = {}
    for item in texts(drawing):
        rows.setdefault(round(item.y, 1), []).append(item.text)
    assert ["subject", "predicate", "object"] in rows.values()
    said = [" ".join(row) for row in rows.values()]
    for relation in graph.relations:
        assert any(line.startswith(graph.objects[relation.subject].name) and f" {relation.predicate} " in line
                   for line in said)


def test_graphviz_that_fails_or_hangs_gives_the_list(monkeypatch):
    for command in (("false",), ("sleep", "9"), ("echo", "nonsense"), ("/does/not/exist",)):
        monkeypatch.setattr(graphviz, "layout_command", lambda command=command: command)
        monkeypatch.setattr(graphviz, "SECONDS", 0.2)
        assert "predicate" in words(draw_scene([crowded(4)], [""]))


def test_from_twelve_objects_on_the_photo_has_numbers(layout):
    few, many = draw_scene([crowded(11)], [""]), draw_scene([crowded(12, relations=60)], [""], top=60)
    on_photo = [item.text for item in texts(few) if item.colour == "#ffffff"]
    assert on_photo and not any(text.isdigit() for text in on_photo)
    on_photo = [item.text for item in texts(many) if item.colour == "#ffffff"]
    assert sorted(map(int, on_photo)) == list(range(1, 13))
    names = [f"{at + 1} {o.name}" for at, o in enumerate(crowded(12, relations=60).objects)]
    assert set(names) <= set(words(many))  # in the list, and again in the graph
    assert min(map(words(many).count, names)) >= 2


def test_marks_of_annotated_and_of_changed_relations(layout):
    one = crowded(6, relations=6)
    two = other_predicates(one)
    annotated = replace(one, relations=one.relations[1:3])
    drawing = draw_scene([one, two], ["one", "two"], annotated=annotated)
    assert found_in(one, annotated) == [False, True, True, False, False, False]
    assert changed(one, [two]) == changed(two, [one]) == [at % 3 == 0 for at in range(6)]
    assert difference([one, two], 6) == 4 and difference([one, one], 6) == 0
    expected = [f"{FOUND} {one.relations[at].predicate}" for at in (1, 2)] * 2
    expected += [f"{CHANGED} {graph.relations[at].predicate}" for graph in (one, two) for at in (0, 3)]
    marked = [item for item in texts(drawing) if item.text[0] in FOUND + CHANGED and "run" not in item.text
              and "annotation" not in item.text]  # fmt: skip
    assert sorted(item.text for item in marked) == sorted(expected)
    assert all(item.bold == (CHANGED in item.text) for item in marked)  # not by colour alone
    dashed = [item for item in drawing.items if isinstance(item, Rect) and item.dashed]
    assert len(dashed) == 4
    assert {"6 relations, among them 2 of 2 annotated ones", "one", "two"} <= set(words(drawing))
    assert "another run has another predicate" in drawing.description


def test_equal_objects_share_a_photo_and_others_do_not(photo):
    one = crowded(5)
    two = replace(one, objects=(replace(one.objects[0], box=(1.0, 2.0, 30.0, 40.0)), *one.objects[1:]))
    count = [sum(isinstance(item, Photo) for item in draw_scene(graphs, ["a", "b"], photo).items)
             for graphs in ([one, one], [one, two])]
    assert count == [1, 2]


def test_boxes_stand_where_the_objects_are(tmp_path, photo):
    """In whatever size the photo is stored: found by the colour of its middle."""
    picture = Image.new("RGB", (320, 240), "white")
    ImageDraw.Draw(picture).rectangle((80, 60, 159, 119), "#ff0000")
    graph = SceneGraph("", 640, 480, "predcls", (SceneObject("red", (160, 120, 320, 240)),))
    drawing = draw_scene([graph], [""], picture)
    (box,) = (item.box for item in drawing.items if isinstance(item, Rect) and item.title == "red")
    drawing.png(tmp_path / "p.png")
    found = Image.open(tmp_path / "p.png").convert("RGB")
    inner = found.crop(tuple(round(2 * v) + d for v, d in zip(box, (8, 34, -8, -8))))
    assert {colour for _, colour in inner.getcolors()} == {(255, 0, 0)}
    outer = found.getpixel((round(2 * box[2]) + 12, round(2 * box[3]) + 12))
    assert outer == (255, 255, 255)


def test_without_photo_relation_or_object_something_is_drawn(tmp_path):
    empty = SceneGraph("a.jpg", 0, 0, "sgdet")
    assert {"no object", "without the photo", "a.jpg"} <= set(words(draw_scene([empty], [""])))
    alone = SceneGraph("a.jpg", 30, 2000, "sgdet", (SceneObject("x" * 90, (5, 5, 20, 900)),))
    drawing = draw_scene([alone], [""])
    assert "no relation" in words(drawing)
    drawing.png(tmp_path / "a.png")
    ElementTree.fromstring(drawing.svg())


@pytest.mark.parametrize("titles", [[], ["a", "b"]])
def test_titles_are_counted(titles):
    with pytest.raises(ValueError, match="titles"):
        draw_scene([crowded(3)], titles)
