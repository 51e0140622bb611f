"""Every command that the README and docs/ print: run as printed where that takes seconds, else parsed.

``RUN`` and ``SLOW`` run in a folder that has what the placeholders name. Every other command is in ``PARSED``, with the
reason why it is not run here: its options are parsed and its settings merged. A command in none of them is an error.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.commands.run import run_parser
from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg

from ..host.stand_in import make_checkout
from .printed import REPO, blocks, commands

PRINTED = list(dict.fromkeys(command for _, command in commands()))

#: Run as printed: one folder and one order for each list.
RUN = {
    "custom data": [
        "hml data check outputs/mine",
        "hml tree --data outputs/mine --vectors VECTORS --threshold 0.7 --out outputs/mine-tree.json "
        "--png outputs/mine-tree.png",
        "hml tree --data outputs/mine --builder frequency --boundaries 1 --out outputs/mine-tree.json",
        "hml run --data outputs/mine tools/relation_train_net.py --config-file configs/demo/relation.yaml "
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES 4 MODEL.ROI_RELATION_HEAD.NUM_CLASSES 4 HML.ENABLED True "
        "HML.TREE.FILE outputs/mine-tree.json HML.STAGES.ITERATIONS 6,12 SOLVER.IMS_PER_BATCH 2 "
        "OUTPUT_DIR outputs/mine-hml",
        "hml report outputs/mine-hml --per-predicate",
    ],
    "own data": [
        "hml data convert-label-studio export.json outputs/own --photos pictures",
        "hml data check outputs/own --pictures",
        "hml tree --data outputs/own --builder frequency --boundaries 1 --out outputs/own-tree.json",
        "hml run --data outputs/own tools/relation_train_net.py --config-file configs/demo/relation.yaml "
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES 4 MODEL.ROI_RELATION_HEAD.NUM_CLASSES 4 HML.ENABLED True "
        "HML.TREE.FILE outputs/own-tree.json HML.STAGES.ITERATIONS 3,6 SOLVER.IMS_PER_BATCH 2 "
        "OUTPUT_DIR outputs/own-hml",
        "hml report outputs/own-hml --per-predicate",
        "hml draw outputs/own-hml",
    ],
    "a run and its reports": [
        "hml data make-mini-vg outputs/tiny --images 60",
        "hml run --data outputs/tiny tools/relation_train_net.py --config-file configs/demo/relation.yaml "
        "OUTPUT_DIR outputs/tiny-hml HML.ENABLED True HML.STAGES.ITERATIONS 6,12 SOLVER.IMS_PER_BATCH 4",
        "hml report outputs/tiny-hml",
        "hml report out/baseline out/hml --per-predicate",
        "hml report mean-at-k out/predcls out/sgcls out/sgdet",
        "hml report merged out/sgb-motifs --tree tree.json",
        "hml report out/hml --csv hml.csv --json hml.json",
        "hml report out/baseline out/hml --html report.html",
        "hml report out/motifs-hml --per-predicate",
        "hml predict outputs/tiny-hml photos --boxes boxes.json",
        "hml draw out/baseline out/hml",
        "hml draw out/baseline out/hml --images 10048,10050 --top 30 --out figures --format svg",
        "hml draw out/hml --changed 4",
        "hml draw out/hml --images 10048 --format dot,graphml",
    ],
    "data and a checkout": [
        "hml data placeholders DIR",
        "hml data check DIR",
        "hml data check DIR --pictures",
        "hml data clean DIR OUT",
        "hml data export-coco DIR outputs/coco",
        "hml data convert-coco outputs/coco outputs/again",
        "hml doctor --sgb YOUR/SGB --data YOUR/vg",
        "hml doctor --sgb YOUR/FORK",
        "hml patch check YOUR/SGB",
        "hml patch apply YOUR/SGB",
        "hml patch revert YOUR/SGB",
        "hml experiment list",
    ],
}
#: Run as printed, but not in `make test`.
SLOW = [
    "hml data make-mini-vg OUT --images 300 --seed 1",
    "hml data make-mini-vg OUT",
    "hml demo --data outputs/mine --out outputs/mine-demo --iterations 20",
]
#: Parsed only: the beginning of the command, and why it is not run here.
PARSED = {
    "make ": "installs an environment; the demo and the tests have tests of their own",
    "pip install ": "needs a network",
    "cd ": "a folder of the reader",
    "tensorboard ": "a server that runs on; tests/host/test_curves.py reads its files",
    "hml run tools/relation_train_net.py --config-file configs/e2e_relation_X_101": "run by tests/upstream",
    "hml run tools/relation_train_net.py --config-file FILE ... ": "needs a fork",
    "python -m maskrcnn_benchmark_hml.config > docs/settings.md": "tests/test_config.py compares the page",
    "hml predict out/": "needs a run of SGDet",
    "hml run tools/relation_test_net.py --config-file FILE ... ": "the dots stand for the options of a training",
    "hml run --data DIR tools/relation_train_net.py --config-file configs/relation_x101.yaml ": "needs a detector",
    "hml run --data DIR tools/detector_pretrain_net.py ": "needs ImageNet weights",
    "torchrun ": "needs several GPUs",
    "python -m torch.distributed.launch ": "needs several GPUs",
    "hml data convert-psg psg.json ": "needs PSG's annotations; tests/datasets has small ones",
    "hml data convert-vrd json_dataset ": "needs the annotations of VRD; tests/datasets has small ones",
    "hml data convert-vg vg_raw ": "needs Visual Genome's annotations; tests/datasets/formats has small ones",
    "hml data convert-gqa gqa ": "needs GQA's scene graphs; tests/datasets/formats has small ones",
    "hml data convert-openimages openimages ": "needs Open Images' csv files; tests/datasets/formats has small ones",
    "hml data subset DIR OUT ": "names of other data; tests/datasets/test_subset.py runs it",
    "hml demo --data DIR --out OUT --seeds 3": "minutes",
    "hml demo --predictor transformer --task sgdet --layers 3": "minutes",
    "hml experiment ": "hours",
    "hml report outputs/experiments/runs/": "needs the runs of a grid",
}
#: Placeholders and what stands for them in the prepared folder.
PLACEHOLDERS = {"YOUR/SGB": "checkout", "YOUR/FORK": "checkout", "YOUR/vg": "DIR", "VECTORS": "vectors.txt"}
#: Commands with another exit code than 0 in the prepared folder.
CODES = {"hml doctor --sgb YOUR/FORK": 1}  # a stand-in checkout has no data of its own

CHECK_SETTINGS = """
import json, sys
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark_hml.config import add_hml_config, check_config, normalise_options
for file, options in json.load(sys.stdin):
    own = add_hml_config(cfg.clone())
    if file:
        own.merge_from_file(file)
    own.merge_from_list(normalise_options(options))
    check_config(own)
