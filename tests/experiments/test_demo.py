"""hml demo: its runs are comparable, its summary is complete, its end tells what was measured and at what price."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.commands import demo as demo_command
from maskrcnn_benchmark_hml.datasets import check
from maskrcnn_benchmark_hml.datasets.mini_vg import vg150_vocabulary
from maskrcnn_benchmark_hml.experiments import demo
from maskrcnn_benchmark_hml.experiments.run import Run
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.resources import config_file

KEYS = ["R@20", "R@50", "R@100", "mR@20", "mR@50", "mR@100"]


@pytest.fixture
def stubbed(make_run, monkeypatch, tmp_path):
    """Replace the demo's processes by the stand-in; returns (arguments, modes by run, to be edited by the test)."""
    stub = make_run()
    modes = dict.fromkeys(demo.RUNS, "fine")

    def command(run: Run) -> list[str]:
        words = ("MODE", modes[run.output.name.split("-")[0]])
        return type(stub)(run.name, stub.config_file, words, run.seed, run.data, run.output).command()

    monkeypatch.setattr(Run, "command", command)
    monkeypatch.setattr(check, "check_vg", lambda folder: SimpleNamespace(warnings=[]))
    words = ["demo", "--data", str(stub.data), "--out", str(tmp_path / "demo"), "--config", str(stub.config_file)]
    return words, modes, tmp_path / "demo"


def test_summary_and_table(stubbed, capsys):
    words, _, out = stubbed
    assert cli.main([*words, "--seeds", "2"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["runs"]) == {"baseline", "class_balanced", "hml"}
    assert all(list(run) == KEYS for run in summary["runs"].values())
    assert summary["runs"]["hml"]["mR@50"] == pytest.approx(0.15)
    assert summary["seeds"] == [0, 1] and summary["profile"] == "paper" and summary["seconds"] > 0
    assert summary["data"].endswith("data") and summary["budget"] == "paper"
    assert summary["iterations"] == {"baseline": 280, "class_balanced": 280, "hml": 420}
    printed = capsys.readouterr().out
    budget = "Iterations of baseline, class-balanced: 280; HML: 140 + 280 = 420."
    tree = ("Predicate tree: no shipped tree has these predicates: layered by frequency alone; "
            "layer 1: 1 predicates (on); layer 2: 2 predicates (of, parked on).")
    for text in (budget, tree, "R@20", "mR@100", "15.0 +-7.1", "layer 2 @50", "parked on", "7 test images",
                 "the cost in R@50"):
        assert text in printed
    page = out / "report.html"
    assert printed.splitlines()[-1].startswith(f"Open in a browser: {page} ")
    assert all(f">{run.name}</th>" in page.read_text() for run in out.glob("*-seed[01]"))


def test_a_second_call_runs_nothing_again(stubbed, capsys):
    words, _, out = stubbed
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    assert {p.read_text() for p in out.glob("*/starts")} == {"1"}
    assert capsys.readouterr().err.count("finished before, kept") == 3
    assert cli.main([*words, "--profile", "released"]) == 0
    assert len(list(out.glob("*/starts"))) == 5


def test_one_failed_run_is_exit_code_1_and_no_summary(stubbed, capsys):
    words, modes, out = stubbed
    modes["class_balanced"] = "crash"
    assert cli.main([*words, "--jobs", "1"]) == 1
    error = capsys.readouterr().err
    assert "the run 'class-balanced' failed: RuntimeError: loss is not finite" in error and "console.log" in error
    assert not (out / "summary.json").exists()
    modes["class_balanced"] = "fine"
    assert cli.main(words) == 0
    assert (out / "hml-paper-seed0" / "starts").read_text() == "1"


def test_other_settings_in_the_same_folder_are_refused_before_any_run(stubbed, capsys):
    words, _, out = stubbed
    assert cli.main(words) == 0
    assert cli.main([*words, "--iterations", "12"]) == 2
    error = capsys.readouterr().err
    assert "holds a run with other settings (HML.STAGES.ITERATIONS: (140,280,) there, (6,12,) asked for)" in error
    assert {path.read_text() for path in out.glob("*/starts")} == {"1"}


@pytest.mark.parametrize(
    "extra, sentence",
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--iterations", "1"], "--iterations is 1"),
        (["--config", "missing.yaml"], "there is no config file missing.yaml"),
        (["--task", "sgdet"], "--config says all about the model; leave out --task or --config"),
        (["--layers", "5"], "--layers is 5; give a whole number from 1 to 4"),
        (["--layers", "4", "--iterations", "3"], "--iterations is 3; give at least 4"),
        (["--data", "missing"], "there is no dataset folder missing"),
        (["--tree", "clustered"], "--tree clustered needs word vectors; add --vectors FILE"),
        (["--tree", "freqency"], "--tree is 'freqency'; give an existing tree file, clustered or frequency"),
        (["--vectors", "v.txt"], "the word vectors v.txt do not exist"),
        (["--tree", "frequency", "--vectors", "v.txt"], "--vectors has no effect with --tree frequency"),
    ],
)
def test_bad_input(stubbed, capsys, extra, sentence):
    words, _, out = stubbed
    assert cli.main([*words, *extra]) == 2
    assert capsys.readouterr().err.startswith(f"hml: error: {sentence}")
    assert not out.exists()


