"""``hml report``: what it prints and writes, and what it says about bad input."""

from __future__ import annotations

import csv
import json
import pickle
import subprocess
import sys

import pytest
import torch

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.report.overview import mean_at_k
from maskrcnn_benchmark_hml.report.runs import load_runs, short_names
from maskrcnn_benchmark_hml.report.stored import load_stored

from .conftest import NAMES, make_tree


def report(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(["report", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def row(text: str, label: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(label + "  "))
    return line[len(label) :].split()


def test_runs_side_by_side(run, capsys):
    one, two = run("baseline", shift=0.125), run("hml", with_tree=True)
    code, out, _ = report(capsys, one, two, "--per-predicate", "--k", "20")
    assert code == 0
    content = json.loads((two / "inference/some_test/metrics.json").read_text())
    for key in ("R@20", "mR@50", "ng-R@100", "ng-mR@20", "A@20"):
        assert row(out, key)[1] == f"{100 * content[key]:.1f}"
    assert float(row(out, "R@50")[0]) == pytest.approx(float(row(out, "R@50")[1]) + 12.5, abs=0.11)
    per = content["per_predicate"]["R@20"]
    fine = [per[p] for p, layer in make_tree().layers.items() if layer == 2 and per[p] is not None]
    # The baseline has no tree of its own and takes the other's.
    assert row(out, "layer 2 mR@20") == [f"{100 * sum(fine) / len(fine):.1f}"] * 2
    assert row(out, "sitting on") == ["2", *[f"{100 * per['sitting on']:.1f}"] * 2]
    listed = out[out.index("predicate ") :].splitlines()[2:]
    assert [line.split("  ")[0] for line in listed] == ["on", "of", "sitting on", "parked on", "riding", "part of"]


def facts(number: int, **changes) -> dict:
    omega = {"0.05": 0.0, "0.25": 0.125, "0.5": 0.1594, "0.75": 0.375, "0.95": 0.625}
    return {"stage": number, "steps": 40, "interval": 1, "effective": "parameter", "rising_steps": None,
            "mr_pull": None, "parameters": 3100000, "important": 3000000, "omega": omega, "omega_mean": 0.25,
            "largest_share": 0.0625, "largest_thousandth_share": 0.5, "hold_half": 2784, **changes}  # fmt: skip


def test_importance_of_each_stage(run, capsys, tmp_path):
    one, two = run("hml", with_tree=True), run("baseline")
    for number, changes in ((1, {}), (2, {"effective": "step", "rising_steps": 5, "mr_pull": 1.234e-9})):
        folder = one / "hml" / f"stage{number}"
        folder.mkdir()
        (folder / "importance.json").write_text(json.dumps(facts(number, **changes)))
    code, out, _ = report(capsys, one, two, "--json", tmp_path / "all.json")
    assert code == 0 and "Importance Omega and MR, by stage" in out
    assert row(out, "stage 1: Omega > 0, quantiles 5/25/50/75/95 %") == ["0/0.12/0.16/0.38/0.62", "-"]
    assert row(out, "stage 1: Omega_raw, half of the sum is in") == ["2,784", "of", "3,100,000", "-"]
    assert row(out, "stage 1: Omega_raw, share of the largest 0.1 %") == ["50", "%", "-"]
    assert row(out, "stage 2: steps dropped") == ["12.5", "%", "-"]
    assert row(out, "stage 2: MR's mean pull") == ["1.23e-09", "-"]
    assert "stage 1: MR" not in out and "stage 1: steps dropped" not in out
    entries = json.loads((tmp_path / "all.json").read_text())
    assert entries[0]["importance"][0] == facts(1) and "importance" not in entries[1]
    (one / "hml" / "stage1" / "importance.json").write_text('{"stage": 1}')
    code, out, err = report(capsys, one)
    assert code and not out and "importance.json lacks figures of a stage" in err
    assert "Importance" not in report(capsys, two)[1]


def test_results_of_sgb_itself(run, sgb_run, capsys):
    ours, sgb = run("ours", "sgcls"), sgb_run("sgb", "sgcls")
    one, two = load_runs([str(ours), str(sgb)])
    assert one.tree is None and two.task == "sgcls"
    for key, value in one.metrics.items():
        if key not in ("images", "per_predicate"):
            assert two.metrics[key] == value, key
    assert two.metrics["per_predicate"] == one.metrics["per_predicate"]
    make_tree().save(sgb / "tree.json")
    code, out, _ = report(capsys, "merged", sgb, "--tree", sgb / "tree.json")
    assert code == 0 and "on <- sitting on, parked on" in out


#: What the results of a fork lack -> what is said to be missing.
FORKS = {
    "CogTree": (("_ng_",), "has no ng-zR, ng-mR: "), "PySGG": (("_ng_zeroshot",), "has no ng-zR: "),
    "no zero-shot": (("zeroshot",), "has no zR, ng-zR: "), "no accuracy": (("accuracy",), "has no A: "),
    "mean recall alone": (
        ("nogc", "accuracy", "zeroshot", "_ng_", "predcls_recall"), "has no R, ng-R, zR, ng-zR, ng-mR, A: "
    ),
}  # fmt: skip


@pytest.mark.parametrize("fork", FORKS)
def test_results_of_forks_that_store_less(sgb_run, fork, capsys, tmp_path):
    lacks, said = FORKS[fork]
    whole, less = sgb_run("whole", "predcls"), sgb_run("less", "predcls", lacks=lacks)
    make_tree().save(tmp_path / "tree.json")
    words = ("--tree", tmp_path / "tree.json", "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv")
    code, out, _ = report(capsys, whole, less, "--per-predicate", *words)
    assert code == 0 and f"{less} {said}" in out and out.count("did not store them") == 1
    missing = said.removeprefix("has no ").rstrip(": ").split(", ")
    for key in ("R@50", "ng-R@20", "zR@100", "mR@50", "ng-mR@100", "ng-zR@20", "A@50", "layer 2 mR@50"):
        one, two = row(out, key)
        assert two == ("-" if key.partition("@")[0] in missing else one), key
    assert row(out, "parked on")[1] == row(out, "parked on")[2]
    _, entry = json.loads((tmp_path / "a.json").read_text())
    assert not {f"{name}@50" for name in missing} & set(entry)


def test_zero_shot_recall_by_the_list_of_other_data_is_left_out(sgb_run, capsys):
    run = sgb_run("plain", "predcls")
    assert row(report(capsys, run)[1], "zR@50")
    (run / "inference/some_test/zero_shot.json").unlink()
    code, out, _ = report(capsys, run)
    assert code == 0 and "plain: zR and ng-zR are left out: SGB measured them with its list of VG150's triplets" in out
    assert "\nzR" not in out and "ng-zR@" not in out and "did not store" not in out and row(out, "R@50")
    path = run / "inference/some_test/result_dict.pytorch"
    result = torch.load(path, weights_only=False)
    result["predcls_recall"] = {k: values * 1000 for k, values in result["predcls_recall"].items()}
    for kind in ("", "ng_"):  # VG150 itself: 50 predicates, tens of thousands of test images
        collect = f"predcls_{kind}mean_recall_collect"
        result[collect] = {k: [*values, *([[]] * 44)] for k, values in result[collect].items()}
    torch.save(result, path)
    (run / "VG_train_statistics.cache").unlink()
    assert row(report(capsys, run)[1], "zR@50")


def test_a_metric_at_some_k_alone(sgb_run, capsys):
    run = sgb_run("few", "predcls")
    path = run / "inference/some_test/result_dict.pytorch"
    result = torch.load(path, weights_only=False)
    for values in result.values():
        values.pop(20)
    torch.save(result, path)
    code, out, _ = report(capsys, run)
    assert code == 0 and "has no R@20, ng-R@20" in out and row(out, "mR@50") and "\nR@20" not in out
    code, _, err = report(capsys, "mean-at-k", run, sgb_run("b", "sgcls"), sgb_run("c", "sgdet"))
    assert code == 2 and "few has no R@20: its test did not store it" in err


def test_results_without_the_predicates_names(sgb_run, capsys):
    run = sgb_run("nameless", "predcls")
    (run / "VG_train_statistics.cache").unlink()
    code, out, _ = report(capsys, run)
    assert code == 0 and float(row(out, "mR@50")[0]) > 0
    assert "no file near the results contains the predicates' names" in out
    code, _, err = report(capsys, run, "--per-predicate")
    assert code == 2 and "has no recall per predicate" in err
    torch.save({"other": 1}, run / "VG_train_statistics.cache")
    assert report(capsys, run)[1] == out


def test_where_forks_and_validation_tests_write(sgb_run, run, capsys):
    best = sgb_run("best", "predcls", into="inference_best/VG_test")
    code, out, _ = report(capsys, best)
    assert code == 0 and row(out, "mR@50") and str(best) not in out
    val = sgb_run("val", "predcls", into="inference/VG_val")
    code, out, _ = report(capsys, val)
    assert code == 0 and row(out, "mR@50") and "these are the results on VG_val, which is not a test set" in out
    both = sgb_run("val", "predcls", into="inference/VG_test")
    code, out, _ = report(capsys, both)
    assert code == 0 and f"also has results in {val}/inference/VG_val" in out and "not a test set" not in out
    sgb_run("best", "predcls", into="inference_final/VG_test")
    code, _, err = report(capsys, best)
    assert code == 2 and "2 tests' results; give one of them" in err and f"{best}/inference_final/VG_test" in err
    code, out, _ = report(capsys, best / "inference_final/VG_test", run("ours"))
    assert code == 0 and "\n\n" not in out.strip()


def test_csv_and_json_hold_every_figure(run, tmp_path, capsys):
    two = run("hml", with_tree=True)
    content = json.loads((two / "inference/some_test/metrics.json").read_text())
    assert report(capsys, two, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json")[0] == 0
    with open(tmp_path / "a.csv", newline="") as file:
        rows = {(r["metric"], r["k"], r["layer"], r["predicate"]): r["value"] for r in csv.DictReader(file)}
    for key, value in content.items():
        if "@" in key:
            metric, k = key.split("@")
            assert rows[metric, k, "", ""] == ("" if value is None else repr(value))
    for name, value in content["per_predicate"]["ng-R@50"].items():
        assert rows["ng-R", "50", str(make_tree().layers[name]), name] == ("" if value is None else repr(value))
    (entry,) = json.loads((tmp_path / "a.json").read_text())
    assert entry["R@20"] == content["R@20"] and entry["run"] == str(two)
    assert rows["mR", "50", "1", ""] == repr(entry["per_layer"]["mR@50"]["1"])
    assert report(capsys, "merged", two, "--csv", tmp_path / "m.csv", "--json", tmp_path / "m.json")[0] == 0
    with open(tmp_path / "m.csv", newline="") as file:
        rows = {(r["metric"], r["k"], r["predicate"]): r["value"] for r in csv.DictReader(file)}
    (entry,) = json.loads((tmp_path / "m.json").read_text())
    assert rows["merged-R", "50", "on"] == repr(entry["per_predicate"]["merged-R@50"]["on"])
    assert rows["R", "50", "on"] == repr(content["per_predicate"]["R@50"]["on"])
    assert rows["merged-mR", "50", ""] == repr(entry["merged-mR@50"]) and rows["merged-R", "50", ""]


def test_mean_over_the_tasks(run, tmp_path, capsys):
    folders = {task: run(task, task) for task in ("sgdet", "predcls", "sgcls")}
    code, out, _ = report(capsys, "mean-at-k", *folders.values(), "--json", tmp_path / "m.json")
    read = {t: json.loads((f / "inference/some_test/metrics.json").read_text()) for t, f in folders.items()}
    written = json.loads((tmp_path / "m.json").read_text())
    for k in (20, 50, 100):
        six = [read[task][f"{metric}@{k}"] for task in read for metric in ("R", "mR")]
        assert written[f"Mean@{k}"] == pytest.approx(sum(six) / 6, abs=1e-15)
        assert written[f"mR@{k}"] == pytest.approx(sum(six[1::2]) / 3, abs=1e-15)
    assert code == 0 and [line.split()[0] for line in out.splitlines()[2:6]] == ["PredCls", "SGCls", "SGDet", "mean"]
    assert row(out, "mean")[-1] == f"{100 * written['Mean@100']:.1f}"


def test_mean_refuses_what_is_no_mean(run, capsys):
    predcls, again, sgcls = run("a"), run("b"), run("c", "sgcls")
    for words, said in (
        ((predcls, again, sgcls), "are both PredCls"), ((predcls, sgcls), "lacks a run of SGDet"),
        ((predcls,), "lacks a run of SGCls and SGDet"), ((), "needs the OUTPUT_DIR"),
    ):  # fmt: skip
        code, out, err = report(capsys, "mean-at-k", *words)
        assert code == 2 and said in err and err.count("\n") == 1 and not out
    sgdet = run("d", "sgdet")
    path = sgdet / "inference/some_test/metrics.json"
    content = json.loads(path.read_text())
    content["per_predicate"]["R@50"] = {"other": 0.5}
    path.write_text(json.dumps(content))
    with pytest.raises(HMLError, match="tested on different predicates"):
        mean_at_k(load_runs([str(predcls), str(sgcls), str(sgdet)]))


def test_bad_input_is_one_sentence_and_writes_nothing(run, tmp_path, capsys):
    good, empty = run("good"), tmp_path / "empty"
    empty.mkdir()
    several = run("several")
    (several / "inference/other_test").mkdir()
    (several / "inference/other_test/metrics.json").write_text("{}")
    torn = run("torn")
    (torn / "inference/some_test/metrics.json").write_text('{"mode": ')
    for words, said in (
        ((tmp_path / "none",), "does not exist"), ((empty,), "has no test results"), ((several,), "of 2 datasets"),
        ((torn,), "metrics.json is cut short"), ((good, "--tree", tmp_path / "none"), "does not exist"),
        (("merged", good), "no predicate tree is known"), ((good, "--task", "sgdet"), "--task belongs to"),
        (("merged", good, "--per-predicate"), "--per-predicate belongs to"),
    ):  # fmt: skip
        code, out, err = report(capsys, *words, "--csv", tmp_path / "x.csv")
        assert code == 2 and said in err and err.count("\n") == 1 and not out, err
    assert not (tmp_path / "x.csv").exists()
    other = make_tree()
    renamed = {"on": "upon"}
    swap = lambda name: renamed.get(name, name)  # noqa: E731
    type(other)(
        tuple(map(swap, other.predicates)), tuple(tuple(map(swap, g)) for g in other.groups),
        {swap(n): v for n, v in other.layers.items()}, {swap(n): v for n, v in other.counts.items()}, 2, "clustered",
    ).save(tmp_path / "other.json")  # fmt: skip
    for kind in ((), ("merged",)):
        code, _, err = report(capsys, *kind, good, "--tree", tmp_path / "other.json")
        assert code == 2 and "different predicates" in err


def test_a_file_that_names_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"groundtruths": Harmful()}, tmp_path / "eval_results.pytorch")
    with pytest.raises(HMLError, match=r"names \w+\.print"):
        load_stored(tmp_path / "eval_results.pytorch")
    (tmp_path / "torn").write_bytes(pickle.dumps([1, 2])[:-3])
    with pytest.raises(HMLError, match="cannot be read as results"):
        load_stored(tmp_path / "torn")


def test_names_are_as_long_as_they_must_be(run, tmp_path):
    runs = load_runs([str(run("a/x")), str(run("b/x"))])
    assert short_names(runs) == ["a/x", "b/x"] and short_names(runs[:1]) == ["x"]


def test_a_stages_own_folder_finds_the_tree(run, tmp_path):
    run("whole", with_tree=True)
    stage = run("whole/hml/stage1")
    (one,) = load_runs([str(stage)])
    assert one.tree.digest == make_tree().digest and one.predicates == NAMES[1:]


def test_help_needs_no_torch():
    code = (
        "import sys; from maskrcnn_benchmark_hml.cli import main\n"
        "try: main(['report', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "mean-at-k RUN RUN RUN" in done.stdout
