"""The pictures: written whole, the same bytes for the same results, every method named, curves of every tau."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.report.sweep_figure import draw_sweep
from maskrcnn_benchmark_hml.report.tradeoff_figure import NAMED, STYLES, Curve, Mark, draw_tradeoff

BASE = Mark("baseline", "baseline", (0.55, 0.54), (0.10, 0.11))
CURVE = Curve("logit adjustment", (0.0, 0.5, 1.0), (BASE, *(Mark("", "control", (x, x), (y, y)) for x, y in
                                                           ((0.50, 0.15), (0.42, 0.19)))))


def marks(count: int) -> list[Mark]:
    families = list(STYLES)
    return [BASE, *(Mark(f"method <{i}>", families[i % 4], (0.3 + i / 100, 0.31 + i / 100), (0.2, 0.21))
                    for i in range(count - 1))]


@pytest.mark.parametrize("count", [3, NAMED + 5])
def test_tradeoff_names_every_mark_and_tau(tmp_path, count):
    png, svg = draw_tradeoff(marks(count), [CURVE], tmp_path / "deep" / "tradeoff", title="T")
    assert png.read_bytes()[:4] == b"\x89PNG" and png.stat().st_size > 10_000
    text = svg.read_text()
    # matplotlib keeps each text as a comment beside its outlines
    for name in ["baseline", *(f"method &lt;{i}&gt;" for i in range(count - 1)), "0.5", "R@50 (percent)", "control"]:
        assert f"<!-- {name}" in text or f"{name}  (" in text, name
    assert "mean and range of 2 seeds" in text
    assert sorted(p.name for p in png.parent.iterdir()) == ["tradeoff.png", "tradeoff.svg"]


def test_the_same_results_give_the_same_files(tmp_path):
    first = draw_tradeoff(marks(4), [CURVE], tmp_path / "one", title="T")
    again = draw_tradeoff(marks(4), [CURVE], tmp_path / "two", title="T")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_one_seed_has_no_spread_and_nothing_is_no_picture(tmp_path):
    (_, svg) = draw_tradeoff([Mark("a", "HML", (0.3,), (0.2,))], [], tmp_path / "a", title="T")
    assert "one seed" in svg.read_text() and "baseline" not in svg.read_text()
    with pytest.raises(HMLError, match="no result to draw"):
        draw_tradeoff([], [], tmp_path / "none", title="T")


@pytest.mark.parametrize("log", [False, True])
def test_sweep(tmp_path, log):
    series = {"R@50": {0.0: [0.4, 0.41], 0.5: [0.4], 1000.0: [0.3]}, "mR@50": {0.0: [0.1], 0.5: [0.2], 1000.0: [0.15]}}
    png, svg = draw_sweep(series, tmp_path / "sweep", title="T", axis="lambda", log=log)
    assert png.stat().st_size > 5_000 and "<!-- lambda -->" in svg.read_text() and "<!-- mR@50 -->" in svg.read_text()
    with pytest.raises(HMLError, match="no cell of the sweep"):
        draw_sweep({"R@50": {}}, tmp_path / "none", title="T", axis="x")
