"""Order and randomness of the batches: a function of seed and iteration, whatever runs them."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.samplers import (
    DistributedSampler,
    GroupedBatchSampler,
    IterationBasedBatchSampler,
    ShuffledSampler,
)
from maskrcnn_benchmark.data.seeding import SeededIndex, drawn_from
from torch.utils.data import SequentialSampler

from maskrcnn_benchmark_hml.errors import HMLError


def content(loader):
    """Everything that a batch shows."""
    return [
        (ids, images.tensors, [t.bbox for t in targets], [t.get_field("relation") for t in targets])
        for images, targets, ids in loader
    ]


def same(one, two):
    assert [batch[0] for batch in one] == [batch[0] for batch in two]
    for a, b in zip(one, two):
        assert torch.equal(a[1], b[1])
        assert all(torch.equal(x, y) for part in (2, 3) for x, y in zip(a[part], b[part]))
    return True


def test_a_resumed_loader_continues_the_uninterrupted_one(tiny_cfg):
    whole = content(make_data_loader(tiny_cfg))
    assert len(whole) == 20
    for start in (1, 6, 7, 13, 20):
        assert same(content(make_data_loader(tiny_cfg, start_iter=start)), whole[start:])


def test_workers_and_outer_randomness_change_nothing(tiny_cfg):
    tiny_cfg.SOLVER.MAX_ITER = 5
    alone = content(make_data_loader(tiny_cfg))
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    tiny_cfg.DATALOADER.NUM_WORKERS = 2
    assert same(content(make_data_loader(tiny_cfg)), alone)


def test_loading_leaves_the_generators_alone(tiny_cfg):
    tiny_cfg.SOLVER.MAX_ITER = 3
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    content(make_data_loader(tiny_cfg))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_seed_and_epoch_change_the_order(tiny_cfg):
    ids = [batch[0] for batch in content(make_data_loader(tiny_cfg))]
    tiny_cfg.SOLVER.SEED = 1
    assert [batch[0] for batch in content(make_data_loader(tiny_cfg))] != ids
    size = len(make_data_loader(tiny_cfg).dataset)
    per_epoch = [i for batch in ids for i in batch]
    assert sorted(per_epoch[:size]) == list(range(size)) and per_epoch[:size] != per_epoch[size : 2 * size]


def test_batches_hold_one_shape_group(tiny_cfg):
    loader = make_data_loader(tiny_cfg)
    for _, targets, _ in loader:
        assert len({t.size[0] > t.size[1] for t in targets}) == 1


def test_the_test_loader_is_in_order_and_unaltered(tiny_cfg):
    (loader,) = make_data_loader(tiny_cfg, "test")
    ids = [i for _, _, batch in loader for i in batch]
    assert ids == list(range(len(loader.dataset)))
    assert all(min(targets[0].size) == 48 for _, targets, _ in loader)


def test_processes_share_each_global_batch():
    order = ShuffledSampler(range(23), seed=3)
    batches = GroupedBatchSampler(order, [i % 2 for i in range(23)], 4)
    whole = list(IterationBasedBatchSampler(batches, 15, seed=3))
    ranks = [list(IterationBasedBatchSampler(batches, 15, seed=3, rank=r, num_replicas=2)) for r in (0, 1)]
    for batch, *shares in zip(whole, *ranks):
        assert len(shares[0]) == len(shares[1]) > 0
        joined = shares[0] + shares[1]
        assert joined[: len(batch)] == batch and set(joined) == set(batch)
        assert {int(i): i.seed for i in joined} == {int(i): i.seed for i in batch}


def test_grouping_follows_the_order():
    sampler = GroupedBatchSampler(SequentialSampler(range(7)), [0, 1, 0, 0, 1, 0, 1], 2)
    assert list(sampler) == [[0, 2], [1, 4], [3, 5], [6]] and len(sampler) == 4
    sampler.drop_uneven = True
    assert list(sampler) == [[0, 2], [1, 4], [3, 5]]


def test_distributed_shares_cover_the_dataset():
    shares = [list(DistributedSampler(range(10), 4, rank, shuffle=False)) for rank in range(4)]
    assert [len(share) for share in shares] == [3] * 4 and sum(shares, [])[:10] == list(range(10))
    shuffled = [DistributedSampler(range(10), 2, rank) for rank in (0, 1)]
    assert sorted(i for sampler in shuffled for i in sampler) == list(range(10))
    first = list(shuffled[0])
    shuffled[0].set_epoch(1)
    assert list(shuffled[0]) != first


def test_seeded_index_survives_pickling():
    index = pickle.loads(pickle.dumps(SeededIndex(5, 77)))
    assert index == 5 and index.seed == 77


def test_drawn_from_puts_the_generators_back_after_an_error():
    random.seed(1)
    expected = random.Random(1).random()
    with pytest.raises(RuntimeError), drawn_from(5):
        random.random()
        raise RuntimeError
    assert random.random() == expected


@pytest.mark.parametrize(("key", "value", "sentence"), [
    ("SOLVER.IMS_PER_BATCH", 0, "positive multiple"),
    ("DATASETS.TRAIN", (), "exactly one"),
    ("DATASETS.TRAIN", ("VG_stanford_filtered_with_attribute_train",) * 2, "exactly one"),
    ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 151, "NUM_CLASSES is 151, but .* has 6 object classes"),
    ("MODEL.ROI_RELATION_HEAD.NUM_CLASSES", 51, "NUM_CLASSES is 51, but .* has 5 predicates"),
    ("PATHS_CATALOG", "/nowhere/catalog.py", "catalog.py"),
])  # fmt: skip
def test_wrong_settings_are_named(tiny_cfg, key, value, sentence):
    tiny_cfg.merge_from_list([key, value])
    with pytest.raises(HMLError, match=sentence):
        make_data_loader(tiny_cfg)


def test_wrong_mode(tiny_cfg):
    with pytest.raises(HMLError, match="'training'"):
        make_data_loader(tiny_cfg, "training")


def test_box_evaluation_is_asked_for_before_the_network_runs(tiny_cfg, monkeypatch):
    tiny_cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL = False
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HMLError, match="pip install pycocotools"):
        make_data_loader(tiny_cfg, "test")
