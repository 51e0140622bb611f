"""Planning of stages, resume files, settings of a run's folder, seeds."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.memory import StageMemory
from maskrcnn_benchmark_hml.method.tree_builders import build_frequency_tree
from maskrcnn_benchmark_hml.training import checkpoint, seeding
from maskrcnn_benchmark_hml.training.stages import plan_stages, run_stages

#: Of version 0.2.0.
SEEDS = [6375474604893067239, 7532623731273203193, 3781414858717725601]
NAMES = ["on", "has", "in", "riding", "eating"]
CLASSES = ["__background__", *NAMES]
TREE = build_frequency_tree(NAMES, dict(zip(NAMES, (50, 40, 30, 20, 10))), boundaries=(2,))


def config(**values):
    node = add_hml_config(CfgNode()).HML
    for name, value in values.items():
        target = node
        *parents, leaf = name.split("__")
        for parent in parents:
            target = target[parent]
        target[leaf] = value
    return node


def test_paper_plan(tmp_path):
    first, last = plan_stages(config(), TREE, CLASSES, tmp_path)
    assert (first.labels, first.old_classes, first.policy, first.iterations) == ((1, 2), (0,), "only", 8000)
    assert (last.labels, last.old_classes, last.policy, last.iterations) == ((3, 4, 5), (0, 1, 2), "containing", 16000)
    assert first.folder == tmp_path / "hml" / "stage1" and last.folder == tmp_path and last.is_last


def test_control_is_one_stage_of_equal_total_length(tmp_path):
    (only,) = plan_stages(config(CONTROL="class_balanced"), TREE, CLASSES, tmp_path)
    assert only.labels == (1, 2, 3, 4, 5) and only.policy == "all" and only.iterations == 24000 and only.is_last
    assert only.old_classes == (0,) and only.title() == "stage 1 of 1" and only.class_balanced
    (last,) = plan_stages(config(CONTROL="last_stage"), TREE, CLASSES, tmp_path)
    assert last.old_classes == (0, 1, 2) and last.title() == "stage 1 of 1" and last.iterations == 24000
    assert only.memory_file == last.memory_file == tmp_path / "hml" / "stage1" / "memory.pt"


@pytest.mark.parametrize(("lengths", "total"), [((5,), 10), ((5, 7), 12), ((5, 7, 9), 21)])
def test_a_control_has_the_iterations_of_all_entries_and_layers(tmp_path, lengths, total):
    (only,) = plan_stages(config(CONTROL="plain", STAGES__ITERATIONS=lengths), TREE, CLASSES, tmp_path)
    assert only.iterations == total


def test_a_stages_images_are_those_with_its_labels(tmp_path):
    first, last = plan_stages(config(STAGES__LABELS=("only", "all")), TREE, CLASSES, tmp_path)
    assert np.flatnonzero(first.label_mask(6)).tolist() == [1, 2] and first.label_mask(7).shape == (7,)
    assert np.flatnonzero(last.label_mask(6)).tolist() == [1, 2, 3, 4, 5]
    assert (first.title(), first.is_last, last.title(), last.is_last) == ("stage 1 of 2", False, "stage 2 of 2", True)
    assert (first.memory_file, last.memory_file) == tuple(tmp_path / f"hml/stage{k}/memory.pt" for k in (1, 2))
    assert last.repeats == () and last.policy == "all"


def test_controls_of_one_stage(tmp_path):
    def only(**settings):
        (stage,) = plan_stages(config(**settings), TREE, CLASSES, tmp_path)
        assert stage.iterations == 24000 and stage.is_last and stage.index == 1 and stage.folder == tmp_path
        return stage

    plain = only(CONTROL="plain", STAGES__OVERSAMPLE_REPEATS=(1, 2, 3))
    assert (plain.policy, plain.class_balanced, plain.repeats) == ("all", False, ())
    assert plain.labels == (1, 2, 3, 4, 5)
    again = only(CONTROL="oversampled")
    assert (again.policy, again.class_balanced, again.repeats) == ("all", False, (1, 5, 20))
    assert only(CONTROL="oversampled", STAGES__OVERSAMPLE_REPEATS=(1, 2, 3)).repeats == (1, 2, 3)
    last = only(CONTROL="last_stage", LOSS__CLASS_BALANCED=(True, False), STAGES__OVERSAMPLE_REPEATS=(1, 2, 3))
    assert (last.labels, last.policy, last.class_balanced, last.repeats) == ((3, 4, 5), "containing", False, (1, 2, 3))


def test_settings_per_stage_repeat_their_last_entry(tmp_path):
    first, last = plan_stages(config(LOSS__EXPONENT=(0.0, 0.5)), TREE, CLASSES, tmp_path)
    assert (first.exponent, last.exponent) == (0.0, 0.5)
    assert [s.exponent for s in plan_stages(config(LOSS__EXPONENT=(0.7,)), TREE, CLASSES, tmp_path)] == [0.7, 0.7]
    (control,) = plan_stages(config(CONTROL="class_balanced", LOSS__EXPONENT=(0.0, 0.5)), TREE, CLASSES, tmp_path)
    assert control.exponent == 0.5
    first, last = plan_stages(config(STAGES__OVERSAMPLE_REPEATS=(1, 5, 20)), TREE, CLASSES, tmp_path)
    assert (first.repeats, last.repeats) == ((), (1, 5, 20))


def test_lists_that_do_not_fit_the_tree_are_refused(tmp_path):
    with pytest.raises(HMLError, match="3 entries but the tree has 2 layers"):
        plan_stages(config(STAGES__LABELS=("only",) * 3), TREE, CLASSES, tmp_path)
    with pytest.raises(HMLError, match="LABELS has 1 entries but the tree has 2 layers; give one policy per layer"):
        plan_stages(config(STAGES__LABELS=("only",)), TREE, CLASSES, tmp_path)
    assert [s.iterations for s in plan_stages(config(STAGES__ITERATIONS=(3,)), TREE, CLASSES, tmp_path)] == [3, 3]
    with pytest.raises(HMLError, match="ITERATIONS has 3 entries"):
        plan_stages(config(STAGES__ITERATIONS=(1, 2, 3)), TREE, CLASSES, tmp_path)
    with pytest.raises(HMLError, match="flying"):
        plan_stages(config(), TREE, [*CLASSES[:-1], "flying"], tmp_path)


def test_finished_stages_are_not_trained_again(tmp_path):
    stages = plan_stages(config(), TREE, CLASSES, tmp_path)
    calls = []

    def train(stage, memory):
        calls.append((stage.index, memory.stage if memory else None))
        tensor = {"predictor.w": torch.ones(2)}
        if not stage.is_last:
            StageMemory(stage.index, tensor, tensor, tensor, {}).save(stage.memory_file)
        return f"model {stage.index}"

    assert run_stages(stages, train) == "model 2" and calls == [(1, None), (2, 1)]
    calls.clear()
    assert run_stages(stages, train) == "model 2" and calls == [(2, 1)]


def save_pair(folder, iteration, keep=2):
    path = folder / f"model_{iteration:07d}.pth"
    torch.save({"model": {}, "iteration": iteration}, path)
    checkpoint.write_state(path, {"iteration": iteration}, keep)
    return path


def test_resume_file_round_trip_and_pruning(tmp_path):
    paths = [save_pair(tmp_path, i) for i in (1, 2, 3)]
    assert checkpoint.read_state(paths[2])["iteration"] == 3
    assert sorted(p.name for p in tmp_path.glob("*.hml.pt")) == ["model_0000002.hml.pt", "model_0000003.hml.pt"]


def test_damaged_pairs_are_named_with_the_way_out(tmp_path):
    first, second = save_pair(tmp_path, 1), save_pair(tmp_path, 2)
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HMLError, match="damaged; write .*model_0000001.pth into"):
        checkpoint.read_state(second)
    state = checkpoint.state_file(first)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(HMLError, match="resume file .* is damaged"):
        checkpoint.read_state(first)
    state.unlink()
    with pytest.raises(HMLError, match="has no resume file"):
        checkpoint.read_state(first)
    first.unlink()
    with pytest.raises(HMLError, match="does not exist"):
        checkpoint.read_state(first)


def test_settings_of_a_folder_are_binding(tmp_path):
    checkpoint.check_settings(tmp_path, {"HML.CR.WEIGHT": 1.0, "labels": (1, 2)})
    checkpoint.check_settings(tmp_path, {"HML.CR.WEIGHT": 1.0, "labels": [1, 2]})
    with pytest.raises(HMLError, match="begun with HML.CR.WEIGHT = 1.0, now it is 2.0"):
        checkpoint.check_settings(tmp_path, {"HML.CR.WEIGHT": 2.0, "labels": [1, 2]})
    # A value of None cannot be given back: a setting that one version lacks is said to be just that.
    with pytest.raises(HMLError, match="was begun without the setting HML.NEW, by another version"):
        checkpoint.check_settings(tmp_path, {"HML.CR.WEIGHT": 2.0, "HML.NEW": 1, "labels": [1, 2]})
    with pytest.raises(HMLError, match="was begun with the setting labels, by another version"):
        checkpoint.check_settings(tmp_path, {"HML.CR.WEIGHT": 1.0})


def test_schedule_state_keeps_what_loads_without_code(tmp_path):
    state = checkpoint.plain({"lr": 0.1, "log": object(), "lrs": [0.1, 0.2], "nested": {"a": 1, 2: torch.ones(1)}})
    assert set(state) == {"lr", "lrs", "nested"} and set(state["nested"]) == {"a", 2}
    checkpoint.save_torch(state, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["lrs"] == [0.1, 0.2]
    assert list(tmp_path.iterdir()) == [tmp_path / "state.pt"]


def test_seeds_are_functions_of_their_parts():
    def draw(*parts):
        seeding.seed_everything(*parts)
        return torch.rand(1).item(), np.random.rand(), random.random()

    assert draw(0, 1, 5) == draw(0, 1, 5)
    assert len({draw(0, 1, 5), draw(0, 1, 6), draw(0, 2, 5), draw(1, 1, 5)}) == 4


@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1, 2**32, 2**32 + 3, 2**63 - 1])
def test_a_seeded_block_draws_its_own_numbers_and_leaves_the_others(seed):
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()

    with seeding.seeded(seed):
        drawn = draw()
    expected = random.Random(seed).random(), np.random.RandomState(seed % 2**32).rand()
    assert drawn[:0:-1] == expected and drawn[0] == torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()
    seeding.seed_everything(1)
    undisturbed = draw(), draw()
    seeding.seed_everything(1)
    first = draw()
    with pytest.raises(KeyError), seeding.seeded(seed):
        draw()
        raise KeyError
    assert (first, draw()) == undisturbed


def test_seeds_stay_the_same_between_versions(monkeypatch):
    """A run that was begun with an earlier version is resumed with its batches."""
    assert [seeding.derive_seed(*parts) for parts in ((0,), (0, 1, 5), (3, 2, 1, 0))] == SEEDS
    assert len({seeding.derive_seed(7, i) >> 62 for i in range(40)}) == 2  # 63 bits, all of them used
    for seed in (2**32 - 1, 2**32, 2**63 - 1):
        monkeypatch.setattr(seeding, "derive_seed", lambda *parts, seed=seed: seed)
        seeding.seed_everything(1)
        assert np.random.rand() == np.random.RandomState(seed % 2**32).rand()
        assert torch.initial_seed() == seed


@pytest.mark.parametrize("read", [checkpoint.read_state, StageMemory.load])
def test_a_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch, read):
    path = tmp_path / "model_0000001.pth"
    torch.save({}, path)
    checkpoint.write_state(path, {"iteration": 1}, keep=1)

    def load(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(HMLError, match="no permission"):
        read(path)
