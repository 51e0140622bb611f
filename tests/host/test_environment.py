"""What users trip over around a run: found before it starts, and said; the doctor's rows on the same."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import environment, shared_memory
from maskrcnn_benchmark_hml.host.doctor import environment_checks
from maskrcnn_benchmark_hml.host.launch import run_script

from .conftest import run_options

MB = 1024**2
USUAL = environment_checks._USUAL


def with_sizes(**parts) -> dict:
    return {name: {**section, **parts.get(name, {})} for name, section in USUAL.items()}


# -- /dev/shm ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_as_large_as_its_pictures_can_be():
    extra = shared_memory._ANNOTATIONS
    assert shared_memory.batch_bytes(USUAL, True) == 12 * (608 * 1024 * 3 * 4 + extra)
    assert shared_memory.batch_bytes(USUAL, True, world=4) == 3 * (608 * 1024 * 3 * 4 + extra)
    assert shared_memory.batch_bytes(USUAL, False) == 608 * 1024 * 3 * 4 + extra
    mixed = with_sizes(DATALOADER={"ASPECT_RATIO_GROUPING": False, "SIZE_DIVISIBILITY": 0})
    assert shared_memory.batch_bytes(mixed, True) == 12 * (1000 * 1000 * 3 * 4 + extra)
    several = with_sizes(INPUT={"MIN_SIZE_TRAIN": (400, 800), "MAX_SIZE_TRAIN": 1333})
    assert shared_memory.batch_bytes(several, True) == 12 * (800 * 1344 * 3 * 4 + extra)


def test_workers_are_as_many_as_fit():
    def fits(free):
        return shared_memory.fitting_workers(USUAL, free, trains=True)

    needed = [shared_memory.needed_bytes(USUAL, n, trains=True) for n in range(5)]
    assert needed[0] == 0 and sorted(set(needed)) == needed and needed[4] > 512 * MB
    assert [fits(n) for n in needed] == [0, 1, 2, 3, 4] and [fits(n - 1) for n in needed[1:]] == [0, 1, 2, 3]
    assert fits(None) == 4 and fits(64 * MB) == 0
    assert shared_memory.needed_bytes(USUAL, 4, trains=False) < needed[4]
    assert shared_memory.needed_bytes(USUAL, 4, trains=True, world=2, local_world=2) > needed[4]  # TEST is not halved


def test_a_run_goes_on_with_the_workers_that_fit(tiny_vg, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 600 * 1024)

    def stop(namespace, *others):
        namespace["train"] = lambda cfg, *args: seen.append(cfg.DATALOADER.NUM_WORKERS)

    monkeypatch.setattr("maskrcnn_benchmark_hml.host.launch.wrap_train", stop)
    words = run_options(tiny_vg, tmp_path / "out", "HML.ENABLED", "False", "DATALOADER.NUM_WORKERS", "2")[3:]
    run_script("tools/relation_train_net.py", words, data=str(tiny_vg))
    said = capsys.readouterr().err
    assert seen == [0] and "/dev/shm has 0 MB free" in said and "the run uses DATALOADER.NUM_WORKERS 0" in said
    assert "docker run --shm-size=" in said
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 4 * 1024 * MB)
    run_script("tools/relation_train_net.py", words, data=str(tiny_vg))
    assert seen == [0, 2] and "/dev/shm" not in capsys.readouterr().err


def test_a_script_that_takes_no_settings_is_refused(monkeypatch):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 64 * MB)
    with pytest.raises(HMLError, match="/dev/shm has 64 MB free.*set DATALOADER.NUM_WORKERS to 0"):
        environment.check_run({**USUAL, "OUTPUT_DIR": "", "MODEL": {}}, argparse.Namespace(config_file=""), True)


# -- open files -------------------------------------------------------------------------------------------------------


def test_the_soft_limit_of_open_files_is_raised():
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2048))\n"
        "from maskrcnn_benchmark_hml.host.environment import raise_file_limit\n"
        "print(raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2048", "2048", "2048"]


def test_a_limit_that_may_not_be_raised_stays(monkeypatch):
    def refused(kind, limits):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refused)
    assert environment.raise_file_limit() == 256


def test_too_few_files_for_the_workers_are_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(environment, "raise_file_limit", lambda: 1024)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: None)
    parsed = argparse.Namespace(opts=[])
    cfg = {**USUAL, "OUTPUT_DIR": str(tmp_path / "o"), "MODEL": {}}
    environment.check_run(cfg, parsed, trains=True)
    said = capsys.readouterr().err
    assert "1024 open files are allowed and 4 loader workers may need 1336" in said and not parsed.opts
    environment.check_run({**cfg, "DATALOADER": {**USUAL["DATALOADER"], "NUM_WORKERS": 0}}, parsed, trains=True)
    assert capsys.readouterr().err == "" and not (tmp_path / "o").exists()


# -- disk and folders -------------------------------------------------------------------------------------------------


def test_a_disk_without_room_for_a_checkpoint(tiny_vg, tmp_path, monkeypatch):
    detector = tmp_path / "detector.pth"
    detector.write_bytes(bytes(3 * MB))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * MB))
    cfg = {"OUTPUT_DIR": str(tmp_path / "out"), "MODEL": {"PRETRAINED_DETECTOR_CKPT": str(detector)}}
    assert environment.known_checkpoint_bytes(cfg) == 3 * MB
    with pytest.raises(HMLError, match="has 2 MB free, and one checkpoint of this run takes at least 3 MB"):
        environment.check_disk(cfg["OUTPUT_DIR"], 3 * MB)
    (tmp_path / "out/hml/stage1").mkdir(parents=True)
    (tmp_path / "out/hml/stage1/model_0000002.pth").write_bytes(bytes(MB))
    assert environment.known_checkpoint_bytes(cfg) == MB
    environment.check_disk(cfg["OUTPUT_DIR"], MB)


def test_the_models_own_size_counts(tiny_vg, tmp_path, monkeypatch):
    """Before the first iteration of a stage, once the model is there."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 1024))
    words = run_options(tiny_vg, tmp_path / "out")[3:]
    with pytest.raises(HMLError, match="stage1 has 0 MB free, and one checkpoint of this run takes at least"):
        run_script("tools/relation_train_net.py", words, data=str(tiny_vg))
    assert not list((tmp_path / "out").rglob("model_*"))


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(HMLError, match="cannot be written"):
        environment.check_disk(str(tmp_path / "a" / "b"), 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(HMLError, match="is read-only, or not a folder"):
        environment.check_disk(str(tmp_path / "file" / "b"), 0)


def test_no_folder_for_temporary_files(monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(environment.tempfile, "gettempdir", none)
    with pytest.raises(HMLError, match="set TMPDIR"):
        environment.prepare_process()


def test_an_absent_mplbackend_is_ignored_in_a_run(monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "module://no_such_package.backend")
    environment.prepare_process()
    assert "module://no_such_package.backend, which is not installed here; it is ignored" in capsys.readouterr().err
    assert os.environ["MPLBACKEND"] == "agg"


# -- the doctor -------------------------------------------------------------------------------------------------------


def rows() -> dict:
    return {finding.subject: finding for finding in environment_checks.check_environment()}


def test_the_doctors_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 64 * MB)
    monkeypatch.setattr(environment_checks, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 1024))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 1024 * MB))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "file" / "mpl"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("MPLBACKEND", "module://no_such_package.backend")
    context = SimpleNamespace(get_start_method=lambda: "forkserver")
    monkeypatch.setattr(environment_checks.multiprocessing, "get_context", lambda: context)
    found = rows()
    for subject, state, said in (
        ("cores", "handled", "2 of the machine's 64"), ("/dev/shm", "handled", "hml run would use 0"),
        ("loader workers", "handled", "started by forkserver"), ("open files", "partly", "1,024, and the hard limit"),
        ("disk", "handled", "2.0 GB free"), ("matplotlib's folder", "handled", "cannot be written"),
        ("torch's folder", "ok", "torch"), ("temporary files", "ok", ""), ("MPLBACKEND", "handled", "not installed"),
    ):  # fmt: skip
        assert found[subject].state == state and said in found[subject].text, subject
    monkeypatch.setattr(environment_checks, "usable_cores", lambda: 1)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 8192))
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: None)
    monkeypatch.setenv("MPLBACKEND", "agg")
    found = rows()
    assert found["cores"].text.startswith("1: ") and found["/dev/shm"].state == found["MPLBACKEND"].state == "ok"
    assert found["open files"].state == "handled" and "hard limit allows (8,192)" in found["open files"].text


