"""The teacher takes over what the student has pooled, and answers as it would have on its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml.host import sharing

from .conftest import run_options

CHILD = Path(__file__).with_name("twice_run.py")


class Boxes(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.bbox)


class Pooler(nn.Module):
    """Each box's coordinates, spread over a map, times the first feature; through a trained layer if asked."""

    def __init__(self, reduces: bool, last: bool = True) -> None:
        super().__init__()
        self.reduces, self.last, self.calls = reduces, last, 0
        if reduces:
            self.reduce_channel = nn.Sequential(nn.Conv2d(4, 3, 3, padding=1), nn.ReLU())

    def forward(self, features, boxes):
        self.calls += 1
        pooled = torch.cat([b.bbox for b in boxes])[:, :, None, None].expand(-1, -1, 5, 5) * features[0]
        if not self.reduces:
            return pooled
        reduced = self.reduce_channel(pooled)
        return reduced if self.last else reduced * 2


def heads(**kinds) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    pair = []
    for _ in range(2):
        head = nn.Module()
        head.extractor = nn.Module()
        head.extractor.pooler = Pooler(**kinds)
        pair.append(head)
    return pair[0].train(), pair[1].eval()


def boxes(seed: int = 0) -> list[Boxes]:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.rand(3, 4, generator=generator) for _ in range(2)]
    return [Boxes(bbox=torch.cat((r, r[:2]))) for r in rows]  # two of five occur twice


FEATURES = [torch.tensor(1.5)]


@pytest.mark.parametrize("reduces", [True, False])
def test_the_teacher_pools_nothing_and_says_the_same(reduces):
    student, teacher = heads(reduces=reduces)
    own = Pooler.forward(teacher.extractor.pooler, FEATURES, boxes())
    teacher.extractor.pooler.calls = 0
    assert sharing.share_pooling(student, teacher) == 1
    student.extractor.pooler(FEATURES, boxes())
    got = teacher.extractor.pooler(FEATURES, boxes())
    assert teacher.extractor.pooler.calls == 0 and torch.allclose(got, own, atol=1e-6)
    again = teacher.extractor.pooler(FEATURES, boxes())  # what was shared is used once
    assert teacher.extractor.pooler.calls == 1 and torch.equal(again, own)


@pytest.mark.parametrize("other", ["boxes", "validation", "not last"])
def test_it_pools_itself_when_something_is_otherwise(other):
    student, teacher = heads(reduces=True, last=other != "not last")
    sharing.share_pooling(student, teacher)
    if other == "validation":
        student.eval()
    student.extractor.pooler(FEATURES, boxes(1 if other == "boxes" else 0))
    got = teacher.extractor.pooler(FEATURES, boxes())
    assert teacher.extractor.pooler.calls == 1
    assert torch.equal(got, Pooler.forward(teacher.extractor.pooler, FEATURES, boxes()))


def test_a_pooler_with_further_weights_is_left_alone():
    student, teacher = heads(reduces=True)
    for head in (student, teacher):
        head.extractor.pooler.more = nn.Linear(1, 1)
    assert sharing.share_pooling(student, teacher) == 0


def test_a_layer_runs_once_per_distinct_box():
    rows, seen = sharing.box_rows(boxes()), []

    def layer(pooled):
        seen.append(len(pooled))
        return pooled * 2

    pooled = rows[:, 1:].clone()
    assert torch.equal(sharing.on_distinct(layer, pooled, rows), pooled * 2)
    rows[:, 0] = torch.arange(len(rows))  # nothing in common any more
    assert torch.equal(sharing.on_distinct(layer, pooled, rows), pooled * 2)
    assert seen == [6, 10]
    assert len(sharing.on_distinct(layer, pooled[:0], rows[:0])) == 0


def asked_twice(words: list[str], environ: dict[str, str], folder: Path) -> tuple[int, int, float]:
    """Runs the child; (batches in which a trained layer shared, batches, difference / largest logit)."""
    done = subprocess.run([sys.executable, str(CHILD), *words], capture_output=True, text=True, env=environ, cwd=folder)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    shared, calls, apart, largest = re.search(r"shared (\d+) of (\d+), apart (\S+) of (\S+)", text).groups()
    return int(shared), int(calls), float(apart) / float(largest)


def test_the_embedded_benchmark(tiny_vg, tmp_path):
    words = run_options(tiny_vg, tmp_path / "out", "HML.STAGES.ITERATIONS", "1,3", "SOLVER.TO_VAL", "False")
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    _, calls, apart = asked_twice(words, environ, tmp_path)  # its pairs pool distinct boxes themselves
    assert calls == 3 and apart < 1e-6
