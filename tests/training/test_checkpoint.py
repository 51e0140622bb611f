"""Resume files and the settings of a run's folder: what is refused, what is removed, and what the message offers."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.run_folder import settings_file
from maskrcnn_benchmark_hml.training import checkpoint
from maskrcnn_benchmark_hml.training.stages import LENGTHS

WEIGHT = "HML.CR.WEIGHT"


def provenance(stage=1, **settings) -> dict:
    return {"stage": stage, "settings": json.dumps({WEIGHT: 1.0, LENGTHS: [10, 20], **settings})}


def test_a_file_of_this_run_and_stage_is_accepted(tmp_path):
    checkpoint.check_provenance(tmp_path / "memory.pt", provenance(), provenance())
    checkpoint.check_provenance(tmp_path / "memory.pt", provenance(**{WEIGHT: 2.0}), provenance(), free={WEIGHT})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "memory.pt does not say which run wrote it .another version of hml..; restore .* it to train its stage"),
        ({"stage": 1}, "does not say which run wrote it"),
        ({"settings": "{}"}, "does not say which run wrote it"),
        (provenance(2), "memory.pt is of stage 2, not of stage 1; restore this run's own file, or delete it to train"),
        (provenance(**{WEIGHT: 2.0}), "memory.pt is of another run: HML.CR.WEIGHT is 2.0 in it and 1.0 here; restore"),
        (provenance(NEW=3), "memory.pt is of another run: NEW is 3 in it and None here"),
    ],
)
def test_a_file_of_another_run_or_stage_is_refused(tmp_path, found, words):
    with pytest.raises(HMLError, match=words):
        checkpoint.check_provenance(tmp_path / "memory.pt", found, provenance(), free={"HML.SEED"})
    with pytest.raises(HMLError, match="delete .*last_checkpoint to start the stage afresh"):
        checkpoint.check_provenance(tmp_path / "model_1.hml.pt", found, provenance())


@pytest.mark.parametrize(
    ("stage", "theirs", "ours", "same"),
    [
        (1, [10, 20], [10, 30], True),  # a later stage's length may change
        (1, [10, 20], [11, 20], False),
        (2, [10, 20], [10, 30], False),
        (2, [10], [10, 10], True),  # the last entry goes for all later stages
        (2, [10, 20, 30], [10, 20], True),
    ],
)
def test_lengths_count_up_to_the_files_own_stage(tmp_path, stage, theirs, ours, same):
    found, run = provenance(stage, **{LENGTHS: theirs}), provenance(stage, **{LENGTHS: ours})
    if same:
        return checkpoint.check_provenance(tmp_path / "memory.pt", found, run)
    with pytest.raises(HMLError, match=f"is of another run: {LENGTHS} is "):
        checkpoint.check_provenance(tmp_path / "memory.pt", found, run)


# ---- settings of a folder ----


def test_free_settings_may_change_and_are_returned(tmp_path):
    assert checkpoint.check_settings(tmp_path, {"A": 1, "B": 2}) == {}
    assert checkpoint.check_settings(tmp_path, {"A": 1, "B": 2}) == {}
    assert checkpoint.check_settings(tmp_path, {"A": 1, "B": 3}, free={"B"}) == {"B": "2 -> 3"}
    assert checkpoint.recorded_settings(tmp_path) == {"A": 1, "B": 2}  # recorded by the caller, with a note
    with pytest.raises(HMLError, match="begun with A = 1, now it is 2; choose .*give the old value to resume; try C$"):
        checkpoint.check_settings(tmp_path, {"A": 2, "B": 3}, hints={"A": "try C", "B": "no"}, free={"B"})
    with pytest.raises(HMLError, match="begun with B = 2, now it is 3; .* to resume$"):
        checkpoint.check_settings(tmp_path, {"A": 1, "B": 3}, hints={"A": "try C"})


def test_changes_on_purpose_are_listed_apart_from_the_settings(tmp_path):
    assert checkpoint.recorded_settings(tmp_path) == {} and checkpoint.changed_on_purpose(tmp_path) == set()
    checkpoint.record_settings(tmp_path, {"A": 1, "B": 2})
    assert json.loads(settings_file(tmp_path).read_text()) == {"A": 1, "B": 2}
    checkpoint.record_settings(tmp_path, {"A": 3, "B": 2}, ["A 1 -> 3 at iteration 4"])
    checkpoint.record_settings(tmp_path, {"A": 3, "B": 5}, ["B 2 -> 5"])
    assert checkpoint.recorded_settings(tmp_path) == {"A": 3, "B": 5}
    assert checkpoint.changed_on_purpose(tmp_path) == {"A", "B"}
    stored = json.loads(settings_file(tmp_path).read_text())
    assert stored["extended"] == ["A 1 -> 3 at iteration 4", "B 2 -> 5"]
    assert checkpoint.check_settings(tmp_path, {"A": 3, "B": 5}) == {}


@pytest.mark.parametrize(("text", "words"), [("{", "is not readable JSON; delete it"), ("[1]", "holds no settings")])
def test_a_damaged_file_of_settings_is_named(tmp_path, text, words):
    settings_file(tmp_path).parent.mkdir(parents=True, exist_ok=True)
    settings_file(tmp_path).write_text(text)
    with pytest.raises(HMLError, match=words):
        checkpoint.recorded_settings(tmp_path)


# ---- resume files ----


def pair(folder, iteration, keep=9):
    path = folder / f"model_{iteration:07d}.pth"
    torch.save({"model": {"w": torch.arange(300.0) + iteration}}, path)
    checkpoint.write_state(path, {"iteration": iteration}, keep)
    os.utime(checkpoint.state_file(path), ns=(iteration, iteration))
    return path


def states(folder) -> list[int]:
    return sorted(int(path.name[6:13]) for path in folder.glob("*.hml.pt"))


def test_the_newest_resume_files_are_kept_by_time_and_the_new_one_always(tmp_path):
    for iteration in (4, 1, 3, 2):
        pair(tmp_path, iteration)
    os.utime(checkpoint.state_file(tmp_path / "model_0000004.pth"), ns=(0, 0))  # the oldest, whatever its number
    pair(tmp_path, 5, keep=3)
    assert states(tmp_path) == [2, 3, 5]
    pair(tmp_path, 6, keep=1)
    assert states(tmp_path) == [6]


def test_what_a_damaged_pair_offers(tmp_path):
    first, second, third = (pair(tmp_path, iteration) for iteration in (1, 3, 2))
    state = checkpoint.state_file(second)
    whole, stored = second.read_bytes(), state.read_bytes()
    newest = f"write {third} into {tmp_path / 'last_checkpoint'} to resume from there"

    def refused(words: str) -> None:
        with pytest.raises(HMLError) as error:
            checkpoint.read_state(second)
        assert words in str(error.value) and str(error.value).endswith(newest)

    second.write_bytes(whole + b"x")
    refused(f"has {len(whole) + 1} bytes but {len(whole)} were written: it is damaged")
    torch.save({"model": {"w": torch.arange(300.0)}}, second)
    assert second.stat().st_size == len(whole)
    refused(f"is not the one that was written with {state.name}: it is another run's, or damaged")
    at = whole.index(b"\0\0\x80\x40")  # the number 4
    second.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    refused(f"the checkpoint {second} is")
    second.write_bytes(whole)
    for content in ([1], {"iteration": 3}, {"checkpoint_bytes": len(whole)}):
        torch.save(content, state)
        refused("has another content than a resume file")
    torch.save({"iteration": 3, "checkpoint_bytes": len(whole)}, state)  # of a version that wrote no digest
    assert checkpoint.read_state(second)["iteration"] == 3
    state.write_bytes(stored)
    assert checkpoint.read_state(second)["iteration"] == 3
    state.write_bytes(stored[:50])
    for path in (first, third):
        checkpoint.state_file(path).unlink()
    with pytest.raises(HMLError, match="is damaged; delete .*last_checkpoint to start the stage afresh"):
        checkpoint.read_state(second)


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path):
    pair(tmp_path, 1)
    kept = sorted(tmp_path.iterdir())
    for name in (".model_0000002.hml.pt.4194304.part", "model_0000002.part.pth"):
        (tmp_path / name).write_bytes(b"half")
    checkpoint.remove_halves(tmp_path)
    assert sorted(tmp_path.iterdir()) == kept


def test_plain_keeps_containers_of_plain_values_alone():
    named = SimpleNamespace(x=1)
    state = {"list": [1, [2.0, "a"]], "tuple": (True, None), "bad list": [1, named],
             "deep": {"a": {"b": named, "c": 2}}, (1, 2): 3, 4: "four", 0.5: [], "torch": torch.ones(2),
             "size": torch.Size([2])}  # fmt: skip
    kept = checkpoint.plain(state)
    assert list(kept) == ["list", "tuple", "deep", 4, 0.5, "torch"]
    assert kept["list"] == [1, [2.0, "a"]] and kept["tuple"] == (True, None) and type(kept["tuple"]) is tuple
    assert kept["deep"] == {"a": {"c": 2}} and kept[4] == "four"

    class Number(float):
        pass

    assert checkpoint.plain({"a": Number(2), "b": 2.0}) == {"b": 2.0}