"""


def words(command: str) -> list[str]:
    """The words of a command, without the dots that stand for further options."""
    return [word for word in shlex.split(command) if word != "..."]


def environment() -> dict[str, str]:
    """One thread, no checkout; our package and the bundled benchmark importable."""
    path = [str(REPO), str(REPO / "maskrcnn_benchmark_hml" / "embedded"), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name not in ("SGB_HOME", "HML_DATA")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, path)), "OMP_NUM_THREADS": "1"}


def execute(command: str, folder: Path) -> None:
    """Run a printed command with its placeholders replaced; its exit code must be the expected one.

    A training has a process of its own, because it puts a benchmark into the process.
    """
    own = [PLACEHOLDERS.get(word, word) for word in words(command)][1:]
    if own[0] in ("run", "demo", "predict"):
        call = [sys.executable, "-m", "maskrcnn_benchmark_hml", *own]
        done = subprocess.run(call, cwd=folder, env=environment(), capture_output=True, text=True)
        assert not done.returncode, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    else:
        assert cli.main(own) == CODES.get(command, 0), command


OTHER_PREDICATES = """
import sys, torch
content = torch.load(sys.argv[1], weights_only=False)
for prediction in content["predictions"]:
    prediction.extra_fields["pred_rel_scores"] = prediction.extra_fields["pred_rel_scores"].flip(1)
torch.save(content, sys.argv[1])
"""


def results(folder: Path) -> None:
    """What ``hml report`` and ``hml draw`` read: copies of a run's results under the names that the pages use."""
    run = folder / "outputs" / "tiny-hml"
    shutil.copy(run / "hml" / "tree.json", folder / "tree.json")
    for name in ("baseline", "hml", "motifs-hml", "sgb-motifs", "predcls", "sgcls", "sgdet"):
        shutil.copytree(run / "inference", folder / "out" / name / "inference")
        shutil.copy(next(run.glob("*_statistics.cache")), folder / "out" / name)
        if name in ("sgcls", "sgdet"):
            (file,) = (folder / "out" / name).rglob("metrics.json")
            file.write_text(json.dumps({**json.loads(file.read_text()), "mode": name}))
    (file,) = (folder / "out" / "baseline").rglob("eval_results.pytorch")
    subprocess.run([sys.executable, "-c", OTHER_PREDICATES, file], env=environment(), check=True)


