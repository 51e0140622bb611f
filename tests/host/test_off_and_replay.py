"""Off means untouched; the teacher answers on the student's own pairs; ignored pairs are never background."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import maskrcnn_benchmark_hml
from maskrcnn_benchmark_hml.host import stage_driver
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.host.relation_losses import RelationLosses
from maskrcnn_benchmark_hml.training.teacher import Teacher

from ..waiting import HUNG
from .conftest import run_options

TOOLS = Path(maskrcnn_benchmark_hml.__file__).parent / "embedded" / "tools"


@pytest.mark.isa
@pytest.mark.parametrize("steps", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_disabled_is_bit_identical(tiny_vg, tmp_path, steps):
    def train(command: list[str], name: str) -> dict:
        options = run_options(tiny_vg, tmp_path / name)
        at = options.index("HML.ENABLED")
        plain = [*options[3:at], *options[at + 4 :], "SOLVER.MAX_ITER", str(steps), "SOLVER.CHECKPOINT_PERIOD", "100"]
        done = subprocess.run(
            [sys.executable, *command, *plain], capture_output=True, text=True, timeout=HUNG,
            env={"HML_DATA": str(tiny_vg), "PATH": "", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return torch.load(tmp_path / name / "model_final.pth", map_location="cpu", weights_only=False)["model"]

    own = train([str(TOOLS / "relation_train_net.py")], "own")
    plugin = train(["-m", "maskrcnn_benchmark_hml", "run", "tools/relation_train_net.py"], "plugin")
    assert own.keys() == plugin.keys() and all(torch.equal(own[k], plugin[k]) for k in own)
    assert not (tmp_path / "plugin" / "hml").exists()


@pytest.fixture
def spied(monkeypatch):
    """Records, per stage-2 forward, what the student's and the teacher's predictor were given."""
    calls = {"student": [], "teacher": [], "labels": [], "resampled": []}
    old_init, old_after = Teacher.__init__, RelationLosses._concept_reconstruction

    def init(self, *args, **kwargs):
        old_init(self, *args, **kwargs)
        self.head.predictor.register_forward_pre_hook(
            lambda module, given, named: calls["teacher"].append(rows(given, named)), with_kwargs=True
        )

    def after(self, logits):
        if self.method.stage.index == 2:
            calls["student"].append(rows(self.call.predictor_args, self.call.predictor_kwargs))
            calls["labels"].append(torch.cat(list(self.call.predictor_args[2])))
        return old_after(self, logits)

    monkeypatch.setattr(Teacher, "__init__", init)
    monkeypatch.setattr(RelationLosses, "_concept_reconstruction", after)
    return calls


def rows(args: tuple, kwargs: dict) -> list[tuple]:
    """(image, subject box, object box) of every row."""
    proposals, pairs = args[0], args[1]
    return [
        (image, *boxes.bbox[s].tolist(), *boxes.bbox[o].tolist())
        for image, (boxes, pair) in enumerate(zip(proposals, pairs)) for s, o in pair.tolist()
    ]


def test_teacher_and_student_rows_are_the_same_pairs(tiny_vg, tmp_path, spied):
    options = run_options(tiny_vg, tmp_path / "out")
    run_script(options[2], options[3:], data=options[1])
    assert len(spied["student"]) == len(spied["teacher"]) == 8
    total = sum(len(r) for r in spied["student"])
    equal = sum(a == b for s, t in zip(spied["student"], spied["teacher"]) for a, b in zip(s, t))
    assert total > 100 and equal == total and all(
        len(s) == len(t) for s, t in zip(spied["student"], spied["teacher"])
    )
    # the sampler's randomness was on: more background pairs exist than were drawn
    assert any((labels == 0).sum() > 0 and len(labels) % 16 == 0 for labels in spied["labels"])


def test_ignored_pairs_are_never_background_under_only(tiny_vg, tmp_path, monkeypatch):
    seen = {"rows": 0, "clashes": 0, "foreign": 0}
    old = stage_driver.leave_out_ignored

    def wrap(processor, stage_labels):
        old(processor, stage_labels)
        inner = processor.gtbox_relsample

        def sample(proposals, targets):
            out = inner(proposals, targets)
            for target, labels, pairs in zip(targets, out[1], out[2]):
                annotated = target.get_field("relation")[pairs[:, 0], pairs[:, 1]]
                seen["rows"] += len(labels)
                seen["clashes"] += int(((labels == 0) & (annotated != 0)).sum())
                seen["foreign"] += int(sum(int(v) not in (0, *stage_labels) for v in labels)) * (len(labels) > 1)
            return out

        processor.gtbox_relsample = sample

    monkeypatch.setattr(stage_driver, "leave_out_ignored", wrap)
    options = run_options(tiny_vg, tmp_path / "out", "HML.STAGES.LABELS", "only,only")
    run_script(options[2], options[3:], data=options[1])
    assert seen["rows"] > 200 and seen["clashes"] == 0 and seen["foreign"] == 0
