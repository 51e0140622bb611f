"""Grids: the shipped ones read, budgets are equal, runs are shared, and what is wrong in a file is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments import grid_runs
from maskrcnn_benchmark_hml.experiments.grid import Variant, override_text
from maskrcnn_benchmark_hml.experiments.grid_file import grid_names, load_grid
from maskrcnn_benchmark_hml.experiments.grid_runs import GridRun, Options, training_runs
from maskrcnn_benchmark_hml.experiments.tree_choice import DataTrees, TreeChoice
from maskrcnn_benchmark_hml.method.tree import PredicateTree

from .conftest import make_data

NAMES = ["controls", "merged", "mr_scale", "policies", "table1", "table2", "table3a", "table3b", "tradeoff", "tuned"]


def write(folder: Path, **content) -> str:
    path = folder / "own.yaml"
    own = {"title": "own", "iterations": 30, "seeds": 2, "variants": [{"name": "a"}]}
    path.write_text(yaml.safe_dump({**own, **content}))
    return str(path)


@pytest.fixture
def options(tmp_path, monkeypatch) -> Options:
    """Three predicates; the shipped trees have others, so trees are the small one of the stand-in."""
    monkeypatch.setattr(DataTrees, "shipped", PredicateTree(**_tree()))
    return Options(make_data(tmp_path / "data"), tmp_path / "out", "paper", "test", 30, (0, 1))


def _tree() -> dict:
    from maskrcnn_benchmark_hml.method.tree_builders import build_frequency_tree

    counts = {f"p{i}": 50 - i for i in range(40)}
    return vars(build_frequency_tree(list(counts), counts))


def runs(name: str, options: Options) -> dict[str, GridRun]:
    return {run.variant.name: run for run in training_runs(load_grid(name), options, None) if run.seed == 0}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_shipped_grids_read(name, quick):
    grid = load_grid(name, quick=quick)
    assert grid.title and grid.runs() >= 3 and (grid.seeds == 1 or not quick)
    assert all(variant.predictors and variant.tasks for variant in grid.variants)
    whole = load_grid(name)
    assert grid.runs() <= whole.runs() and grid.iterations <= whole.iterations


def test_all_shipped_grids_are_known_here():
    assert grid_names() == NAMES


def test_what_the_issue_asks_for_is_in_the_grids():
    def variants(name):
        return {variant.name: variant for variant in load_grid(name).variants}

    table1 = load_grid("table1")
    assert table1.runs() == 3 * 3 * 3 * 3 and len(table1.variants) == 3
    assert {c.set.get("HML.MR.WEIGHT") for c in variants("table3b").values()} >= {0.0, 0.25, 0.5, 0.75, 1.0, 1e3, 1e5}
    assert [c.layers for c in variants("table3a").values()] == [1, 2, 3, 4]
    controls = variants("controls")
    assert {c.set.get("HML.CONTROL") for c in controls.values()} >= {"class_balanced", "oversampled", "last_stage"}
    assert controls["logit adjustment"].after == "baseline" and len(controls["logit adjustment"].taus) >= 8
    assert {"HML.MR.MODE", "HML.STAGES.INIT"} <= {key for c in controls.values() for key in c.set}
    assert len(load_grid("policies").variants) == 3 * 4 * 3 + 3 and load_grid("merged").merged
    tradeoff = variants("tradeoff")
    assert {name: tradeoff[name] for name in controls} == controls and set(variants("policies")) <= set(tradeoff)


def test_a_grid_is_narrowed_to_some_predictors_and_tasks():
    table1 = load_grid("table1")
    assert table1.narrowed((), ()).runs() == table1.runs() == 81
    part = table1.narrowed(("vctree",), ("predcls", "sgdet"))
    assert part.runs() == 18 and {c.predictors for c in part.variants} == {("vctree",)}
    assert {c.tasks for c in part.variants} == {("predcls", "sgdet")}


def test_every_run_has_the_same_budget(options, tmp_path):
    variants = [{"name": "baseline", "set": {"HML.ENABLED": False, "HML.CR.WEIGHT": 2}}, {"name": "HML"},
             {"name": "uneven", "shares": [1, 4]}, {"name": "three", "layers": 3, "tree": "frequency"},
             {"name": "control", "set": {"HML.CONTROL": "plain"}},
             {"name": "another profile's", "set": {"HML.PROFILE": "tuned"}}]
    found = runs(write(tmp_path, variants=variants), options)
    lengths = {name: run.run.settings().get("HML.STAGES.ITERATIONS") for name, run in found.items()}
    assert lengths == {"baseline": None, "HML": "(10,20,)", "uneven": "(6,24,)", "three": "(7,7,16,)",
                       "control": "(10,20,)", "another profile's": "(21,9,)"}
    assert {run.run.settings()["SOLVER.MAX_ITER"] for run in found.values()} == {"30"}
    # HML's settings have no effect on the plain benchmark: without them its runs are shared between profiles
    assert found["baseline"].variant.set == {"HML.ENABLED": False}
    assert "HML.PROFILE" not in found["baseline"].run.settings()
    assert found["three"].run.settings()["HML.TREE.BOUNDARIES"] == "(10,35,)"


BUDGET_VARIANTS = [
    {"name": "baseline", "set": {"HML.ENABLED": False}}, {"name": "HML"}, {"name": "uneven", "shares": [1, 4]},
    {"name": "control", "set": {"HML.CONTROL": "plain"}}, {"name": "tuned", "set": {"HML.PROFILE": "tuned"}},
]


def test_the_papers_budget_is_another_run_only_where_it_is_another_length(options, tmp_path):
    paper = replace(options, budget="paper")
    both = [runs(write(tmp_path, variants=BUDGET_VARIANTS), one) for one in (options, paper)]
    lengths = {name: run.run.settings().get("HML.STAGES.ITERATIONS") for name, run in both[1].items()}
    assert lengths == {"baseline": None, "HML": "(15,30,)", "uneven": "(8,30,)", "control": "(10,20,)",
                       "tuned": "(70,30,)"}
    assert {name: run.run.iterations for name, run in both[1].items()} == {
        "baseline": 30, "HML": 45, "uneven": 38, "control": 30, "tuned": 100}
    for name, steps in (("HML", "(31,40,)"), ("baseline", "(21,27,)")):
        assert both[1][name].run.settings()["SOLVER.STEPS"] == steps
    same = {name for name in lengths if both[0][name].output == both[1][name].output}
    assert same == {"baseline", "control"}


def test_a_vocabulary_without_a_shipped_tree(tmp_path):
    options = Options(make_data(tmp_path / "data"), tmp_path / "out", "paper", "test", 30, (0,))
    variants = [*BUDGET_VARIANTS, {"name": "three", "layers": 3}, {"name": "by frequency", "tree": "frequency"},
             {"name": "last", "set": {"HML.CONTROL": "last_stage"}}]
    found = {name: run.run.settings() for name, run in runs(write(tmp_path, variants=variants), options).items()}
    trees = {name: chosen.get("HML.TREE.FILE") for name, chosen in found.items()}
    assert trees["HML"] == trees["uneven"] == trees["tuned"] == trees["last"] is not None  # tuned's 15 are too many
    assert trees["baseline"] is trees["control"] is None and trees["three"] not in (None, trees["HML"])
    assert found["by frequency"]["HML.TREE.BOUNDARIES"] == "(1,)"


def test_a_tree_that_the_user_chose(options, tmp_path):
    PredicateTree.load(options.trees.saved(options.trees.frequency_tree(2))).save(tmp_path / "mine.json")
    chosen = replace(options, tree=TreeChoice(str(tmp_path / "mine.json")))
    found = {name: run.run.overrides for name, run in runs(write(tmp_path, variants=BUDGET_VARIANTS), chosen).items()}
    assert {name for name, words in found.items() if "HML.TREE.FILE" in words} == {"HML", "uneven", "tuned"}


def test_layers_cut_the_shipped_tree(options, tmp_path):
    variants = [{"name": "HML"}, {"name": "one", "layers": 1}, {"name": "3", "layers": 3}]
    found = runs(write(tmp_path, variants=variants), options)
    assert "HML.TREE.FILE" not in found["HML"].run.overrides
    for name, layers in (("one", 1), ("3", 3)):
        words = found[name].run.overrides
        path = words[words.index("HML.TREE.FILE") + 1]
        assert PredicateTree.load(path).num_layers == layers
    assert len({run.output for run in found.values()}) == 3


def test_named_trees_are_found_by_vocabulary():
    variant = Variant("x", tree="clustered_low")
    for stem, name in (("vg150", "vg150_clustered"), ("vrd", "vrd")):
        shipped = PredicateTree.load(Path(grid_runs.grid_folder()).parent / "trees" / f"{name}.json")
        low, high = (grid_runs._named_tree(Variant("x", tree=f"clustered_{t}"), shipped.predicates)
                     for t in ("low", "high"))
        assert low.threshold < shipped.threshold < high.threshold and len(low.groups) <= len(high.groups), stem
        assert low.vectors_digest == shipped.vectors_digest
    with pytest.raises(HMLError, match="no tree 'clustered_low' with this dataset's 2 predicates"):
        grid_runs._named_tree(variant, ["a", "b"])


def test_equal_runs_share_a_folder_whatever_their_name(options, tmp_path):
    first = runs(write(tmp_path, variants=[{"name": "HML"}, {"name": "other", "set": {"HML.CR.WEIGHT": 2}}]), options)
    first["HML"].output.mkdir(parents=True)
    again = runs(write(tmp_path, variants=[{"name": "the same"}]), options)
    assert again["the same"].output == first["HML"].output != first["other"].output
    val = Options(options.data, options.out, "paper", "val", 30, (0,))
    moved = runs(write(tmp_path), val)["a"].run
    assert moved.split == "val" and moved.output != first["HML"].output
    assert moved.settings()["DATASETS.TEST"] == "('VG_stanford_filtered_with_attribute_val',)"


def test_seeds_differ_in_the_folder_only_by_the_seed(options, tmp_path):
    zero, one = training_runs(load_grid(write(tmp_path)), options, None)
    assert zero.output.name[:-1] == one.output.name[:-1] and (zero.seed, one.seed) == (0, 1)


AXES = [{"x": {"set": {"HML.CR.WEIGHT": 1}}, "y": {"tree": "frequency"}}, {"": {}, "z": {"set": {"HML.MR.WEIGHT": 0}}}]


def test_axes_are_multiplied(tmp_path):
    variants = load_grid(write(tmp_path, axes=AXES, variants=[])).variants
    assert [c.name for c in variants] == ["x", "x, z", "y", "y, z"]
    assert variants[1].set == {"HML.CR.WEIGHT": 1, "HML.MR.WEIGHT": 0}
    assert variants[3].tree == "frequency"


WRONG = {
    "unknown key": ({"variant": []}, "the file has 'variant'; did you mean 'variants'"),
    "unknown key of a variant": ({"variants": [{"name": "a", "sets": {}}]}, "a variant has 'sets'; did you mean 'set'"),
    "unknown HML key": ({"set": {"HML.CR.WIEGHT": 1}}, "no setting HML.CR.WIEGHT; did you mean HML.CR.WEIGHT"),
    "unknown host key": ({"set": {"SOLVER.BASE_RL": 1}}, "set has 'SOLVER.BASE_RL'; did you mean 'SOLVER.BASE_LR'"),
    "value out of range": ({"set": {"HML.CR.WEIGHT": -1}}, "HML.CR.WEIGHT is .*; give a number >= 0"),
    "reserved": ({"set": {"SOLVER.MAX_ITER": 9}}, "sets SOLVER.MAX_ITER, which the experiment itself decides"),
    "no title": ({"title": ""}, "title is ''; give a text"),
    "no variants": ({"variants": []}, "it has no variants"),
    "variants no list": ({"variants": {"a": 1}}, "variants is .*; give a list"),
    "iterations": ({"iterations": 0}, "iterations is 0; give a whole number"),
    "seeds": ({"seeds": "three"}, "seeds is 'three'; give a whole number"),
    "predictor": ({"predictors": ["motif"]}, "predictors has 'motif'; did you mean 'motifs'"),
    "task": ({"variants": [{"name": "a", "task": "predcl"}]}, "tasks has 'predcl'; did you mean 'predcls'"),
    "family": ({"variants": [{"name": "a", "family": "best"}]}, "family has 'best'"),
    "same name": ({"variants": [{"name": "a"}, {"name": "a", "layers": 3}]}, "two different variants are called 'a'"),
    "shares": ({"variants": [{"name": "a", "shares": [1, 2, 3]}]}, "3 shares for 2 layers"),
    "after nothing": ({"variants": [{"name": "a", "after": "b", "taus": [1]}]}, "after of 'a' has 'b'"),
    "after without taus": ({"variants": [{"name": "a"}, {"name": "b", "after": "a"}]}, "after and taus go together"),
    "taus without after": ({"variants": [{"name": "a", "taus": [1]}]}, "has taus alone"),
    "tau": ({"variants": [{"name": "a"}, {"name": "b", "after": "a", "taus": [-1]}]}, "taus has -1"),
    "set after": ({"variants": [{"name": "a"}, {"name": "b", "after": "a", "taus": [1], "set": {"DTYPE": "float16"}}]},
                  "only tests it; leave out set"),
    "after another task": ({"variants": [{"name": "a"}, {"name": "b", "after": "a", "taus": [1], "task": "sgcls"}]},
                           "has a predictor or task that 'a' lacks"),
    "both names of one key": ({"cells": [{"name": "b"}]}, "it has both variants and cells"),
    "left out": ({"quick": {"leave_out": ["b"]}}, "leave_out has 'b'"),
    "quick": ({"quick": {"epochs": 1}}, "quick has 'epochs'"),
    "include": ({"include": ["tabel2"]}, "no experiment 'tabel2'; did you mean table2"),
    "sweep": ({"sweep": {"axes": "x"}}, "sweep has 'axes'; did you mean 'axis'"),
}


def test_a_file_with_the_older_key_cells_reads_as_before(tmp_path):
    path = Path(write(tmp_path, variants=[{"name": "a", "x": 1}, {"name": "b"}]))
    grid = load_grid(str(path))
    path.write_text(path.read_text().replace("variants:", "cells:"))
    assert "cells:" in path.read_text() and load_grid(str(path)) == grid


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_file_is_named(case, tmp_path):
    content, sentence = WRONG[case]
    with pytest.raises(HMLError, match=sentence) as caught:
        load_grid(write(tmp_path, **content))
    assert "own.yaml" in str(caught.value) or case == "include"


def test_unreadable_and_missing_files(tmp_path):
    (tmp_path / "torn.yaml").write_text("title: [a\ncells: {")
    with pytest.raises(HMLError, match="torn.yaml is not valid YAML at line"):
        load_grid(str(tmp_path / "torn.yaml"))
    with pytest.raises(HMLError, match="no experiment 'tabel2'; did you mean table2"):
        load_grid("tabel2")
    with pytest.raises(HMLError, match="no experiment 'qqq'; hml experiment list"):
        load_grid("qqq")


def test_the_example_of_the_docs_reads(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    (tmp_path / "example.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    grid = load_grid(str(tmp_path / "example.yaml"))
    assert grid.runs() == 9 and grid.sweep.axis == "weight of CR"
    assert [c.name for c in load_grid(str(tmp_path / "example.yaml"), quick=True).variants][-1] == "CR 1"


def test_only_tasks_that_detect_get_the_detector(options, tmp_path):
    weights = tmp_path / "model_final.pth"
    weights.write_bytes(b"weights")
    grid = load_grid(write(tmp_path, tasks=["predcls", "sgcls"]))
    by_task = {run.task: run.run for run in training_runs(grid, options, weights) if run.seed == 0}
    assert str(weights) in by_task["sgcls"].overrides and str(weights) not in by_task["predcls"].overrides
    assert by_task["sgcls"].name == "a, motifs sgcls, seed 0" and by_task["predcls"].name == "a, seed 0"


def test_values_as_a_command_line_has_them():
    assert override_text([1, 5, 20]) == "(1,5,20,)" and override_text(["only"]) == "('only',)"
    assert override_text(True) == "True" and override_text(0.5) == "0.5" and override_text("l2") == "l2"
