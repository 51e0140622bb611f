"""The report page without a browser: well formed, complete, made for screen readers, harmless, the same every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.report.merging import merge_run, merged_rows
from maskrcnn_benchmark_hml.report.page import tradeoff
from maskrcnn_benchmark_hml.report.page.chart import Chart, Line, ticks
from maskrcnn_benchmark_hml.report.page.page import page
from maskrcnn_benchmark_hml.report.page.table import CHANGE, NUMBER, SHARE, Column, Table
from maskrcnn_benchmark_hml.report.page.training_log import MOST_POINTS, read_log, thinned
from maskrcnn_benchmark_hml.report.runs import load_runs

from .conftest import make_tree
from .pages import add_adjusted, add_curves, add_settings, by_id, many, parsed, rows

EVIL = "<script>alert(1)</script>"
#: Tests that look at the trade-off picture or at the size of the page; the others do without matplotlib.
DRAWN = ("test_logit_adjustment_is_a_curve_and_a_table", "test_a_page_of_27_runs_stays_usable",
         "test_the_same_files_give_the_same_page")  # fmt: skip


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    if request.node.name not in DRAWN:
        monkeypatch.setattr(tradeoff, "_image", lambda *_: "data:image/png;base64,")


@pytest.fixture
def two(run):
    """A baseline and an HML run with everything that a page shows."""
    base, hml = run("baseline", shift=0.125), run("hml", with_tree=True)
    add_settings(base, HML={"ENABLED": False, "CR": {"WEIGHT": 9.0}}, SOLVER={"MAX_ITER": 40})
    add_settings(hml, HML={"ENABLED": True, "CONTROL": "", "CR": {"WEIGHT": 1.0}}, SOLVER={"MAX_ITER": 60})
    add_curves(base, (40,))
    add_curves(hml, (20, 40), ("loss_rel", "loss_cr"))
    add_adjusted(base, (0.5, 1.0))
    return [base, hml]


def page_of(paths, **options) -> str:
    return page(load_runs([str(path) for path in paths]), **options)


def test_the_page_is_well_formed_and_made_for_screen_readers(two):
    root = parsed(page_of(two))
    assert root.all("html")[0].attributes["lang"] == "en" and root.all("title")[0].text == "Report of 2 runs"
    headings = [one for one in root.everything() if re.fullmatch("h[1-6]", one.tag)]
    levels = [int(one.tag[1]) for one in headings]
    assert levels.count(1) == 1 and levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:]))
    assert all(one.text.strip() for one in headings)
    ids = [one.attributes["id"] for one in root.everything() if "id" in one.attributes]
    assert len(set(ids)) == len(ids)
    for one in root.everything():  # what an attribute points to exists
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(one.attributes.get(name, "").split()) <= set(ids)
        if one.attributes.get("href"):
            assert one.attributes["href"].removeprefix("#") in ids
    for table in root.all("table"):
        (caption,) = table.all("caption")
        assert caption.text.strip() and all(head.attributes["scope"] in ("col", "row") for head in table.all("th"))
        first = [row.children[0] for row in table.all("tbody")[0].children]
        assert all(one.tag == "th" and one.attributes["scope"] == "row" for one in first)
    assert root.all("img") and all(image.attributes["alt"] for image in root.all("img"))
    for drawing in root.all("svg"):
        hidden = drawing.attributes.get("aria-hidden") == "true"
        assert hidden or (drawing.attributes["role"] == "img" and drawing.all("title")[0].text)
    boxes = [one for one in root.everything() if one.attributes.get("class") == "box"]
    assert all({"tabindex", "role"} <= set(one.attributes) for one in boxes)  # so that arrow keys scroll them


def test_the_page_needs_no_other_file(two):
    text = page_of(two)
    root = parsed(text)
    sources = [one.attributes[name] for one in root.everything() for name in ("src", "href") if name in one.attributes]
    assert sources and all(source.startswith(("#", "data:image/")) for source in sources)
    assert len(root.all("script")) == len(root.all("style")) == 1 and not root.all("link")
    assert "url(" not in root.all("style")[0].text and "@import" not in root.all("style")[0].text
    policy = next(one.attributes["content"] for one in root.all("meta") if "http-equiv" in one.attributes)
    digest = base64.b64encode(hashlib.sha256(root.all("script")[0].text.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:") and f"script-src 'sha256-{digest}'" in policy


def test_the_same_files_give_the_same_page(two):
    assert page_of(two) == page_of(two)


def test_metrics_layers_and_predicates_are_those_of_the_files(two):
    root = parsed(page_of(two, k=20))
    base, hml = (json.loads(next(run.glob("inference/*/metrics.json")).read_text()) for run in two)
    head, first, second = rows(root, "metrics")
    for key in ("R@20", "mR@50", "ng-R@100", "ng-mR@20", "zR@50", "A@20"):
        at = head.index(key)
        assert (first[at], second[at]) == (f"{100 * base[key]:.1f}", f"{100 * hml[key]:.1f}"), key
    assert second[head.index("mean of R and mR@50")] == f"{50 * (hml['R@50'] + hml['mR@50']):.1f}"
    assert not {"mAP", "mAP@0.5"} & set(head)  # boxes are given in PredCls
    per = hml["per_predicate"]["R@20"]
    fine = [per[p] for p, layer in make_tree().layers.items() if layer == 2 and per[p] is not None]
    head, _, line = rows(root, "layers")
    assert line[head.index("layer 2 mR@20")] == f"{100 * sum(fine) / len(fine):.1f}"
    head, *lines = rows(root, "predicates")
    assert head[-1] == "hml minus baseline" and by_id(root, "predicates-caption").text.startswith("R@20 ")
    assert [line[0] for line in lines] == ["on", "of", "sitting on", "parked on", "riding", "part of"]
    assert lines[2] == ["sitting on", "2", "20", *[f"{100 * per['sitting on']:.1f}"] * 2, "0.0"]


def test_merged_recall_is_that_of_the_command(two):
    root = parsed(page_of(two))
    value = {(m, p, k): v for m, p, k, v in merged_rows(merge_run(next(two[1].glob("inference/*")), make_tree()))}
    head, _, line = rows(root, "merged")
    for metric in ("coarse-mR", "merged-mR", "merged-R"):
        assert line[head.index(f"{metric}@50")] == f"{100 * value[metric, '', 50]:.1f}"
    head, *lines = rows(root, "merged-predicates")
    assert lines[0][:2] == ["on", "sitting on, parked on"]
    assert lines[0][head.index("hml merged-R@50")] == f"{100 * value['merged-R', 'on', 50]:.1f}"


def test_settings_that_differ(two):
    root = parsed(page_of(two))
    head, *lines = rows(root, "settings")
    # A switched-off method has no settings, and the folder's own name is no setting.
    assert head == ["setting", "baseline", "hml"]
    assert lines == [["HML.ENABLED", "false", "true"], ["SOLVER.MAX_ITER", "40", "60"]]
    same = {line[0]: line[1] for line in rows(root, "same-settings")[1:]}
    assert same == {"DTYPE": "float32", "HML.CONTROL": "(empty)", "HML.CR.WEIGHT": "1.0"}
    (two[1] / "hml" / "settings.json").write_text(json.dumps({"DTYPE": "float16"}))
    assert ["DTYPE", "float32", "float16"] in rows(parsed(page_of(two)), "settings")


def test_curves_of_all_stages(two):
    root = parsed(page_of(two))
    titles = [one.text for one in root.all("figcaption")]
    assert titles == ["loss, all terms but MR", "loss_rel (predicates)", "loss_cr (Concept Reconstruction, CR)",
                      "validation R@100, percent", "learning rate", "seconds per iteration", "peak memory, MiB"]
    loss, *_ = (one for one in root.all("svg") if "role" in one.attributes)
    lines = [one for one in loss.all("path") if "line" in one.attributes["class"]]
    assert [one.attributes["class"] for one in lines] == ["line s0", "line s1", "line s1"]  # two stages of HML
    starts = [float(re.match(r"M([\d.]+) ", one.attributes["d"])[1]) for one in lines]
    assert starts[0] == starts[1] < starts[2]  # the second stage follows the first
    assert "hml: from 1.5 to 0.075, lowest 0.075, highest 1.5" in loss.all("desc")[0].text
    head, *ends = rows(root, "training")
    assert [line[:3] for line in ends] == [["baseline", "1", "40"], ["hml", "1", "20"], ["hml", "2", "40"]]
    last = dict(zip(head, ends[-1]))
    assert last["loss_cr"] == "0.05" and last["best validation R@100"] == "50.0" and last["peak memory, MiB"] == "1002"
    assert dict(zip(head, ends[0]))["loss_cr"] == "-"
    path = two[0] / "metrics.jsonl"
    path.write_text(path.read_text().replace("R@100", "result"))
    root = parsed(page_of(two[:1]))
    assert "validation result" in [one.text for one in root.all("figcaption")]
    assert dict(zip(*rows(root, "training")))["best validation result"] == "0.25"


def test_runs_without_curves_or_settings_say_so(run, two):
    bare = run("bare")
    root = parsed(page_of([*two, bare]))
    assert "bare has training curves: there is no metrics.jsonl" in root.text.replace("No run ", "")
    assert "bare: no config.yml in the folder" in root.text
    alone = parsed(page_of([bare]))
    assert "No run has training curves" in alone.text and not alone.all("figure")
    assert "No merged recall of bare: no predicate tree is known." in alone.text
    assert alone.all("title")[0].text == "Report of the run bare"


def test_damaged_lines_of_the_curves_are_counted(two):
    path = two[0] / "metrics.jsonl"
    whole = read_log(two[0])
    path.write_text(path.read_text() + '{"stage": 1, "stages": 1, "iter\n[]\n{"stage": 1}\n')
    log = read_log(two[0])
    assert (log.damaged, log.training) == (3, whole.training)
    assert "baseline: 3 of the lines of metrics.jsonl are damaged and left out." in parsed(page_of(two)).text
    path.write_text('{"stage": 1, "stages": 1, "iteration": 2, "loss": NaN, "lr": 0.1}\n')
    log = read_log(two[0])
    assert (log.damaged, dict(log.training)) == (0, {"lr": {1: [(2, 0.1)]}})


def test_logit_adjustment_is_a_curve_and_a_table(two):
    root = parsed(page_of(two))
    lines = rows(root, "tradeoff-predcls")[1:]
    assert [line[:2] for line in lines] == [["baseline", "-"], ["baseline", "0.5"], ["baseline", "1"], ["hml", "-"]]
    assert float(lines[1][2]) == pytest.approx(float(lines[0][2]) - 1, abs=0.11)
    (image,) = root.all("img")
    drawn = base64.b64decode(image.attributes["src"].partition(",")[2]).decode()
    for name in ("baseline, logit adjustment (numbers: tau)", "hml", "0.5"):
        assert f"<!-- {name} -->" in drawn
    assert "with a curve over tau" in image.attributes["alt"]


def evil_tree() -> PredicateTree:
    old = make_tree()
    names = {name: EVIL if name == "riding" else name for name in old.predicates}
    groups = tuple(tuple(names[name] for name in group) for group in old.groups)
    layers, counts = ({names[name]: n for name, n in numbers.items()} for numbers in (old.layers, old.counts))
    return PredicateTree(tuple(names.values()), groups, layers, counts, 2, "clustered")


def test_names_from_files_are_harmless(run):
    one = run("<img src=x onerror=alert(1)> &amp;", with_tree=True)
    evil_tree().save(one / "hml" / "tree.json")
    for path in one.rglob("metrics.json"):
        path.write_text(path.read_text().replace('"riding"', json.dumps(EVIL)))
    next(one.rglob("matches.npz")).unlink()
    add_settings(one, SOLVER={"TYPE": f"</style>{EVIL}"}, GLOVE_DIR='" onmouseover="alert(1)')
    add_curves(one, (20,), (EVIL, "</svg>" + EVIL))
    text = page_of([one])
    root = parsed(text)
    assert len(root.all("script")) == 1 and "alert" not in root.all("script")[0].text
    assert not [one for one in root.everything() for name in one.attributes if name.startswith("on")]
    assert all(EVIL in {line[0] for line in rows(root, name)} for name in ("predicates", "tree-groups"))
    assert ["SOLVER.TYPE", f"</style>{EVIL}"] in rows(root, "same-settings")
    assert EVIL in [one.text for one in root.all("figcaption")]
    assert one.name in [line[0] for line in rows(root, "runs")]


def test_a_page_of_27_runs_stays_usable(two):
    paths = many(two[1], 27)
    text = page_of(paths)
    root = parsed(text)
    assert len(text.encode()) < 5e6
    assert len(rows(root, "metrics")) == 28 and len(rows(root, "predicates")[0]) == 3 + 27 + 1
    assert rows(root, "predicates")[0][-1] == "range"
    assert "The charts show the first 8 of 27 runs" in root.text
    assert len([one for one in root.all("li") if one.all("svg")]) == 8
    assert len(rows(root, "training")) == 1 + 27 * 2
    assert "Not drawn: hml, hml-01, hml-02 and 24 more." in root.text


def test_two_vocabularies_and_two_tasks_get_tables_of_their_own(run, two):
    other = run("other", "sgdet")
    for path in other.rglob("metrics.json"):
        path.write_text(path.read_text().replace('"riding"', '"steering"'))
    root = parsed(page_of([*two, other]))
    assert len(rows(root, "predicates-1")[0]) == 6
    assert "steering" in [line[0] for line in rows(root, "predicates-2")]
    assert [one.text for one in root.all("h3")][:1] == ["PredCls"]  # SGDet has a single point
    assert rows(root, "metrics")[3][1] == "SGDet"


def test_the_command_writes_the_page(two, capsys, tmp_path):
    target = tmp_path / "deep" / "page.html"
    assert cli.main(["report", *map(str, two), "--html", str(target)]) == 0
    out = capsys.readouterr().out
    assert "mR@100" in out and f"wrote {target}" in out
    assert target.read_text("utf-8") == page_of(two)
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize("words, said", [
    (["merged", "RUN", "--html", "x.html"], "--html belongs to hml report RUN..., not to merged; leave it out"),
    (["RUN", "--html", "."], "--html is ., which is a folder; name a file, for instance report.html"),
    (["RUN", "nowhere", "--html", "x.html"], "nowhere does not exist"),
])  # fmt: skip
def test_mistakes_with_the_page_write_nothing(two, words, said, capsys, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert cli.main(["report", *(str(two[1]) if word == "RUN" else word for word in words)]) == 2
    assert said in capsys.readouterr().err and not list((tmp_path / "empty").iterdir())


def test_cells():
    columns = [Column("a"), Column("b", NUMBER), Column("c", SHARE, "x"), Column("d", SHARE, "x"), Column("e", CHANGE)]
    table = Table("t", "c", columns, [["n", 12345, 0.25, 0.5, -0.02], ["", 0.00012345, None, float("nan"), 0.00001]])
    assert [[cell.text for cell in row] for row in table.cells] == [
        ["n", "12,345", "25.0", "50.0", "-2.0"], ["-", "0.0001234", "-", "-", "0.0"]]  # fmt: skip
    assert [cell.bar for cell in table.cells[0]] == [None, None, 50, 100, None]


def test_charts_hold_what_they_draw():
    assert ticks(0, 280, 5) == [0, 100, 200, 300] and ticks(0, 0.87, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 0, 5)[-1] >= 1 and ticks(-0.3, 0.1, 4)[0] <= -0.3
    for values in ([0.0, 0.0], [3e-9, 5e-9], [1e7, 2e7], [-5.0, 5.0]):
        drawn = parsed(Chart("c", "t", [Line("l", 0, [[(1, values[0]), (9, values[1])]])]).svg()).all("path")[-1]
        places = [tuple(map(float, place.split())) for place in drawn.attributes["d"].removeprefix("M").split("L")]
        assert all(0 <= x <= 420 and 0 <= y <= 230 for x, y in places)


def test_long_curves_are_thinned_by_means():
    points = [(float(x), float(x % 2)) for x in range(10_000)]
    thin = thinned(points)
    assert MOST_POINTS / 2 < len(thin) <= MOST_POINTS and all(0.4 < y < 0.6 for _, y in thin)
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]
