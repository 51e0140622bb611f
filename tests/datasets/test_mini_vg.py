"""mini-VG: determinism, statistics, and that the fine relation can be told from the boxes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import TEST, TRAIN, check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg, token_shares, vg150_train_counts, vg150_vocabulary
from maskrcnn_benchmark_hml.datasets.mini_vg_grammar import ANCHOR_SIZE, POOLS, RULES, coarse_of
from maskrcnn_benchmark_hml.errors import HMLError


def digest(folder):
    """One hash over all files of a folder, names included."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def test_vocabulary_is_visual_genomes():
    vocabulary = vg150_vocabulary()
    assert (len(vocabulary.objects), len(vocabulary.predicates), len(vocabulary.attributes)) == (150, 50, 200)
    assert (vocabulary.objects[0], vocabulary.objects[149]) == ("airplane", "zebra")
    assert (vocabulary.predicates[0], vocabulary.predicates[30], vocabulary.predicates[49]) == ("above", "on", "with")
    counts = vg150_train_counts()
    assert tuple(counts) == vocabulary.predicates
    assert max(counts, key=counts.get) == "on" and counts["wears"] == 3659


def test_grammar_covers_the_vocabulary():
    vocabulary = vg150_vocabulary()
    assert sorted(rule.predicate for rule in RULES) == sorted(vocabulary.predicates)
    assert {name for pool in POOLS.values() for name in pool} == set(vocabulary.objects)
    coarse = {rule.predicate for rule in RULES if not rule.coarse}
    for rule in RULES:
        assert rule.coarse in coarse or rule.predicate in coarse
        assert set(rule.pairs) <= set(ANCHOR_SIZE)
        assert all(pool in POOLS for pools in rule.pairs.values() for pool in pools.split("|"))


def test_same_seed_same_bytes(tmp_path):
    folders = [make_mini_vg(tmp_path / str(i), images=60, seed=seed) for i, seed in enumerate((3, 3, 4))]
    assert digest(folders[0]) == digest(folders[1])
    assert digest(folders[0]) != digest(folders[2])


def test_default_size_is_correct_and_long_tailed(mini_vg):
    report = check_vg(mini_vg, open_pictures=True)
    assert report.images == report.with_relations == {"train": 2100, "test": 600}
    assert report.validation == 300
    assert 6 <= report.objects_per_image <= 10
    train = {name: counts["train"] for name, counts in report.predicate_counts.items()}
    assert max(train, key=train.get) == "on"
    assert 0.25 <= train["on"] / sum(train.values()) <= 0.35
    assert min(train.values()) >= 12
    assert sum(count < 50 for count in train.values()) >= 25
    assert min(counts["test"] for counts in report.predicate_counts.values()) >= 5
    labels = np.concatenate([record.labels for record in read_vg(mini_vg).records])
    assert set(labels) == set(range(1, 151))


def test_annotators_mostly_say_the_coarse_predicate():
    shares, coarse = token_shares(), coarse_of()
    for name, (named, unnamed) in shares.items():
        if coarse[name] != name:
            assert named / (named + unnamed) == pytest.approx(0.25)
    assert sum(map(sum, shares.values())) == pytest.approx(1)


def test_related_boxes_overlap(mini_vg):
    for record in read_vg(mini_vg).records:
        a, b = record.boxes[record.relations[:, 0]], record.boxes[record.relations[:, 1]]
        side = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
        assert (side > 0).all(), record.image_id


def geometry(record):
    """Per relation: satellite relative to anchor, the smaller object being the satellite; left and right folded."""
    area = np.prod(record.boxes[:, 2:] - record.boxes[:, :2], axis=1)
    subject, other = record.relations[:, 0], record.relations[:, 1]
    swap = area[subject] > area[other]
    small, large = np.where(swap, other, subject), np.where(swap, subject, other)
    a, b = record.boxes[small], record.boxes[large]
    size = b[:, 2:] - b[:, :2]
    centre = ((a[:, :2] + a[:, 2:]) / 2 - b[:, :2]) / size
    scale = (a[:, 2:] - a[:, :2]) / size
    return np.column_stack([np.abs(centre[:, 0] - 0.5), centre[:, 1], scale, 2 * swap])


def test_geometry_tells_the_fine_relations_apart(mini_vg):
    """Nearest class mean over the fine annotations: far above chance (1/42), so the relation can be seen."""
    vocabulary, coarse = vg150_vocabulary(), coarse_of()
    fine = [i for i, name in enumerate(vocabulary.predicates, 1) if coarse[name] != name]
    records = read_vg(mini_vg).records
    x, y, split = (
        np.concatenate([f(r) for r in records])
        for f in (geometry, lambda r: r.relations[:, 2], lambda r: np.full(len(r.relations), r.split))
    )
    means = np.stack([np.median(x[(split == TRAIN) & (y == i)], axis=0) for i in fine])
    test = (split == TEST) & np.isin(y, fine)
    guess = np.array(fine)[np.abs(x[test][:, None] - means).sum(2).argmin(1)]
    assert (guess == y[test]).mean() > 0.6


def test_pictures_show_the_objects(mini_vg):
    record = read_vg(mini_vg).records[0]
    with Image.open(mini_vg / "VG_100K" / record.photo_name()) as picture:
        assert picture.size == (record.width, record.height)
        assert np.asarray(picture, dtype=float).std() > 15


def test_bad_input(tmp_path, capsys):
    with pytest.raises(HMLError, match="at least 45 images"):
        make_mini_vg(tmp_path / "a", images=10)
    with pytest.raises(HMLError, match="seed must be 0 or more"):
        make_mini_vg(tmp_path / "a", seed=-1)
    assert not list(tmp_path.iterdir())
    assert main(["data", "make-mini-vg", str(tmp_path / "b"), "--images", "45"]) == 0
    assert main(["data", "make-mini-vg", str(tmp_path / "b"), "--images", "45"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["data", "make-mini-vg", str(tmp_path / "b"), "--images", "45", "--force"]) == 0
