"""Names in scripts that the usual font lacks: drawn with an installed font that has them, or said; MPLBACKEND."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.report import fonts
from maskrcnn_benchmark_hml.report.drawing import font_manager, rcParams
from maskrcnn_benchmark_hml.report.scene import draw_scene, text
from maskrcnn_benchmark_hml.report.sweep_figure import draw_sweep
from maskrcnn_benchmark_hml.report.tradeoff_figure import Mark, draw_tradeoff
from maskrcnn_benchmark_hml.report.tree_figure import draw_tree
from maskrcnn_benchmark_hml.scene_graph import SceneGraph, SceneObject

HAN = "骑在上"
FAMILY = "Three Signs"


def make_font(path: Path, characters: str) -> Path:
    """A font whose glyphs are squares as wide as three letters, for these characters alone."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 700)), pen.lineTo((3000, 700)), pen.lineTo((3000, 0)), pen.closePath()
    square, names = pen.glyph(), [f"u{ord(c):X}" for c in characters]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap({ord(c): name for c, name in zip(characters, names)})
    builder.setupGlyf({name: square for name in [".notdef", *names]})
    builder.setupHorizontalMetrics({name: (3200, 0) for name in [".notdef", *names]})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": FAMILY, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def no_other_fonts(monkeypatch):
    """matplotlib's own fonts alone, whatever this machine has."""
    manager, own = font_manager.fontManager, str(Path(font_manager.__file__).parent)
    monkeypatch.setattr(manager, "ttflist", [entry for entry in manager.ttflist if entry.fname.startswith(own)])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    for cached in (fonts._glyphs, fonts._say_missing, text._family, manager._findfont_cached):
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    yield manager
    fonts._glyphs.cache_clear(), text._family.cache_clear()


def named(predicate: str) -> PredicateTree:
    return PredicateTree(("on", predicate), (("on", predicate),), {"on": 1, predicate: 2}, {"on": 3, predicate: 1}, 2,
                         "frequency")  # fmt: skip


def scene_of(name: str) -> SceneGraph:
    return SceneGraph("", 90, 90, "predcls", (SceneObject(name, (9.0, 9.0, 80.0, 80.0)),))


FIGURES = {
    "tree": lambda name, path: draw_tree(named(name), path.with_suffix(".png")),
    "sweep": lambda name, path: draw_sweep({name: {0.0: [0.4], 1.0: [0.5]}}, path, title="T", axis="x"),
    "sweep axis": lambda name, path: draw_sweep({"a": {0.0: [0.4]}}, path, title="T", axis=name),
    "trade-off": lambda name, path: draw_tradeoff([Mark(name, "HML", (0.3,), (0.2,))], [], path, title="T"),
    "trade-off title": lambda name, path: draw_tradeoff([Mark("a", "HML", (0.3,), (0.2,))], [], path, title=name),
    "scene": lambda name, path: draw_scene([scene_of(name)], [""]).png(path.with_suffix(".png")),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_an_installed_font_draws_them(figure, no_other_fonts, tmp_path, capsys, recwarn):
    FIGURES[figure](HAN, tmp_path / "boxes")
    assert "no installed font has 3 characters" in capsys.readouterr().err
    no_other_fonts.addfont(make_font(tmp_path / "signs.ttf", HAN))
    fonts._glyphs.cache_clear(), text._family.cache_clear()
    FIGURES[figure](HAN, tmp_path / "signs")
    assert capsys.readouterr().err == "" and not recwarn.list
    assert (tmp_path / "boxes.png").read_bytes() != (tmp_path / "signs.png").read_bytes()
    assert (tmp_path / "signs.png").stat().st_size > 1000 and rcParams["font.family"] == ["sans-serif"]


def test_families_are_chosen_by_their_glyphs(no_other_fonts, tmp_path):
    # DejaVu Sans has Greek and Cyrillic; of the fonts beside it STIX has this sign of chemistry.
    assert fonts.families_for(frozenset("on αЖ\n")) == (("sans-serif",), "")
    families, missing = fonts.families_for(frozenset("on \u20e4"))
    assert families[0] == "sans-serif" and families[1].startswith("STIX") and missing == ""
    no_other_fonts.addfont(make_font(tmp_path / "signs.ttf", HAN[:2]))
    fonts._glyphs.cache_clear()
    assert fonts.families_for(frozenset(HAN)) == (("sans-serif", FAMILY), HAN[2])


def test_a_font_installed_since_matplotlib_listed_them(no_other_fonts, tmp_path, monkeypatch):
    path = make_font(tmp_path / "signs.ttf", HAN)
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "damaged.ttf"), str(path)])
    assert fonts.families_for(frozenset(HAN)) == (("sans-serif", FAMILY), "")


@pytest.mark.parametrize(
    ("name", "package"), [(HAN, "fonts-noto-cjk"), ("한글", "fonts-noto-cjk"), ("\u1780", "fonts-noto-core")]
)
def test_without_one_it_is_said_once(no_other_fonts, tmp_path, capsys, name, package):
    named(name).save(tmp_path / "tree.json")
    for _ in range(2):
        assert cli.main(["tree", "--show", str(tmp_path / "tree.json"), "--png", str(tmp_path / "tree.png")]) == 0
    said = capsys.readouterr().err
    assert said.count("no installed font has") == 1 and package in said and name[0] in said
    assert (tmp_path / "tree.png").is_file()


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline_absent", "agg"])
def test_figures_do_not_depend_on_mplbackend(tmp_path, backend):
    named("under").save(tmp_path / "tree.json")
    code = (
        "import os, sys; from maskrcnn_benchmark_hml.cli import main\n"
        "before = os.environ.get('MPLBACKEND')\n"
        "from maskrcnn_benchmark_hml.report import tree_figure, sweep_figure, tradeoff_figure\n"
        "code = main(['tree', '--show', 'tree.json', '--png', 'tree.png'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules and os.environ.get('MPLBACKEND') == before\n"
        "import matplotlib; print(dict.get(matplotlib.rcParams, 'backend'))\n"
        "sys.exit(code)"
    )
    environ = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tree.png").stat().st_size > 1000
    assert (done.stdout.splitlines()[-1] == "agg") == (backend == "agg")  # a valid one stays in force
