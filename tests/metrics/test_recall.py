"""Every metric against loops written from its definition, on random predictions with ties and empty images."""

from __future__ import annotations

import csv
import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from maskrcnn_benchmark.data.datasets import VGDataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.vg import vg_eval
from maskrcnn_benchmark.structures.bounding_box import BoxList

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.metrics import matching

KS = (20, 50, 100)
PREDICATES = 5
CLASSES = 4


def iou(one, two):
    width = min(one[2], two[2]) - max(one[0], two[0]) + 1
    height = min(one[3], two[3]) - max(one[1], two[1]) + 1
    inter = max(width, 0) * max(height, 0)
    area = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (one, two)]
    return inter / (sum(area) - inter)


def random_image(random, mode, tied):
    """(truth, prediction): few classes and jittered boxes, so that many triplets match."""
    n, size = int(random.integers(2, 7)), (100, 100)
    low = random.integers(0, 60, (n, 2))
    boxes = np.concatenate([low, low + random.integers(5, 40, (n, 2))], 1).astype(np.float32)
    labels = random.integers(1, CLASSES, n)
    pairs = [(s, o) for s in range(n) for o in range(n) if s != o]
    annotated = random.integers(0, len(pairs), int(random.integers(0, 7)))
    relations = [(*pairs[i], int(random.integers(1, PREDICATES))) for i in annotated]
    truth = BoxList(torch.from_numpy(boxes), size)
    truth.add_field("labels", torch.from_numpy(labels))
    truth.add_field("relation_tuple", torch.tensor(relations, dtype=torch.long).reshape(-1, 3))

    if mode == "sgdet":
        copies = random.integers(0, n, int(random.integers(2, 14)))
        found = boxes[copies] + random.integers(-4, 5, (len(copies), 4))
        other = random.integers(1, CLASSES, len(copies))
        found_labels = np.where(random.random(len(copies)) < 0.7, labels[copies], other)
    else:
        found = boxes
        found_labels = labels if mode == "predcls" else np.where(random.random(n) < 0.6, labels, 1)
    m = len(found)
    possible = np.array([(s, o) for s in range(m) for o in range(m) if s != o])
    kept = random.permutation(len(possible))[: int(random.integers(0, len(possible) + 1))]
    scores = random.random((len(kept), PREDICATES)).astype(np.float32)
    if tied:
        scores = np.round(scores * 4) / 4
    scores /= scores.sum(1, keepdims=True) + np.float32(1e-3)
    order = np.argsort(-scores[:, 1:].max(1, initial=0), kind="stable")
    prediction = BoxList(torch.from_numpy(np.asarray(found, dtype=np.float32)), size)
    prediction.add_field("pred_labels", torch.from_numpy(np.asarray(found_labels)))
    prediction.add_field("labels", torch.from_numpy(np.asarray(found_labels)))
    prediction.add_field("pred_scores", torch.from_numpy(random.random(m).astype(np.float32)))
    prediction.add_field("rel_pair_idxs", torch.from_numpy(possible[kept][order].reshape(-1, 2)))
    prediction.add_field("pred_rel_scores", torch.from_numpy(scores[order]))
    return truth, prediction


