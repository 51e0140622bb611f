"""The scene graphs of the report page: pictures in which the runs differ, as drawings and as text."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.report.page.page import page
from maskrcnn_benchmark_hml.report.page.scenes import MOST_RUNS, TOP
from maskrcnn_benchmark_hml.report.runs import load_runs
from maskrcnn_benchmark_hml.report.scene.results import load_results

from .pages import Element, parsed, rows


@pytest.fixture
def stored(sgb_run, tmp_path):
    """``stored(name, turn)``: a run with predictions, photos and names; ``turn`` moves scores to other classes."""
    for number in range(40):
        Image.new("RGB", (100, 100), (40, 6 * number, 90)).save(tmp_path / f"{number:03}.png")

    def write(name: str, turn: int = 0, mode: str = "predcls"):
        def turned(scores: np.ndarray) -> np.ndarray:
            return np.concatenate([scores[:, :1], np.roll(scores[:, 1:], turn, axis=1)], axis=1)

        made = sgb_run(name, mode, change=turned)
        (made / "labels.json").write_text(json.dumps({"0": "__background__", "1": "<b>man", "2": "dog"}))
        files = [{"img_file": str(tmp_path / f"{number:03}.png")} for number in range(40)]
        (made / "inference" / "some_test" / "visual_info.json").write_text(json.dumps(files))
        return made

    return write


def page_of(*paths, pictures: int = 3) -> Element:
    return parsed(page(load_runs([str(path) for path in paths]), pictures=pictures))


def drawings(root: Element) -> list[Element]:
    return [image for image in root.all("img") if image.attributes.get("class") == "scene"]


def test_the_pictures_in_which_runs_differ_most_are_drawn(stored):
    one, two = stored("one"), stored("two", turn=1)
    root = page_of(one, two)
    assert len(drawings(root)) == 3 and len([h for h in root.all("h3") if "icture" in h.text]) == 3
    results = [load_results(str(path)) for path in (one, two)]
    assert "They show where the runs differ, not how often." in root.text
    titles = [heading.text for heading in root.all("h3") if "icture" in heading.text]
    for number, image in enumerate(drawings(root), 1):
        drawn = base64.b64decode(image.attributes["src"].partition(",")[2])
        assert drawn.startswith(b"<svg ") and b"data:image/jpeg;base64," in drawn  # the photo is in it
        assert "one, two" in image.attributes["alt"]
        lines = rows(root, f"scene-{number}")[1:]
        at = results[0].ids.index(titles[number - 1].split()[-1])
        for name, result in zip(("one", "two"), results):
            graph = result.predicted(at)
            names = [object_.name for object_ in graph.objects]
            wanted = [[name, str(rank), names[r.subject], r.predicate, names[r.object]]
                      for rank, r in enumerate(graph.relations[:TOP], 1)]  # fmt: skip
            assert [line[:5] for line in lines if line[0] == name] == wanted


def test_one_run_is_drawn_too_and_none_on_request(stored):
    one = stored("one")
    root = page_of(one, pictures=2)
    assert len(drawings(root)) == 2 and "Pictures at equal distances in the order of the test." in root.text
    assert not drawings(page_of(one, pictures=0))


def test_what_cannot_be_drawn_is_said(stored, run):
    one, same, plain = stored("one"), stored("same"), run("plain")
    assert "The runs have the same predicates in all pictures" in page_of(one, same).text
    root = page_of(one, plain)
    assert "Not drawn: plain. The test stored no predictions (TEST.SAVE_PREDICTIONS False)" in root.text
    assert len(drawings(root)) == 3
    (same / "labels.json").unlink()
    root = page_of(one, same)
    assert "Not drawn: same. no file near" in root.text and len(drawings(root)) == 3


def test_many_runs_and_several_tasks(stored):
    paths = [stored(f"run{number}", turn=number) for number in range(MOST_RUNS + 1)]
    root = page_of(*paths, stored("det", mode="sgdet"), pictures=1)
    assert f"PredCls, the first {MOST_RUNS} of {MOST_RUNS + 1} runs in the order of the command are drawn" in root.text
    assert [h.text.split(" picture")[0] for h in root.all("h3") if "icture" in h.text] == ["PredCls,", "SGDet,"]
    assert {line[0] for line in rows(root, "scene-1")[1:]} == {f"run{number}" for number in range(MOST_RUNS)}
