"""The file between two stages: exact, verified, written aside; and bad input to the losses."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.losses import class_balanced_loss, class_balanced_weights, concept_reconstruction
from maskrcnn_benchmark_hml.method.memory import StageMemory


def memory(**changes) -> StageMemory:
    base = torch.arange(24, dtype=torch.float32)
    content = {
        "stage": 1,
        "head": {
            "predictor.w": base.view(4, 6),
            "predictor.half": torch.tensor([0.5, -2.0, 7.0], dtype=torch.bfloat16),
            "predictor.bn.num_batches_tracked": torch.tensor(7),
            "empty": torch.zeros(0),
        },
        "fisher": {"predictor.w": base[:6]},  # a view: its storage is four times as large
        "omega": {"predictor.w": base[6:12]},
        "provenance": {"seed": 3, "tree": "abc", "iterations": [8000, 16000]},
    }
    return StageMemory(**{**content, **changes})


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "stage1" / "memory.pth"
    original = memory()
    assert original.save(path) == original.digest
    read = StageMemory.load(path)
    assert (read.stage, read.provenance, read.digest) == (1, original.provenance, original.digest)
    for part in ("head", "fisher", "omega"):
        ours, theirs = getattr(original, part), getattr(read, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in ours)
    assert [p.name for p in path.parent.iterdir()] == ["memory.pth"]


def test_views_do_not_bring_their_storage_into_the_file(tmp_path):
    """A view of a large tensor, at its start, its end or with strides, is saved with its own numbers alone."""
    large = torch.arange(1 << 20, dtype=torch.float32)
    views = {"start": large[:6], "end": large[-6:], "strided": large[:: 1 << 17], "rows": large.view(1024, 1024)[3:5]}
    path = tmp_path / "memory.pth"
    memory(head=views, fisher=views, omega=views).save(path)
    assert path.stat().st_size < 64 << 10  # the storage alone has 4 MiB
    read = StageMemory.load(path)
    for part in (read.head, read.fisher, read.omega):
        assert all(torch.equal(part[name], view) for name, view in views.items())
        assert all(t.untyped_storage().nbytes() == t.numel() * 4 for t in part.values())
    whole = {"a": large, "b": large.view(1024, 1024)}  # one tensor under two names is written once
    memory(head=whole, fisher={}, omega={}).save(path)
    assert path.stat().st_size < 4.1 * (1 << 20)


def test_digest_tells_differences_apart():
    base = memory().digest
    assert memory().digest == base
    assert memory(stage=2).digest != base
    assert memory(provenance={"seed": 4}).digest != base
    assert memory(fisher={"predictor.w": torch.zeros(6)}).digest != base
    assert memory(fisher={"predictor.v": torch.arange(6.0)}).digest != base
    head = dict(memory().head)
    head["predictor.w"] = head["predictor.w"].reshape(6, 4)
    assert memory(head=head).digest != base


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_torn_file_is_named(tmp_path, keep):
    path = tmp_path / "memory.pth"
    memory().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(HMLError, match="torn or damaged; delete it and train that stage again"):
        StageMemory.load(path)


def test_an_altered_file_is_named(tmp_path):
    path = tmp_path / "memory.pth"
    memory().save(path)
    content = torch.load(path, weights_only=True)
    content["fisher"]["predictor.w"][2] += 1e-6
    torch.save(content, path)
    with pytest.raises(HMLError, match="torn or damaged"):
        StageMemory.load(path)
    content.pop("omega")
    torch.save(content, path)
    with pytest.raises(HMLError, match="torn or damaged"):
        StageMemory.load(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "memory.pth"
    with pytest.raises(HMLError, match="does not exist; train the stage before it"):
        StageMemory.load(path)
    torch.save({"model": {}}, path)
    with pytest.raises(HMLError, match="is no stage memory"):
        StageMemory.load(path)
    memory().save(path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": 99}, path)
    with pytest.raises(HMLError, match="version 99"):
        StageMemory.load(path)


def test_a_failed_save_keeps_the_old_file(tmp_path):
    path = tmp_path / "memory.pth"
    memory().save(path)
    old = path.read_bytes()
    with pytest.raises(HMLError, match="plain values"):
        memory(provenance={"cfg": object()}).save(path)
    assert path.read_bytes() == old
    (tmp_path / "file").write_text("")
    with pytest.raises(HMLError, match="cannot be written"):
        memory().save(tmp_path / "file" / "memory.pth")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "memory.pth"]


# -- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "gamma", "words"),
    [
        ([[1, 2], [3, 4]], None, "one number per class"),
        ([5], None, "one number per class"),
        ([1, -2, 3], None, "not negative"),
        ([1, float("nan")], None, "finite"),
        ([100, 0, 0], None, "no foreground label"),
        ([1, 2, 3], 1.0, "gamma is 1.0"),
        ([1, 2, 3], -0.1, "gamma is -0.1"),
    ],
)
def test_bad_counts_are_named(counts, gamma, words):
    with pytest.raises(HMLError, match=words):
        class_balanced_weights(counts, gamma)


def test_bad_loss_shapes_are_named():
    with pytest.raises(HMLError, match=r"must be \(N, C\), \(N,\) and \(C,\)"):
        class_balanced_loss(torch.zeros(3, 4), torch.zeros(2, dtype=torch.long), torch.ones(4))
    with pytest.raises(HMLError, match="must be"):
        class_balanced_loss(torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), torch.ones(5))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metric": "cosine"}, "metric 'cosine'"),
        ({"reduction": "sum"}, "reduction 'sum'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"teacher_logits": torch.zeros(4, 5)}, "of the same pairs"),
        ({"old_classes": torch.tensor([5])}, r"subset of 0..4"),
        ({"old_classes": torch.tensor([], dtype=torch.long)}, "non-empty"),
    ],
)
def test_bad_cr_input_is_named(arguments, words):
    base = {
        "student_logits": torch.zeros(3, 5),
        "teacher_logits": torch.zeros(3, 5),
        "old_classes": torch.tensor([0, 1]),
    }
    with pytest.raises(HMLError, match=words):
        concept_reconstruction(**{**base, **arguments})


def test_cr_of_no_pair_is_zero():
    student = torch.zeros(0, 5, requires_grad=True)
    value = concept_reconstruction(student, torch.zeros(0, 5), torch.tensor([0]))
    value.backward()
    assert value.item() == 0.0
