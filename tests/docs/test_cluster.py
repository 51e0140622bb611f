"""The job scripts of docs/on-a-cluster.md on a Slurm of one node: a signal as Slurm sends it, then the job again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg
from maskrcnn_benchmark_hml.run_status import run_status

from ..host.ranks import free_port
from ..waiting import HUNG, until
from .printed import REPO, blocks

SCRIPTS = [text for _, text in blocks(REPO / "docs" / "on-a-cluster.md") if text.startswith("#!/bin/bash")]
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scancel", "scontrol")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
needs_slurm = pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed (no {', '.join(MISSING)})")
#: What stands for the reader's FILE: a small model on the CPU, long enough to be interrupted, with loader workers.
SMALL = (f"{REPO}/configs/demo/relation.yaml --skip-test HML.STAGES.ITERATIONS 8,400 SOLVER.IMS_PER_BATCH 2 "
         "SOLVER.CHECKPOINT_PERIOD 1000 SOLVER.TO_VAL False DATALOADER.NUM_WORKERS 2 "
         "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE 16")


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_scripts_are_bash_and_ask_for_a_warning(script):
    assert not subprocess.run(["bash", "-n"], input=script, text=True).returncode
    started = re.search(r"^(srun|exec) ", script, re.M)[1]
    assert f"#SBATCH --signal={'B:' if started == 'exec' else ''}TERM@120\n" in script
    assert "#SBATCH --open-mode=append\n" in script


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of the commands of a Slurm that runs on this machine."""
    folder = tmp_path_factory.mktemp("slurm")
    make_mini_vg(folder / "vg", images=SMALLEST, seed=0)
    (folder / "bin").mkdir()
    for name, module in (("hml", "maskrcnn_benchmark_hml"), ("torchrun", "torch.distributed.run")):
        (folder / "bin" / name).write_text(f'#!/bin/bash\nexec {sys.executable} -m {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    script = Path(__file__).with_name("slurm.sh")
    subprocess.run(["bash", script, folder, str(free_port()), str(free_port())], check=True)
    environ = {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf", "HML_DATA": f"{folder}/vg", "PYTHONPATH": str(REPO),
               "PATH": f"{folder}/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environ.pop("SGB_HOME", None)
    try:
        until(lambda: b"idle" in subprocess.run(["sinfo", "-h"], env=environ, capture_output=True).stdout)
        yield environ
    finally:
        subprocess.run(["scancel", "--full", "--signal=KILL", "--user", str(os.getuid())], env=environ)
        for name in ("slurmd", "slurmctld", "munged"):
            os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)


def submit(script: str, folder: Path, slurm: dict) -> str:
    """Hand a script to Slurm as it is printed, for one node without GPUs; returns the job's number."""
    script = re.sub(r"^#SBATCH --(gpus|cpus-per-task).*\n", "", script, flags=re.M)
    for printed, here in {"--config-file FILE": f"--config-file {SMALL}", "--nodes=2": "--nodes=1",
                          "--nproc_per_node=4": "--nproc_per_node=2", "29500": str(free_port())}.items():
        script = script.replace(printed, here)
    (folder / "job.sh").write_text(script)
    done = subprocess.run(["sbatch", "--parsable", "--output=job.log", "job.sh"], cwd=folder, env=slurm, text=True,
                          capture_output=True)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def ended(job: str, slurm: dict) -> bool:
    shown = subprocess.run(["scontrol", "show", "job", job], env=slurm, text=True, capture_output=True).stdout
    return re.search(r"JobState=(\w+)", shown)[1] not in ("PENDING", "RUNNING", "COMPLETING")


def steps(folder: Path) -> int:
    """How often the last stage has been logged."""
    log = folder / "out" / "motifs-hml" / "log.txt"
    return len(re.findall(r"iter: \d+", log.read_text())) if log.is_file() else 0


@needs_slurm
@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=["srun", "exec", "requeue", "torchrun"])
def test_a_job_saves_at_its_signal_and_goes_on(script, slurm, tmp_path):
    job = submit(script, tmp_path, slurm)
    out = tmp_path / "out" / "motifs-hml"
    until(lambda: steps(tmp_path) >= 1, lambda: not ended(job, slurm))
    whom = ["--batch"] if "B:TERM" in script else []  # what the time limit does with and without B:
    for _ in range(1 if whom else 2):  # job steps get it twice
        subprocess.run(["scancel", *whom, "--signal=TERM", job], env=slurm, check=True)
    log = tmp_path / "job.log"
    if "requeue" in script:
        until(lambda: "resumes after iteration" in log.read_text(), lambda: not ended(job, slurm))
        subprocess.run(["scancel", job], env=slurm, check=True)
    until(lambda: ended(job, slurm))
    said = log.read_text()
    assert "all is saved, the same command goes on from there" in said, said[-3000:]
    assert "killed by signal" not in said
    assert run_status(out).state in (("interrupted", "killed") if "requeue" in script else ("interrupted",))
    if "requeue" not in script:
        job = submit(script, tmp_path, slurm)
        until(lambda: "resumes after iteration" in log.read_text(), lambda: not ended(job, slurm))
        subprocess.run(["scancel", *whom, "--signal=TERM", job], env=slurm, check=True)
        until(lambda: ended(job, slurm))


@needs_slurm
@pytest.mark.slow
def test_several_tasks_are_refused(slurm, tmp_path):
    command = ["srun", "-n2", "hml", "run", "tools/relation_train_net.py"]
    done = subprocess.run(command, cwd=tmp_path, env=slurm, text=True, capture_output=True, timeout=HUNG)
    assert done.returncode == 2 and "srun has started 2 tasks" in done.stderr