def annotate(folder: Path) -> None:
    """Ten pictures and their annotations, as the page on own data has its reader make them."""
    (folder / "pictures").mkdir()
    places = {"person": (30, 10, 40, 50), "horse": (10, 40, 80, 50), "hat": (40, 5, 20, 10)}
    tasks = []
    for i in range(10):
        Image.new("RGB", (200, 160), (20 * i, 120, 90)).save(folder / "pictures" / f"{i}.jpg")
        result: list[dict] = [
            {"id": name, "type": "rectanglelabels", "original_width": 200, "original_height": 160,
             "value": {**dict(zip(("x", "y", "width", "height"), box)), "rotation": 0, "rectanglelabels": [name]}}
            for name, box in places.items()]  # fmt: skip
        for arrow in (("person", "riding", "horse"), ("person", "wearing", "hat"), ("hat", "on", "person")):
            result.append({"type": "relation", "from_id": arrow[0], "to_id": arrow[2], "labels": [arrow[1]]})
        tasks.append({"id": i + 1, "data": {"image": f"/data/upload/1/0123abcd-{i}.jpg"},
                      "annotations": [{"id": i, "result": result}]})  # fmt: skip
    (folder / "export.json").write_text(json.dumps(tasks))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the shipped configs and what the placeholders name."""
    (tmp_path / "configs").symlink_to(REPO / "configs")
    make_mini_vg(tmp_path / "DIR", images=SMALLEST, seed=0)
    next((tmp_path / "DIR" / "VG_100K").iterdir()).unlink()  # for `hml data placeholders`
    make_checkout(tmp_path / "checkout")
    annotate(tmp_path)
    (tmp_path / "vectors.txt").write_text("on 1 0 0\nriding 0.9 0.1 0\nwearing 0 0 1\n")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (90, 60), (30, 90, 200)).save(tmp_path / "photos" / "a.jpg")
    given = [{"box": [1, 2, 40, 50], "name": "man"}, {"box": [30, 20, 90, 60], "name": "horse"}]
    (tmp_path / "boxes.json").write_text(json.dumps({"a.jpg": given}))
    (script,) = (text for language, text in blocks(REPO / "docs" / "custom-data.md") if language == "python")
    assert sum(bool(line.strip()) for line in script.splitlines()) <= 22
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=True)
    monkeypatch.chdir(tmp_path)
    for name in ("SGB_HOME", "HML_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("subject", RUN)
def test_commands_run_as_printed(subject, folder):
    for command in RUN[subject]:
        if command.startswith(("hml report out/", "hml draw out/")) and not (folder / "out").exists():
            results(folder)
        execute(command, folder)


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_slow_command_runs_as_printed(command, folder):
    execute(command, folder)


def test_every_printed_command_is_classified_and_every_class_is_printed():
    exact = {*SLOW, *(command for group in RUN.values() for command in group)}
    left = [command for command in PRINTED if command not in exact]
    unclassified = [command for command in left if not command.startswith(tuple(PARSED))]
    assert not unclassified, "add them to RUN, SLOW or PARSED"
    assert not exact - set(PRINTED), "printed no more"
    assert not [start for start in PARSED if not any(command.startswith(start) for command in left)], "printed no more"


def test_options_of_every_other_printed_command_parse():
    runs = []
    for command in PRINTED:
        own = words(command)
        if "maskrcnn_benchmark_hml" in own:  # behind a launcher
            own = ["hml", *own[own.index("maskrcnn_benchmark_hml") + 1 :]]
        if own[:2] == ["hml", "run"]:
            runs.append(settings_of(own[2:]))
        elif own[0] == "hml" and command.startswith(tuple(PARSED)):
            cli.build_parser(own[1]).parse_args(own[1:])
            grid = REPO / "configs" / "experiments" / f"{own[2]}.yaml"
            assert own[1] != "experiment" or own[2] in ("list", "my_grid.yaml") or grid.is_file()
        elif own[0] == "make":
            assert re.search(rf"^{own[1]}:", (REPO / "Makefile").read_text(), re.MULTILINE), command
        else:
            known = ("hml", "cd", "pip", "tensorboard")
            assert own[0] in known or own[:3] == ["python", "-m", "maskrcnn_benchmark_hml.config"]
    done = subprocess.run([sys.executable, "-c", CHECK_SETTINGS], input=json.dumps(runs), env=environment(),
                          capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]


def settings_of(own: list[str]) -> tuple[str, list[str]]:
    """The config file and the settings of ``hml run``; the script must exist in the bundled benchmark."""
    args = run_parser().parse_args(own)
    assert (REPO / "maskrcnn_benchmark_hml" / "embedded" / args.script).is_file()
    if args.argv[:1] != ["--config-file"]:
        return "", args.argv
    file = REPO / args.argv[1]  # FILE, and the configs of SGB, are the reader's
    return str(file) if file.is_file() else "", args.argv[2:]
