"""HML.EXTEND: a finished last stage goes on as if it had been longer; without it the option is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.extend import LENGTHS, check_schedule, extension
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.training.checkpoint import check_settings, record_settings

from .conftest import run_options
from .test_resume import same


def run(data: Path, out: Path, lengths: str, *extra: str) -> None:
    options = run_options(data, out, "HML.STAGES.ITERATIONS", lengths, *extra)
    run_script(options[2], options[3:], data=options[1])


def outcome(out: Path) -> tuple:
    last = torch.load(out / "model_final.pth", weights_only=False)
    tracker = torch.load(out / "model_final.hml.pt", weights_only=True)["hml"]["tracker"]  # F and Omega
    assert not (out / "hml" / "stage2" / "memory.pt").exists()  # nothing would read it
    return last["iteration"], last["model"], last["optimizer"], tracker


def test_a_lengthened_stage_is_the_longer_one_bit_by_bit(tiny_vg, tmp_path, caplog):
    run(tiny_vg, tmp_path / "long", "2,6")
    out = tmp_path / "short"
    run(tiny_vg, out, "2,4")
    with pytest.raises(HMLError, match=r"ITERATIONS = \[2, 4\], now it is \[2, 6\].*add HML.EXTEND True"):
        run(tiny_vg, out, "2,6")
    with pytest.raises(HMLError, match="lengthens only the last stage.*2,4 iterations and are to have 3,6"):
        run(tiny_vg, out, "3,6", "HML.EXTEND", "True")
    with caplog.at_level("INFO"):
        run(tiny_vg, out, "2,6", "HML.EXTEND", "True")
    assert "HML.EXTEND: HML.STAGES.ITERATIONS 2,4 -> 2,6: stage 2 of 2 continues from 4 to 6" in caplog.text
    assert outcome(out)[0] == 6 and same(outcome(out), outcome(tmp_path / "long"))
    settings = json.loads((out / "hml" / "settings.json").read_text())
    assert settings[LENGTHS] == [2, 6] and len(settings["extended"]) == 1 and "from 4 to 6" in settings["extended"][0]
    run(tiny_vg, out, "2,6")  # now the run's own settings


@dataclass
class Part:
    iterations: int
    index: int = 2

    def title(self) -> str:
        return f"stage {self.index} of 2"


@pytest.mark.parametrize(("lengths", "match"), [((2, 3), "to have 2,3"), ((1, 9), "to have 1,9"), ((2, 4), "")])
def test_only_the_last_stage_and_only_longer(tmp_path, lengths, match):
    (tmp_path / "settings.json").write_text(json.dumps({LENGTHS: [2, 4]}))
    (tmp_path / "stages.json").write_text(json.dumps([{"iterations": 2}, {"iterations": 4}]))
    stages = [Part(n) for n in lengths]
    if not match:
        assert extension(tmp_path, stages, {LENGTHS: list(lengths)}) == ""
        return
    with pytest.raises(HMLError, match=match):
        extension(tmp_path, stages, {LENGTHS: list(lengths)})


def test_other_settings_stay_bound_and_changes_add_up(tmp_path):
    hints = {LENGTHS: "add HML.EXTEND True"}
    check_settings(tmp_path, {LENGTHS: [2, 4], "HML.CR.WEIGHT": 1.0})
    with pytest.raises(HMLError, match="CR.WEIGHT"):
        check_settings(tmp_path, {LENGTHS: [2, 6], "HML.CR.WEIGHT": 2.0}, hints, {LENGTHS})
    for length, note in ((6, "4 to 6"), (8, "6 to 8")):
        new = {LENGTHS: [2, length], "HML.CR.WEIGHT": 1.0}
        check_settings(tmp_path, new, hints, {LENGTHS})
        record_settings(tmp_path, new, [note])
        check_settings(tmp_path, new)
    assert json.loads((tmp_path / "settings.json").read_text())["extended"] == ["4 to 6", "6 to 8"]


def test_a_stage_that_its_schedule_ended_is_not_lengthened(tmp_path):
    state = {"iteration": 40, "scheduler": {"stage_count": 3}}
    check_schedule(state, 4, tmp_path / "model_final.pth")
    with pytest.raises(HMLError, match="ended at iteration 40 .*MAX_DECAY_STEP 3, not by its length"):
        check_schedule(state, 3, tmp_path / "model_final.pth")
