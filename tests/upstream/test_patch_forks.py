"""hml patch on the original benchmark and, if SGB_FORKS names a folder of forks, on each: always on copies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.host.locate import is_benchmark
from maskrcnn_benchmark_hml.host.patch import SCRIPT, patched, reverted

from ..host.ranks import free_port
from .conftest import CONFIG, REPO

FORKS = os.environ.get("SGB_FORKS", "")
HEAD = "MODEL.ROI_RELATION_HEAD"


def forks() -> list[Path]:
    """Checkouts below SGB_FORKS, at most one folder deeper."""
    if not FORKS:
        return []
    return sorted(p for pattern in ("*", "*/*") for p in Path(FORKS).glob(pattern) if p.is_dir() and is_benchmark(p))


@pytest.fixture(scope="session")
def copy(sgb, tmp_path_factory) -> Path:
    """A copy of the checkout, patched through the command line, under version control of its own."""
    root = tmp_path_factory.mktemp("copy") / "sgb"
    shutil.copytree(sgb, root, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    for words in (["init", "-q"], ["add", str(SCRIPT)], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    assert cli.main(["patch", "apply", str(root)]) == 0
    return root


@pytest.fixture
def run_patched(copy, mini_vg, tmp_path):
    """Runs the copy's own training script, with neither ``hml run`` nor the checkout on any path."""
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    environ = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "HML_DATA": str(mini_vg)}
    environ.pop("SGB_HOME", None)

    def run(*options: str, launcher: tuple[str, ...] = (), script: str = str(SCRIPT)) -> subprocess.CompletedProcess:
        words = [sys.executable, *launcher, script, "--config-file", str(config), "--skip-test"]
        words += [f"{HEAD}.USE_GT_BOX", "True", f"{HEAD}.USE_GT_OBJECT_LABEL", "True", *options]
        words += ["OUTPUT_DIR", str(tmp_path / "out")]
        return subprocess.run(words, capture_output=True, text=True, env=environ, cwd=copy)

    return run


HML = ("HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "3,4", f"{HEAD}.PREDICTOR", "MotifPredictor")


def test_the_users_own_command_trains_two_stages(run_patched, tmp_path):
    done = run_patched(*HML)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert "hml: using the benchmark in" in text and "the patched script" in text
    assert len(re.findall(r"HML: stage \d of 2.* ends after", text)) == 2
    assert (tmp_path / "out" / "model_final.pth").is_file()
    again = run_patched(*HML)
    assert again.returncode == 0 and not re.search(r"HML: stage 1 of 2.* ends after", again.stdout)


def test_off_it_is_the_plain_script(run_patched, tmp_path):
    done = run_patched(f"{HEAD}.PREDICTOR", "MotifPredictor", "SOLVER.MAX_ITER", "2", "SOLVER.TO_VAL", "False")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "HML: stage" not in done.stdout and not (tmp_path / "out" / "hml").exists()


@pytest.mark.parametrize("launcher", ["torch.distributed.launch", "torch.distributed.run"])
def test_under_both_launchers(run_patched, launcher):
    both = ("TEST.IMS_PER_BATCH", "2")  # the benchmark wants it divisible by the number of processes
    done = run_patched(*HML, *both, launcher=("-m", launcher, "--nproc_per_node=2", f"--master_port={free_port()}"))
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert "Using 2 GPUs" in text and text.count("hml: using") == 1


def test_workers_under_spawn(run_patched, copy):
    """The workers execute the script's top level once more, before anything else of the benchmark is imported."""
    started = copy / "tools" / "spawning.py"
    text = (copy / SCRIPT).read_text()
    place = text.rindex("if __name__")
    spawn = "import multiprocessing\nif __name__ == '__main__': multiprocessing.set_start_method('spawn', force=True)\n"
    started.write_text(text[:place] + spawn + text[place:])
    done = run_patched(*HML, "DATALOADER.NUM_WORKERS", "1", "SOLVER.TO_VAL", "False", script="tools/spawning.py")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_bad_settings_are_one_sentence(run_patched, tmp_path):
    done = run_patched("HML.ENABLED", "True", "HML.CR.WEIGHT", "-1")
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith("hml: error: HML.CR.WEIGHT")
    assert not (tmp_path / "out").exists()


def test_hml_run_drives_a_patched_script_as_a_plain_one(copy, mini_vg, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    environ = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "maskrcnn_benchmark_hml", "run", "--sgb", str(copy), "--data", str(mini_vg)]
    words += [str(SCRIPT), "--config-file", str(config), "--skip-test", *HML, "SOLVER.TO_VAL", "False"]
    words += [f"{HEAD}.USE_GT_BOX", "True", f"{HEAD}.USE_GT_OBJECT_LABEL", "True", "OUTPUT_DIR", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=tmp_path)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert text.count("hml: using") == 1 and len(re.findall(r"HML: stage 2 of 2.* ends after", done.stdout)) == 1


@pytest.mark.skipif(not FORKS, reason="SGB_FORKS names no folder of forks")
def test_every_fork_is_patched_and_given_back():
    checkouts = forks()
    assert checkouts, f"SGB_FORKS={FORKS} holds no checkout"
    for root in checkouts:
        source = (root / SCRIPT).read_bytes()
        result = patched(source)
        compile(result, str(root / SCRIPT), "exec")
        assert reverted(result) == source, root
