"""Interrupted runs end exactly where uninterrupted ones do: weights, F, Omega, learning rate, data order."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.method.memory import StageMemory
from maskrcnn_benchmark_hml.run_folder import FILES

from ..embedded.warm_run import run_hml
from .conftest import run_options

#: (signal, optimizer step of the first process after which it is sent). Stage 1 has steps 1-6, stage 2 steps 7-14.
CUTS = [
    (signal.SIGTERM, 4), (signal.SIGKILL, 6), (signal.SIGTERM, 8), (signal.SIGKILL, 11),
    *(pytest.param(number, step, marks=pytest.mark.slow) for number, step in (
        (signal.SIGKILL, 1), (signal.SIGTERM, 2), (signal.SIGKILL, 4), (signal.SIGTERM, 6), (signal.SIGKILL, 7),
        (signal.SIGTERM, 13))),
]


def launch(data: Path, out: Path, number: int = 0, step: int = 0, *extra: str) -> tuple[int, str]:
    words = ["run", *run_options(data, out, *extra)]
    return run_hml(words, out.parent / f"{out.name}.log", number, step, out.parent / f"{out.name}.items")


def outcome(out: Path) -> dict:
    """Everything that must agree, and each stage's data order."""
    last = torch.load(out / "model_final.pth", map_location="cpu", weights_only=False)
    memory = StageMemory.load(out / "hml" / "stage1" / "memory.pt")
    state = torch.load(out / "model_final.hml.pt", weights_only=True)
    items = (out.parent / f"{out.name}.items").read_text().split("\n")[:-1]
    return {
        "weights": last["model"], "momentum": last["optimizer"]["state"],
        "lr": [group["lr"] for group in last["optimizer"]["param_groups"]],
        "fisher": memory.fisher, "omega": memory.omega, "digest": memory.digest, "state": state["hml"],
        "items": sorted(set(items)), "drawn": len(items),
    }


def same(a, b) -> bool:
    if torch.is_tensor(a):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


@pytest.fixture(scope="module")
def whole(tiny_vg, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    code, said = launch(tiny_vg, out)
    assert code == 0, said[-3000:]
    return out


def test_a_run_writes_the_files_of_the_table(whole):
    written = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert not {path for path in written if not any(fits(path, pattern) for pattern in FILES)}
    for path in ("model_final.pth", "model_final.hml.pt", "last_checkpoint", "hml/stage1/memory.pt", "hml/tree.json",
                 "hml/stage2/importance.json"):
        assert path in written
    assert "hml/stage2/memory.pt" not in written


def fits(path: str, pattern: str) -> bool:
    """Whether a path is one of a line of the table."""
    head, rest, _ = pattern.partition("...")
    words = re.split(r"<[^>]*>|\*", head)
    if not re.fullmatch("[^/]*".join(map(re.escape, words)) + (".*" if rest else ""), path):
        return False
    below = path.split("/", 2)[2] if pattern == "hml/stage<k>/..." else ""
    return not below or any(fits(below, one) for one in FILES if not one.startswith("hml"))


@pytest.fixture(scope="module")
def uninterrupted(whole) -> dict:
    return outcome(whole)


@pytest.mark.parametrize(("number", "step"), CUTS, ids=lambda v: getattr(v, "name", f"step{v}"))
def test_resumed_run_is_bit_identical(uninterrupted, tiny_vg, tmp_path, number, step):
    out = tmp_path / "run"
    code, said = launch(tiny_vg, out, number, step)
    assert code == (-number if number == signal.SIGKILL else 128 + number), said[-3000:]
    code, said = launch(tiny_vg, out)
    assert code == 0, said[-3000:]
    got = outcome(out)
    if number == signal.SIGTERM:  # nothing is computed twice
        assert got["drawn"] == uninterrupted["drawn"]
    for name in ("weights", "momentum", "lr", "fisher", "omega", "items", "digest", "state"):
        assert same(got[name], uninterrupted[name]), name


#: The signal comes after the run has looked for it: one more step follows, but after step 10, where it validates.
LEFT_AT = [(signal.SIGTERM, 2, (1, 3)), (signal.SIGINT, 8, (2, 3)), (signal.SIGUSR1, 10, (2, 4))]


@pytest.mark.parametrize(("number", "step", "left"), LEFT_AT, ids=lambda v: getattr(v, "name", str(v)))
def test_a_signal_to_the_process_group_ends_no_loader_worker(uninterrupted, tiny_vg, tmp_path, number, step, left):
    """As Slurm, shells and Ctrl-C send it; a validation ends at once and is done again."""
    out = tmp_path / "run"
    workers = ("DATALOADER.NUM_WORKERS", "2")
    code, said = launch(tiny_vg, out, -number, step, *workers)
    assert code == 128 + number and "killed by signal" not in said, said[-3000:]
    stage, iteration = left
    assert f"HML: interrupted in stage {stage} of 2 after iteration {iteration}; all is saved" in said
    code, said = launch(tiny_vg, out, 0, 0, *workers)
    assert code == 0 and f"HML: stage {stage} of 2 resumes after iteration {iteration}" in said, said[-3000:]
    got = outcome(out)
    for name in ("weights", "momentum", "lr", "fisher", "omega", "items", "digest", "state"):
        assert same(got[name], uninterrupted[name]), name


def test_a_finished_run_takes_no_further_step(whole, uninterrupted, tiny_vg):
    code, said = launch(tiny_vg, whole)
    assert code == 0, said[-3000:]
    got = outcome(whole)
    assert got["drawn"] == uninterrupted["drawn"] and same(got["weights"], uninterrupted["weights"])