def loops(mode, images, seen):
    """{name: {K: value}} and per predicate {K: list}, one comparison at a time."""
    recall = {name: {k: [] for k in KS} for name in ("R", "ng-R", "zR", "ng-zR")}
    hits, counts = {k: [] for k in KS}, []
    per = {name: {k: [[] for _ in range(PREDICATES)] for k in KS} for name in ("mR", "ng-mR")}
    for truth, prediction in images:
        relations = truth.get_field("relation_tuple").tolist()
        pairs = prediction.get_field("rel_pair_idxs").tolist()
        if not relations or not pairs:
            continue
        scores = prediction.get_field("pred_rel_scores").numpy()
        labels = truth.get_field("labels").tolist()
        of = truth if mode == "predcls" else prediction
        boxes = of.bbox.tolist()
        names = labels if mode == "predcls" else prediction.get_field("pred_labels").tolist()
        weights = np.ones(len(labels)) if mode == "predcls" else prediction.get_field("pred_scores").numpy()

        best = [(s, o, 1 + int(np.argmax(row[1:]))) for (s, o), row in zip(pairs, scores)]
        products = np.stack([weights[s] * weights[o] * row[1:] for (s, o), row in zip(pairs, scores)])
        # Where products are equal the order is numpy's default sort of them all; see matching.unconstrained.
        flat = np.argsort(-products.ravel())[:100]
        free = [(*pairs[i // (PREDICATES - 1)], 1 + i % (PREDICATES - 1)) for i in flat.tolist()]
        given = [t for t in best if any(t[:2] == (s, o) for s, o, _ in relations)]

        def found(triplets, k, relations=relations, labels=labels, names=names, boxes=boxes, truth=truth):
            result = set()
            for g, (s, o, p) in enumerate(relations):
                for a, b, q in triplets[:k]:
                    same = (labels[s], labels[o], p) == (names[a], names[b], q)
                    if same and iou(truth.bbox[s].tolist(), boxes[a]) >= 0.5:
                        if iou(truth.bbox[o].tolist(), boxes[b]) >= 0.5:
                            result.add(g)
            return result

        unseen = {g for g, (s, o, p) in enumerate(relations) if (labels[s], labels[o], p) not in seen}
        counts.append(len(relations))
        for k in KS:
            for prefix, triplets in (("", best), ("ng-", free)):
                match = found(triplets, k)
                recall[prefix + "R"][k].append(len(match) / len(relations))
                if unseen:
                    recall[prefix + "zR"][k].append(len(match & unseen) / len(unseen))
                for q in range(1, PREDICATES):
                    of_q = {g for g, relation in enumerate(relations) if relation[2] == q}
                    if of_q:
                        per[prefix + "mR"][k][q].append(len(match & of_q) / len(of_q))
            hits[k].append(len(found(given, k)))
    values = {name: {k: np.mean(v) if v else None for k, v in at.items()} for name, at in recall.items()}
    for name, at in per.items():
        values[name] = {k: sum(np.mean(v) if v else 0.0 for v in at[k][1:]) / (PREDICATES - 1) for k in KS}
    if mode != "sgdet":
        values["A"] = {k: sum(hits[k]) / sum(counts) for k in KS}
    lists = {
        name[:-2] + "R": {k: [np.mean(v) if v else None for v in at[k][1:]] for k in KS} for name, at in per.items()
    }
    return values, lists


class FakeDataset(VGDataset):
    def __init__(self, truths):
        self.truths = truths
        self.ind_to_predicates = ["__background__"] + [f"p{i}" for i in range(1, PREDICATES)]
        self.ind_to_classes = ["__background__"] + [f"c{i}" for i in range(1, CLASSES)]
        self.categories = dict(enumerate(self.ind_to_classes))
        self.filenames = [f"{i}.jpg" for i in range(len(truths))]

    def get_groundtruth(self, index, evaluation=False, flip_img=False):
        return self.truths[index]


@pytest.fixture
def run(tiny_cfg, tmp_path, monkeypatch):
    """Evaluates (truth, prediction) images and returns metrics.json, the log and what evaluate() returned."""

    def evaluate_images(mode, images, seen, iou_types=("bbox", "relations"), folder=tmp_path / "out"):
        keys = np.array(sorted((s << 42) + (o << 21) + p for s, o, p in seen), dtype=np.int64)
        monkeypatch.setattr(vg_eval, "seen_triplets", lambda dataset: keys)
        tiny_cfg.MODEL.ROI_RELATION_HEAD.NUM_CLASSES = PREDICATES
        tiny_cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX = mode != "sgdet"
        tiny_cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL = mode == "predcls"
        lines = []
        logger = SimpleNamespace(info=lines.append)
        truths, predictions = zip(*images)
        # The network saw the pictures at twice their size.
        doubled = [p.resize((200, 200)) for p in predictions]
        value = evaluate(tiny_cfg, FakeDataset(truths), doubled, str(folder), logger, iou_types=iou_types)
        return json.loads((folder / "metrics.json").read_text()), "".join(lines), value

    return evaluate_images


SEEN = {(s, o, p) for s in (1, 2) for o in (1, 2, 3) for p in (1, 2, 3)}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("mode", ["predcls", "sgcls", "sgdet"])
def test_metrics_equal_the_definition(run, mode, tied):
    random = np.random.default_rng([ord(mode[0]), ord(mode[2]), tied])
    images = [random_image(random, mode, tied) for _ in range(60)]
    content, _, value = run(mode, images, SEEN, iou_types=("relations",))
    values, lists = loops(mode, images, SEEN)
    for name, at in values.items():
        for k in KS:
            assert content[f"{name}@{k}"] == pytest.approx(at[k], abs=1e-12), (name, k)
    for name, at in lists.items():
        for k in KS:
            got = list(content["per_predicate"][f"{name}@{k}"].values())
            assert got == pytest.approx(at[k], abs=1e-12)
    assert value == content["R@100"] and content["mode"] == mode and content["images"] == 60
    assert 0 < content["R@20"] < 1 and ("A@20" in content) == (mode != "sgdet")


def test_nothing_to_evaluate_gives_null(run):
    images = [random_image(np.random.default_rng(0), "predcls", False)]
    images[0][1].add_field("rel_pair_idxs", torch.zeros((0, 2), dtype=torch.long))
    content, text, _ = run("predcls", images, SEEN, iou_types=("relations",))
    assert content["R@20"] is None and content["images_evaluated"] == 0 and content["mR@20"] == 0
    assert set(content["per_predicate"]["R@20"].values()) == {None} and "nan" in text


def test_log_lines_parse_as_before(run):
    random = np.random.default_rng(5)
    images = [random_image(random, "sgdet", False) for _ in range(8)]
    content, text, _ = run("sgdet", images, SEEN, iou_types=("relations",))
    for label, name, kind in (
        ("R", "R", "Recall(Main)"), ("ng-R", "ng-R", "No Graph Constraint Recall(Main)"),
        ("zR", "zR", "Zero Shot Recall"), ("mR", "mR", "Mean Recall"),
        ("ng-mR", "ng-mR", "No Graph Constraint Mean Recall"),
    ):  # fmt: skip
        (line,) = (
            line for line in text.splitlines() if line.startswith("SGG eval:") and line.endswith(f" type={kind}.")
        )
        assert f"for mode=sgdet, type={kind}." in line
        for k in KS:
            value = re.search(rf" *{re.escape(label)} @ {k}: ([0-9.]+); ", line)
            assert float(value.group(1)) == pytest.approx(content[f"{name}@{k}"], abs=5e-5)
    assert re.search(r"\(p1:[0-9.]+\) ", text)


def test_boxes_alone_and_predcls_boxes(run):
    random = np.random.default_rng(3)
    perfect = []
    for _ in range(5):
        truth, prediction = random_image(random, "sgcls", False)
        prediction.bbox, prediction.extra_fields["pred_labels"] = truth.bbox, truth.get_field("labels")
        perfect.append((truth, prediction))
    content, text, value = run("sgcls", perfect, SEEN, iou_types=("bbox",))
    assert value == pytest.approx(1.0) and "R@20" not in content and "mAp=1.0000" in text
    images = [random_image(random, "predcls", False) for _ in range(5)]
    assert run("predcls", images, SEEN)[0]["mAP@0.5"] == 1.0


def test_files_are_safe_to_load(run, tmp_path):
    images = [random_image(np.random.default_rng(1), "sgcls", False) for _ in range(6)]
    run("sgcls", images, SEEN, iou_types=("relations",))
    result = torch.load(tmp_path / "out" / "result_dict.pytorch", weights_only=True)
    assert set(result["sgcls_recall"]) == set(KS) and len(result["sgcls_mean_recall_collect"][20]) == PREDICATES
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "result_dict.pytorch", "metrics.json", "metrics.csv", "matches.npz", "eval_results.pytorch", "visual_info.json",
    }  # fmt: skip
    (first, *_) = json.loads((tmp_path / "out" / "visual_info.json").read_text())
    assert first["img_file"].endswith("0.jpg") and first["groundtruth"][0][4].startswith("c")


def test_csv_has_what_json_has(run, tmp_path):
    random = np.random.default_rng(8)
    for mode in ("predcls", "sgdet"):
        content, _, _ = run(mode, [random_image(random, mode, False) for _ in range(9)], SEEN, ("relations",))
        with open(tmp_path / "out" / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["task", "metric", "k", "predicate", "value"] and {r["task"] for r in rows} == {mode}
        read = {(r["metric"], r["k"], r["predicate"]): float(r["value"]) if r["value"] else None for r in rows}
        expected = {(*key.split("@"), ""): value for key, value in content.items() if "@" in key}
        for key, by_name in content["per_predicate"].items():
            expected.update({(*key.split("@"), name): value for name, value in by_name.items()})
        expected.update({(key, "", ""): content[key] for key in ("images", "images_evaluated")})
        assert read == expected and len(rows) == len(read)


def test_short_list_equals_the_full_sort():
    """The two ways of finding the best 100 combinations agree where no products are equal."""
    random = np.random.default_rng(2)
    for _ in range(50):
        count = int(random.integers(101, 400))
        scores = random.random((count, 8)).astype(np.float32)
        pairs = random.integers(0, 9, (count, 2))

        def expected(weight, scores=scores, pairs=pairs):
            order = np.argsort(-(weight[:, None] * scores).ravel())[:100]
            return np.column_stack((pairs[order // 8], order % 8 + 1))

        with_background = np.concatenate([np.ones((count, 1), np.float32), scores], 1)
        best = matching.constrained(pairs, with_background)[1]
        objects = random.random(9)
        weight = objects[pairs].prod(1)
        assert (matching.unconstrained(pairs, with_background, best, objects) == expected(weight)).all()


def test_zero_shot_uses_the_training_images(tiny_cfg, tiny_vg):
    from maskrcnn_benchmark.data import make_data_loader
    from maskrcnn_benchmark.data.datasets.evaluation.vg.zero_shot import seen_triplets

    train = make_data_loader(tiny_cfg, "val", dataset_to_test="train")[0].dataset
    (test,) = (loader.dataset for loader in make_data_loader(tiny_cfg, "test"))
    triplets = {
        (int(labels[s]), int(labels[o]), int(p))
        for labels, relations in zip(train.gt_classes, train.relationships)
        for s, o, p in relations
    }
    seen = seen_triplets(test)
    assert len(seen) == len(triplets) and (seen_triplets(train) == seen).all()
    for labels, relations in zip(test.gt_classes, test.relationships):
        expected = [(int(labels[s]), int(labels[o]), int(p)) not in triplets for s, o, p in relations]
        assert (~np.isin(matching.triplet_key(relations, labels), seen)).tolist() == expected


def test_perfect_and_hopeless_predictions(tiny_cfg):
    from maskrcnn_benchmark.data import make_data_loader

    (loader,) = make_data_loader(tiny_cfg, "test")
    for shift, expected in ((0, 1.0), (1, 0.0)):
        predictions = []
        for i in range(len(loader.dataset)):
            truth = loader.dataset.get_groundtruth(i, evaluation=True)
            pairs, predicates = truth.get_field("relation_tuple")[:, :2], truth.get_field("relation_tuple")[:, 2]
            # One-hot on the annotated predicate, or on one that the vocabulary does not have.
            scores = torch.zeros(len(pairs), 9)
            scores[range(len(pairs)), predicates + 4 * shift] = 1
            truth.add_field("pred_labels", truth.get_field("labels"))
            truth.add_field("pred_scores", torch.ones(len(truth)))
            truth.add_field("rel_pair_idxs", pairs)
            truth.add_field("pred_rel_scores", scores)
            predictions.append(truth.resize((64, 64)))
        logger = logging.getLogger("test")
        assert evaluate(tiny_cfg, loader.dataset, predictions, None, logger, iou_types=("relations",)) == expected


def test_other_datasets_are_refused(tiny_cfg):
    with pytest.raises(HMLError, match="type list"):
        evaluate(tiny_cfg, [], [], None, None, iou_types=("relations",))