@pytest.mark.slow
def test_workers_that_are_started_afresh(tiny_vg, tmp_path):
    """As from Python 3.14 on: the dataset and all that goes with it must survive being pickled."""
    words = run_options(tiny_vg, tmp_path / "out", "HML.STAGES.ITERATIONS", "1,1", "DATALOADER.NUM_WORKERS", "1",
                        "SOLVER.TO_VAL", "False")  # fmt: skip
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "from maskrcnn_benchmark_hml.cli import main\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('forkserver')\n"
        f"    sys.exit(main(['run', *{words!r}]))\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "model_final.pth").is_file()


@pytest.mark.parametrize("environ, refused", [
    ({"SLURM_STEP_NUM_TASKS": "2"}, "srun"), ({"OMPI_COMM_WORLD_SIZE": "4"}, "mpirun"),
    ({"SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "2"}, ""), ({"SLURM_STEP_NUM_TASKS": "1"}, ""),
    ({"SLURM_NTASKS": "4"}, ""),  # a job of four tasks whose script starts one process: hml experiment --jobs 4
])
def test_tasks_that_do_not_know_of_each_other_are_refused(environ, refused):
    with pytest.raises(HMLError, match=f"{refused} has started . tasks, but") if refused else nullcontext():
        environment.check_tasks(environ)
