"""``hml draw``: what it writes and says, and what it refuses before anything is written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.report.scene import graphviz
from maskrcnn_benchmark_hml.scene_graph import Relation, SceneGraph, SceneObject

MAN, HORSE = SceneObject("man", (10, 10, 40, 60)), SceneObject("horse", (20, 30, 90, 90))


def write(folder: Path, predicates: list[str]) -> str:
    """Graphs as hml predict writes them, one picture for each predicate; returns the folder."""
    graphs = [SceneGraph(f"{folder.parent}/photos/{at}.jpg", 100, 100, "sgdet", (MAN, HORSE), (Relation(0, 1, name),))
              for at, name in enumerate(predicates)]  # fmt: skip
    folder.mkdir()
    content = {"format": "hml scene graphs", "version": 1, "graphs": [graph.to_json() for graph in graphs]}
    (folder / "scene_graphs.json").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with two runs, a and b, of three pictures; they differ in pictures 0 and 2. Picture 1 has a photo."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a", ["on", "on", "on"]), write(tmp_path / "b", ["riding", "on", "near"])
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (100, 100), "red").save(tmp_path / "photos" / "1.jpg")
    return tmp_path


def written(folder: str = "outputs/draw") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_the_pictures_that_differ(place, capsys):
    assert cli.main(["draw", "a", "b"]) == 0
    said = capsys.readouterr().out
    assert "drawing 2 of 3 pictures, those with the most relations whose pair has another predicate" in said
    assert re.search("2 of them without the photo, on a blank ground: .*0.jpg does not exist; .* --photos DIR", said)
    assert written() == ["0.png", "0.svg", "2.png", "2.svg"]
    text = Path("outputs/draw/0.svg").read_text()
    ElementTree.fromstring(text)
    assert all(word in text for word in (">a<", ">b<", "≠ on", "≠ riding", "man riding horse"))
    before = {name: Path("outputs/draw", name).read_bytes() for name in written()}
    assert cli.main(["draw", "a", "b"]) == 0
    assert before == {name: Path("outputs/draw", name).read_bytes() for name in written()}


def test_named_pictures_formats_and_photos(place, capsys):
    assert cli.main("draw a b --images 1.jpg --format dot,graphml,svg --out o".split()) == 0
    assert written("o") == ["1.a.dot", "1.a.graphml", "1.b.dot", "1.b.graphml", "1.svg"]
    assert "data:image/jpeg" in Path("o/1.svg").read_text() and "without the photo" not in capsys.readouterr().out
    (place / "photos").rename(place / "moved")
    assert cli.main("draw a --images 1 --format svg --out p --photos moved".split()) == 0
    assert "data:image/jpeg" in Path("p/1.svg").read_text()


def test_one_run_names_its_rule(place, capsys):
    assert cli.main("draw b --changed 2 --format svg".split()) == 0
    assert "drawing 2 of 3 pictures, at equal distances in the order of the test" in capsys.readouterr().out
    assert written() == ["0.svg", "1.svg"]


def test_without_graphviz_it_says_so(place, capsys, monkeypatch):
    monkeypatch.setattr(graphviz, "layout_command", lambda: ())
    assert cli.main("draw b --images 0 --format svg".split()) == 0
    assert "Graphviz" in capsys.readouterr().out and ">predicate<" in Path("outputs/draw/0.svg").read_text()
    assert cli.main("draw b --images 0 --format dot".split()) == 0
    assert "Graphviz" not in capsys.readouterr().out


REFUSED = {
    "a --format gif": "--format is 'gif'; choose from svg, png, dot, graphml",
    "a --format ,": "--format is ','",
    "a --top 0": "--top is 0",
    "a --changed -1": "--changed is -1",
    "a --photos nowhere": "--photos nowhere is not a folder",
    "a --out a/scene_graphs.json": "is a file; name a folder",
    "a a": "the same RUN is given twice",
    "a --images 9": "a has no picture 9; it has 3, the first are 0, 1, 2",
    "a --images ,": "--images names no picture",
    "a nowhere": "nowhere does not exist",
    "a photos": "photos has no test results",
    "a c": "a and c have results for different pictures (3 pictures and 2; 2 is in one alone)",
    "a d": "the runs have the same predicates in all pictures",
    "broken": "cannot be drawn",
}


@pytest.mark.parametrize("words", REFUSED)
def test_mistakes_get_a_sentence_and_nothing_is_written(words, place, capsys):
    write(place / "c", ["on", "on"]), write(place / "d", ["on", "on", "on"]), write(place / "broken", [])
    (place / "broken" / "scene_graphs.json").write_text('{"graphs": [1]}')
    before = sorted(place.rglob("*"))
    assert cli.main(["draw", *words.split()]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith("hml: error: ") and REFUSED[words] in sentence
    assert sorted(place.rglob("*")) == before


def test_file_names_are_safe(place):
    graph = SceneGraph("../../x y/ä.jpg", 100, 100, "sgdet", (MAN, HORSE), (Relation(0, 1, "on"),))
    same = [graph, replace(graph, picture="other/ä.jpg")]
    Path("e.json").write_text(json.dumps({"graphs": [one.to_json() for one in same]}))
    assert cli.main("draw e.json --format svg --out o".split()) == 0
    assert written("o") == ["other-ä.jpg.svg", "x-y-ä.jpg.svg"]