def settings(runs: list[Run]) -> list[dict]:
    return [run.settings() for run in runs]


def test_both_budgets(make_run, tmp_path):
    stub = make_run()
    common = {"seeds": (0, 1), "profile": "released", "iterations": 100}
    paper = demo.Demo(stub.config_file, ("SOLVER.BASE_LR", "1"), stub.data, tmp_path, **common).runs()
    equal = demo.Demo(stub.config_file, ("SOLVER.BASE_LR", "1"), stub.data, tmp_path, budget="equal", **common).runs()
    folders = ["baseline-seed0", "class_balanced-released-seed0", "hml-released-seed0"]
    assert [c.output.name for c in paper[:3]] == folders
    assert [c.seed for c in paper] == [0, 0, 0, 1, 1, 1]
    assert [s["SOLVER.MAX_ITER"] for s in settings(paper[:3])] == ["100", "100", "150"] == [
        str(c.iterations) for c in paper[:3]]
    assert {s["SOLVER.MAX_ITER"] for s in settings(equal)} == {"100"}
    assert [s.get("HML.STAGES.ITERATIONS") for s in settings(paper[:3])] == [None, "(33,67,)", "(50,100,)"]
    assert [s.get("HML.STAGES.ITERATIONS") for s in settings(equal[:3])] == [None, "(33,67,)", "(33,67,)"]
    assert all(s["SOLVER.BASE_LR"] == "1" for s in settings(paper))
    # One stage has the same length under both: those runs are shared, and HML's never meet.
    assert paper[:2] == equal[:2] and paper[2].output != equal[2].output


def test_the_longest_run_starts_first(stubbed, monkeypatch):
    words, _, _ = stubbed
    order = []
    run_all = demo_command.run_all
    monkeypatch.setattr(demo_command, "run_all", lambda runs, *rest: order.extend(runs) or run_all(runs, *rest))
    assert cli.main(words) == 0
    assert [run.name for run in order] == ["HML", "baseline", "class-balanced"]


def test_every_profile_is_offered(capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])
    assert "--profile {" + ",".join(p.stem for p in sorted(config_file("hml/paper.yaml").parent.iterdir())) in (
        capsys.readouterr().out)


@pytest.fixture
def vg_words(tmp_path):
    """A dataset folder's annotations with VG150's predicates."""
    folder = tmp_path / "vg"
    folder.mkdir()
    (folder / "VG-SGG-with-attri.h5").write_bytes(b"boxes")
    predicates = {name: i for i, name in enumerate(vg150_vocabulary().predicates, 1)}
    (folder / "VG-SGG-dicts-with-attri.json").write_text(
        json.dumps({"label_to_idx": {"car": 1}, "predicate_to_idx": predicates})
    )
    return folder


