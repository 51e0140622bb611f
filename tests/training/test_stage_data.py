"""A stage's view of a dataset: labels, ignored pairs, images, counts, batches."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.pair_sampling import draw_stage_rows
from maskrcnn_benchmark_hml.host.training_data import apply_stage
from maskrcnn_benchmark_hml.training import data
from maskrcnn_benchmark_hml.training.seeding import derive_seed
from maskrcnn_benchmark_hml.training.stage_loader import SeededItems, StageBatches, stage_loader
from maskrcnn_benchmark_hml.training.stages import Stage

CLASSES = 6  # background, coarse 1-2, fine 3-5


def hml(**stages):
    node = add_hml_config(CfgNode()).HML
    for name, value in stages.items():
        node.STAGES[name] = value
    return node


def stage(labels=(3, 4, 5), policy="only", index=2, repeats=()):
    return Stage(index, 2, labels, (0, 1, 2), policy, 10, True, Path("."), Path("memory.pt"), repeats=repeats)


def dataset():
    relations = [
        np.array([[0, 1, 1], [1, 2, 3]]),  # one coarse, one fine pair
        np.array([[0, 1, 1], [0, 1, 4], [2, 0, 2]]),  # a pair with both, another with coarse only
        np.array([[0, 1, 2]]),  # coarse only
        np.array([[0, 1, 5], [1, 0, 3]]),  # fine only
    ]
    boxes = [np.zeros((n, 4)) for n in (3, 3, 2, 4)]
    return SimpleNamespace(
        relationships=relations, gt_boxes=boxes, gt_classes=[np.ones(len(b)) for b in boxes],
        gt_attributes=[np.zeros((len(b), 10)) for b in boxes], filenames=list("abcd"),
        img_info=[{"i": i} for i in range(4)], idx_list=[0, 1, 2, 3], id_to_img_map={i: i for i in range(4)},
    )


def test_only_keeps_stage_images_and_reduces_shared_pairs():
    d = dataset()
    kept = apply_stage(d, stage(), CLASSES, hml(), pairs_per_image=100, positive_fraction=0.25)
    assert d.filenames == ["a", "b", "d"] and d.idx_list == [0, 1, 2]
    assert all(len(getattr(d, n)) == 3 for n in ("relationships", "gt_boxes", "gt_classes", "gt_attributes"))
    # pair (0, 1) of image b keeps its fine predicate only; the coarse-only pair (2, 0) stays, so it is no background
    assert d.relationships[1].tolist() == [[0, 1, 4], [2, 0, 2]]
    assert kept.counts[1:].tolist() == [0, 0, 2, 1, 1] and kept.relations == 4
    # candidates for background: 6-2, 6-2, 12-2 ordered pairs, annotated ones excluded
    assert kept.counts[0] == 4 + 4 + 10
    assert (kept.images, kept.images_before, kept.relations_before) == (3, 4, 8)


def test_background_count_respects_the_sampler_size():
    kept = apply_stage(dataset(), stage(), CLASSES, hml(), pairs_per_image=4, positive_fraction=0.25)
    assert kept.counts[0] == 3 * (4 - 1)


def test_containing_keeps_all_labels_of_its_images():
    d = dataset()
    kept = apply_stage(d, stage(policy="containing"), CLASSES, hml(), 100, 0.25)
    assert d.filenames == ["a", "b", "d"]
    assert d.relationships[1].tolist() == [[0, 1, 1], [0, 1, 4], [2, 0, 2]]
    assert kept.counts[1:].tolist() == [2, 1, 2, 1, 1]


def test_pure_images_keeps_only_images_all_of_the_stage():
    d = dataset()
    apply_stage(d, stage((1, 2), "pure_images", 1), CLASSES, hml(), 100, 0.25)
    assert d.filenames == ["c"]


def test_oversampling_repeats_images_by_their_rarest_predicate():
    d = dataset()
    # counts: 1 -> 2, 2 -> 2, 3 -> 2, 4 -> 1, 5 -> 1; ranks 1..5 in that order
    node = hml(OVERSAMPLE_RANKS=(3, 4, 5))
    apply_stage(d, stage(policy="containing", repeats=(1, 2, 3)), CLASSES, node, 100, 0.25)
    assert d.filenames == ["a", "b", "b", "d", "d", "d"]


def test_the_control_repeats_images_of_the_whole_set_and_keeps_all_labels():
    d = dataset()
    node = hml(OVERSAMPLE_RANKS=(3, 4))
    kept = apply_stage(d, stage((1, 2, 3, 4, 5), "all", 1, repeats=(1, 2)), CLASSES, node, 100, 0.25)
    assert d.filenames == ["a", "b", "b", "c", "d", "d"]  # rank 5 lies beyond the bounds: the last factor
    assert kept.counts[1:].tolist() == [3, 3, 3, 2, 2]


def test_all_keeps_every_image_with_a_relation_and_all_labels_in_a_staged_run():
    d = dataset()
    kept = apply_stage(d, stage(policy="all"), CLASSES, hml(), 100, 0.25)
    assert d.filenames == ["a", "b", "c", "d"] and kept.relations == kept.relations_before == 8


def test_ignored_pairs_are_no_positives_in_the_background_count():
    kept = apply_stage(dataset(), stage(), CLASSES, hml(), pairs_per_image=4, positive_fraction=0.5)
    assert kept.counts[0] == (4 - 1) + (4 - 1) + (4 - 2)  # at most 2 positives; images a and b have one of the stage


@pytest.mark.parametrize("flip", [False, True])
def test_pairs_are_told_apart_by_both_boxes(flip):
    """Pairs that share the subject, the object, or have the same boxes the other way round are different pairs."""
    d = dataset()
    pairs = [(0, 5), (0, 6), (1, 5), (5, 0), (2, 1), (0, 5)]  # five of them; the sixth is the first once more
    pairs = [pair[::-1] for pair in pairs] if flip else pairs
    d.relationships = [np.array([(*pair, 3) for pair in pairs]), *d.relationships[1:]]
    d.gt_boxes = [np.zeros((7, 4)), *d.gt_boxes[1:]]
    for name in ("relationships", "gt_boxes", "gt_classes", "gt_attributes", "filenames", "img_info", "idx_list"):
        setattr(d, name, getattr(d, name)[:1])
    d.id_to_img_map = {0: 0}
    kept = apply_stage(d, stage(), CLASSES, hml(), pairs_per_image=100, positive_fraction=0.25)
    assert kept.counts[0] == 7 * 6 - 5
    assert apply_stage(d, stage(), CLASSES, hml(), 8, 1.0).counts[0] == 8 - 5


def test_the_largest_object_box_does_not_run_into_the_next_subject():
    """With a width from the subjects alone, (0, 3) and (1, 1) would be one pair of a table of two columns."""
    labels = stage().label_mask(CLASSES)
    for column in (0, 1):
        rows = np.array([(0, 3, 1), (1, 1, 3), (0, 2, 1), (1, 0, 3)])
        rows[:, :2] = rows[:, [column, 1 - column]]
        assert data.stage_relations(rows, labels).tolist() == rows.tolist()


def test_a_pair_is_reduced_by_its_own_labels_alone():
    """Not by those of a pair that shares the subject or the object, or is the other way round."""
    rows = np.array([[0, 2, 3], [1, 2, 1], [0, 1, 1], [2, 0, 1], [0, 2, 1], [0, 2, 4]])
    assert data.stage_relations(rows, stage().label_mask(CLASSES)).tolist() == np.delete(rows, 4, 0).tolist()


def test_images_without_relations_and_wrong_labels():
    labels = stage().label_mask(CLASSES)
    empty = np.zeros((0, 3), int)
    assert data.stage_relations(empty, labels) is empty
    assert data.stage_relations(np.array([[0, 1, 3]]), labels).tolist() == [[0, 1, 3]]
    assert data.stage_relations(np.array([[0, 1, 1]]), labels).tolist() == [[0, 1, 1]]  # one row of another stage
    assert data.label_counts([], 4).tolist() == data.label_counts([empty, empty], 4).tolist() == [0, 0, 0, 0]
    assert data.label_counts([[[0, 1, 3]], empty, [[1, 0, 3], [0, 1, 1]]], 4).tolist() == [0, 1, 0, 2]
    for wrong in (0, 4):
        with pytest.raises(HMLError, match="the dataset has predicate index .* but the model has 4 classes"):
            data.label_counts([[[0, 1, 2], [0, 1, wrong]]], 4)
    relations = [np.array([[0, 1, 3]]), empty, empty, np.array([[0, 1, 1]])]
    keep, kept, found = data.stage_view(relations, [2, 5, 5, 2], stage(), CLASSES, hml(), 100, 0.25)
    assert keep.tolist() == [0] and found.images == 1 and found.counts.tolist() == [1, 0, 0, 1, 0, 0]
    assert found.describe() == "keeps 1 of 4 images and 1 of 2 relations as labels"


def test_background_is_never_below_zero():
    """More positives than the sampler takes, or more annotated pairs than there are ordered pairs of boxes."""
    relations = [np.array([[0, 1, 3], [1, 0, 3], [0, 0, 4]]), np.array([[0, 1, 3]])]
    found = data.stage_view(relations, [2, 4], stage(), CLASSES, hml(), 64, 0.25)[2]
    assert found.counts[0] == 0 + 4 * 3 - 1
    assert data.stage_view(relations, [2, 4], stage(), CLASSES, hml(), 0, 1.0)[2].counts[0] == 0
    # int() of the share: 3 pairs, of which at most 1.5 are positives
    assert data.stage_view(relations, [20, 20], stage(), CLASSES, hml(), 3, 0.5)[2].counts[0] == 2 + 2


def test_the_rarest_predicate_decides_with_ties_by_index():
    relations = [np.array([[0, 1, 1]]), np.array([[0, 1, 1], [0, 2, 2]]), np.array([[0, 1, 3]])]
    counts = np.array([9, 5, 2, 2])  # ranks 1, 2, 3 whatever stands for the background
    node = hml(OVERSAMPLE_RANKS=(1, 2))
    every = stage((1, 2, 3), "all", 1, repeats=(1, 2, 4))
    assert data.select_images(relations, every, counts, node).tolist() == [0, 1, 1, 2, 2, 2, 2]
    short = stage((1, 2, 3), "all", 1, repeats=(1, 3))
    assert data.select_images(relations, short, counts, node).tolist() == [0, 1, 1, 1, 2, 2, 2]


def test_empty_stage_and_wrong_index_are_refused():
    with pytest.raises(HMLError, match="stage 2 of 2 is empty: no training image has one of its predicates"):
        d = dataset()
        d.relationships = [r[np.isin(r[:, 2], (1, 2))] for r in d.relationships]
        apply_stage(d, stage(), CLASSES, hml(), 100, 0.25)
    with pytest.raises(HMLError, match="predicate index 5 but the model has 5 classes"):
        apply_stage(dataset(), stage((3, 4)), 5, hml(), 100, 0.25)
    with pytest.raises(HMLError, match=r"only relations of its predicates \(on, ...\), .* policy 'pure_images'"):
        d, names = dataset(), ["", "on", "of", "in", "", ""]
        relations = d.relationships
        data.select_images(relations, stage((1,), "pure_images"), data.label_counts(relations, 6), hml(), names)


def test_ignored_pairs_leave_every_per_pair_list():
    labels = [torch.tensor([0, 1, 3, 2, 0]), torch.tensor([1, 2])]
    pairs = [torch.arange(10).view(5, 2), torch.arange(4).view(2, 2)]
    binary = [torch.zeros(5, 5), torch.zeros(2, 2)]  # as many objects as pairs: must not be cut
    extra = [torch.arange(5.0), torch.arange(2.0)]
    out = draw_stage_rows(("boxes", labels, pairs, binary, extra), (3, 4, 5))
    assert out[0] == "boxes" and out[3][0].shape == (5, 5)
    assert out[1][0].tolist() == [0, 3, 0] and out[2][0].tolist() == [[0, 1], [4, 5], [8, 9]]
    assert out[4][0].tolist() == [0.0, 2.0, 4.0]
    # nothing of the stage is left in image 2: one row stays, with its own label (class weight 0), never as background
    assert out[1][1].tolist() == [1] and len(out[2][1]) == 1


def take(batches, n=None):
    rows = [[index for index, _ in batch] for batch in batches]
    return rows[:n]


def batches(**changes):
    settings = dict(groups=[i % 2 for i in range(11)], batch=4, iterations=12, start=0, seed=(3, 1))
    return StageBatches(**{**settings, **changes})


def test_batches_resume_anywhere_and_depend_on_seed_and_stage():
    whole = list(batches())
    assert len(whole) == len(batches()) == 12
    for start in (0, 1, 5, 11, 12):
        assert list(batches(start=start)) == whole[start:]
    assert take(batches(seed=(3, 2))) != take(whole) != take(batches(seed=(4, 1)))
    assert all(len({i % 2 for i in rows}) == 1 for rows in take(whole))  # one orientation per batch
    counts = np.bincount([i for rows in take(batches(iterations=55)) for i in rows])
    assert counts.max() - counts.min() <= 2  # leftovers are carried over, not dropped


def test_ranks_share_the_global_batch():
    whole = list(batches())
    parts = [list(batches(rank=r, world=2)) for r in (0, 1)]
    for at, batch in enumerate(whole):
        assert sorted(parts[0][at] + parts[1][at]) == sorted(batch)
    with pytest.raises(HMLError, match="not divisible"):
        batches(world=3)


def test_a_stage_that_has_ended_yields_nothing_and_is_as_long_as_before():
    ended = batches(stopped=lambda: True)
    assert list(ended) == [] and len(ended) == 12
    assert list(batches(iterations=0)) == [] and len(list(batches(iterations=1))) == 1


def test_items_have_seeds_of_their_own():
    seeds = [seed for batch in batches(iterations=30) for _, seed in batch]
    assert len(set(seeds)) == len(seeds) == 120
    assert seeds[:2] == [derive_seed(3, 1, 2, 0, 0), derive_seed(3, 1, 2, 0, 1)]  # a resumed run has the same


def test_the_hosts_loader_keeps_its_settings():
    def collate(batch):
        return batch

    host = DataLoader(Noisy(), batch_size=2, num_workers=2, collate_fn=collate, timeout=7, prefetch_factor=3,
                      persistent_workers=True, worker_init_fn=collate, multiprocessing_context="spawn")  # fmt: skip
    ours = stage_loader(host, batches(iterations=4))
    for name in ("num_workers", "collate_fn", "timeout", "prefetch_factor", "persistent_workers", "worker_init_fn",
                 "multiprocessing_context", "pin_memory"):  # fmt: skip
        assert getattr(ours, name) == getattr(host, name), name
    assert len(ours.dataset) == 11 and ours.dataset.extra == "of the dataset" and ours.generator is not None
    assert stage_loader(DataLoader(Noisy()), batches()).num_workers == 0
    with pytest.raises(AttributeError):
        SeededItems.__new__(SeededItems).dataset  # noqa: B018


class Noisy(Dataset):
    extra = "of the dataset"

    def __len__(self):
        return 11

    def __getitem__(self, index):
        import random

        return index, torch.rand(1).item(), np.random.rand(), random.random()


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_seeded_whatever_the_worker_count(workers):
    def run(count):
        host = DataLoader(Noisy(), batch_size=2, num_workers=count, collate_fn=list)
        return [batch for batch in stage_loader(host, batches(iterations=4))]

    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    assert run(workers) == run(0)
    assert torch.equal(state, torch.random.get_rng_state())  # the training's own stream is untouched
