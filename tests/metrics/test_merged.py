"""Merged recall against loops written from its definition, from both kinds of files."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.metrics.matches import MATCHES_FILE, SplitMatches
from maskrcnn_benchmark_hml.report.merging import load_matches, merge_run
from maskrcnn_benchmark_hml.report.runs import results_folder

from ..report.conftest import GROUPS, NAMES, split_of

KS = (20, 50, 100)


def iou(one, two):
    width = min(one[2], two[2]) - max(one[0], two[0]) + 1
    height = min(one[3], two[3]) - max(one[1], two[1]) + 1
    shared = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (one, two)]
    return shared / (sum(areas) - shared)


def loops(mode, images, k):
    """(plain, merged, overall) in float64: {coarse predicate: recall@k}, and all annotations folded too."""
    coarse = {name: group[0] for group in GROUPS for name in group}
    heads = [group[0] for group in GROUPS if len(group) > 1]
    plain, merged, overall = {h: [] for h in heads}, {h: [] for h in heads}, []
    for one in images:
        if not len(one["relations"]) or not len(one["pairs"]):
            continue
        found, labels = (one["boxes"], one["labels"]) if mode == "predcls" else (one["found"], one["found_labels"])
        best = [(s, o, NAMES[1 + int(np.argmax(row[1:]))]) for (s, o), row in zip(one["pairs"], one["scores"])][:k]

        def on_pair(relation, same, one=one, found=found, labels=labels, best=best):
            s, o, p = relation
            for a, b, q in best:
                if (one["labels"][s], one["labels"][o]) == (labels[a], labels[b]) and same(NAMES[p], q):
                    if min(iou(one["boxes"][s], found[a]), iou(one["boxes"][o], found[b])) >= 0.5:
                        return True
            return False

        relations = one["relations"].tolist()
        overall.append(np.mean([on_pair(r, lambda p, q: coarse[p] == coarse[q]) for r in relations]))
        for head in heads:
            of_it = [r for r in relations if NAMES[r[2]] == head]
            if of_it:
                plain[head].append(np.mean([on_pair(r, lambda p, q: p == q) for r in of_it]))
                merged[head].append(np.mean([on_pair(r, lambda p, q: p == coarse[q]) for r in of_it]))
    means = [{h: float(np.mean(v)) if v else None for h, v in part.items()} for part in (plain, merged)]
    return *means, float(np.mean(overall))


@pytest.mark.parametrize("mode", ["predcls", "sgcls", "sgdet"])
def test_merged_recall_equals_its_definition(run, images, tree, mode):
    folder = results_folder(str(run("ours", mode)))
    got = merge_run(folder, tree)
    assert got.task == mode and got.groups == {"on": ("sitting on", "parked on"), "of": ("part of",)}
    for k in KS:
        plain, merged, overall = loops(mode, images(mode, 40), k)
        assert {n: got.recall.plain[k][got.index[n]] for n in plain} == pytest.approx(plain, abs=1e-12)
        assert {n: got.recall.merged[k][got.index[n]] for n in merged} == pytest.approx(merged, abs=1e-12)
        assert got.recall.overall[k] == pytest.approx(overall, abs=1e-12)
    assert merged["on"] > plain["on"]  # folding brings something back, or the test tests nothing


@pytest.mark.parametrize(("mode", "old_format"), [("predcls", False), ("sgdet", True), ("sgcls", False)])
def test_sgbs_stored_predictions_give_the_same(run, sgb_run, tree, mode, old_format):
    ours = load_matches(results_folder(str(run("ours", mode))), tree)
    theirs = load_matches(results_folder(str(sgb_run("sgb", mode, old_format))), tree)
    assert theirs.task == ours.task == mode and theirs.predicates == ours.predicates
    for name in ("image", "predicate", "relation", "rank", "predicted"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name


def test_plain_recall_is_that_of_the_metrics(images):
    for mode in ("predcls", "sgdet"):
        made = images(mode, 40)
        result, matches = split_of(mode, made)
        found = np.full(len(matches.predicate), 1000)
        same = matches.predicted == matches.predicate[matches.relation]
        np.minimum.at(found, matches.relation[same], matches.rank[same])
        per_image = [np.mean(found[matches.image == i] < 50) for i in np.unique(matches.image)]
        assert per_image == pytest.approx(result[f"{mode}_recall"][50], abs=1e-12)


def test_nothing_folds_and_no_predictions_are_one_sentence(run, tree):
    folder = results_folder(str(run("ours")))
    single = PredicateTree(
        tree.predicates, tuple((name,) for name in ("on", "of", "sitting on", "parked on", "riding", "part of")),
        tree.layers, tree.counts, 2, "frequency",
    )  # fmt: skip
    with pytest.raises(HMLError, match="nothing folds"):
        merge_run(folder, single)
    (folder / MATCHES_FILE).write_bytes(b"PK torn")
    with pytest.raises(HMLError, match="no readable matches.npz"):
        merge_run(folder, tree)
    (folder / MATCHES_FILE).unlink()
    with pytest.raises(HMLError, match="neither matches.npz nor eval_results.pytorch"):
        merge_run(folder, tree)


def test_empty_split(tree, tmp_path):
    _, matches = split_of("predcls", [])
    matches.save(tmp_path / MATCHES_FILE)
    assert SplitMatches.load(tmp_path / MATCHES_FILE).predicates == NAMES
    recall = merge_run(tmp_path, tree).recall
    assert np.isnan(recall.overall[20]) and np.isnan(recall.merged[50][NAMES.index("on")])