@pytest.mark.parametrize("layers, split", [(1, "(90,)"), (3, "(45,45,90,)"), (4, "(45,45,45,90,)")])
def test_layers_change_the_hml_run_alone(make_run, vg_words, tmp_path, layers, split):
    def runs(number):
        return demo.Demo(config, (), vg_words, tmp_path / "out", iterations=90, layers=number).runs()

    config = make_run().config_file
    two, other = runs(2), runs(layers)
    assert two[:2] == other[:2] and two[2].output != other[2].output
    given = dict(zip(other[2].overrides[::2], other[2].overrides[1::2]))
    assert given["HML.STAGES.ITERATIONS"] == split and "HML.TREE.FILE" not in two[2].overrides
    tree = PredicateTree.load(given["HML.TREE.FILE"])
    assert tree.num_layers == layers and set(tree.predicates) == set(vg150_vocabulary().predicates)
    assert tree.groups == PredicateTree.load(config_file("trees/vg150_clustered.json")).groups


def test_another_predictor_and_task(stubbed, capsys, tmp_path):
    words, _, out = stubbed
    words = words[: words.index("--config")]
    detector = tmp_path / "detector.pth"
    torch.save({"model": {"w": torch.zeros(1)}}, detector)
    assert cli.main(words) == 0
    assert "MOTIFS, PredCls (boxes and object labels given)" in capsys.readouterr().out
    assert cli.main([*words, "--predictor", "vctree", "--task", "sgdet", "--detector", str(detector)]) == 0
    assert "VCTree, " in capsys.readouterr().out
    folder = out / "vctree-sgdet"
    assert json.loads((folder / "summary.json").read_text())["model"] == "VCTree"
    assert len(list(out.glob("*/starts"))) == len(list(folder.glob("*/starts"))) == 3
    settings = json.loads((folder / "baseline-seed0" / "cell.json").read_text())["settings"]
    assert settings["MODEL.ROI_RELATION_HEAD.PREDICTOR"] == "VCTreePredictor"
    assert settings["MODEL.ROI_RELATION_HEAD.USE_GT_BOX"] == "False" and not (out / "detector").exists()
    # Another detector is another run; the same one in another place is not.
    moved = tmp_path / "moved.pth"
    shutil.copy(detector, moved)
    assert cli.main([*words, "--predictor", "vctree", "--task", "sgdet", "--detector", str(moved)]) == 0
    assert {p.read_text() for p in folder.glob("*/starts")} == {"1"}
    torch.save({"model": {"w": torch.ones(1)}}, moved)
    assert cli.main([*words, "--predictor", "vctree", "--task", "sgdet", "--detector", str(moved)]) == 2
    assert "PRETRAINED_DETECTOR_CKPT" in capsys.readouterr().err


def test_the_detector_is_trained_once_before_the_runs(stubbed, capsys):
    words, modes, out = stubbed
    words = [*words[: words.index("--config")], "--task", "sgcls"]
    modes["detector"] = "crash"
    assert cli.main(words) == 1
    assert "the run 'detector' failed" in capsys.readouterr().err and not (out / "motifs-sgcls").exists()
    modes["detector"] = "detector"
    assert cli.main(words) == 0
    assert "[1/1] detector: mAP@0.5 51.0 %" in capsys.readouterr().err
    assert cli.main([*words, "--predictor", "transformer"]) == 0
    assert (out / "detector" / "starts").read_text() == "2"  # once failed, once done
    runs = [*(out / "motifs-sgcls").glob("*/starts"), *(out / "transformer-sgcls").glob("*/starts")]
    assert len(runs) == 6 and {path.read_text() for path in runs} == {"1"}
    log = (out / "detector" / "console.log").read_text()
    assert "a line of the log" in log
    settings = json.loads((out / "detector" / "cell.json").read_text())["settings"]
    assert settings["script"] == "tools/detector_pretrain_net.py"


def test_mini_vg_is_made_once_and_passes_the_check(tmp_path):
    folder = demo.prepare_data(tmp_path)
    made = (folder / "image_data.json").stat().st_mtime_ns
    assert demo.prepare_data(tmp_path) == folder == tmp_path / "data"
    assert (folder / "image_data.json").stat().st_mtime_ns == made
    check.check_vg(folder)


def test_wrong_data_is_refused_before_any_run(make_run, tmp_path, capsys):
    stub = make_run()
    (stub.data / "VG-SGG-with-attri.h5").write_bytes(b"boxes")
    words = ["demo", "--data", str(stub.data), "--out", str(tmp_path / "demo")]
    assert cli.main(words) == 2
    assert "VG-SGG-with-attri.h5" in capsys.readouterr().err and not (tmp_path / "demo").exists()
