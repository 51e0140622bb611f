"""What a stage's last line in the log says: an early end with its cause, skipped steps."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace as Part

import pytest

from maskrcnn_benchmark_hml.host.launch import enter, run_script
from maskrcnn_benchmark_hml.host.locate import locate
from maskrcnn_benchmark_hml.host.train import _unusual
from maskrcnn_benchmark_hml.run_folder import newest_checkpoint

from .conftest import run_options


def test_the_last_line_of_a_stage_says_how_it_ended(tiny_vg, tmp_path, caplog):
    words = ["HML.STAGES.ITERATIONS", "8,1", "SOLVER.BASE_LR", "1e-12", "SOLVER.VAL_PERIOD", "1"]
    schedule = {"PATIENCE": 1, "COOLDOWN": 0, "MAX_DECAY_STEP": 2}
    words += [word for key, value in schedule.items() for word in (f"SOLVER.SCHEDULE.{key}", str(value))]
    options = run_options(tiny_vg, tmp_path / "out", *words)
    with caplog.at_level("INFO"):
        run_script(options[2], options[3:], data=options[1])
    ends = [record.getMessage() for record in caplog.records if " ends after " in record.getMessage()]
    assert re.fullmatch(
        r"HML: stage 1 of 2 ends after 3 iterations instead of 8: the plateau schedule ended it, which had lowered the "
        r"learning rate 2 times because .* \(SOLVER.SCHEDULE.MAX_DECAY_STEP\)", ends[0]
    )
    assert ends[1] == "HML: stage 2 of 2 ends after 1 iterations"


def test_skipped_steps_are_in_the_last_line():
    driver = Part(iteration=9, stage=Part(iterations=9), method=Part(tracker=Part(steps=7)))
    assert _unusual(driver) == "; 2 of them were skipped: a gradient held inf or NaN"


@pytest.mark.parametrize("named", ["model_0000000.pth", "model_0000001.pth"])
def test_a_script_may_name_its_best_validation_at_the_end(tiny_vg, tmp_path, monkeypatch, named):
    """SHA-GCL's does, whether or not that checkpoint was saved; the stage's final file is the one to go on from."""
    enter(locate())
    import maskrcnn_benchmark.engine.training_loop as loop

    train = loop.train_loop

    def best_named(parts):
        model = train(parts)
        (Path(parts.cfg.OUTPUT_DIR) / "last_checkpoint").write_text(str(Path(parts.cfg.OUTPUT_DIR) / named))
        return model

    monkeypatch.setattr(loop, "train_loop", best_named)
    options = run_options(tiny_vg, tmp_path / "out", "HML.STAGES.ITERATIONS", "2,1", "SOLVER.CHECKPOINT_PERIOD", "1")
    run_script(options[2], options[3:], data=options[1])
    for folder in (tmp_path / "out", tmp_path / "out" / "hml" / "stage1"):
        assert newest_checkpoint(folder).name == "model_final.pth"
