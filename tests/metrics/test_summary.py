"""The summary of a split's metrics, with every number worked out by hand."""

from __future__ import annotations

import csv
import io
import math

import pytest

from maskrcnn_benchmark_hml.metrics.summary import absent_metrics, at_k, log_lines, metric_rows, metrics, metrics_csv

NAMES = ("__background__", "on", "of")
RESULT = {
    # At K = 20 one image is without a value, so the number of images is that of the other K.
    "predcls_recall": {20: [0.5], 50: [0.5, 1.0], 100: [1.0, 1.0]},
    "predcls_mean_recall": {20: 0.25, 50: 0.5, 100: 0.75},
    "predcls_mean_recall_list": {100: [0.5, 1.0]},
    "predcls_mean_recall_collect": {20: [[], [0.25, 0.75], []]},
    "predcls_accuracy_hit": {20: [1, 2], 50: [2, 2]},
    "predcls_accuracy_count": {20: [2, 4], 50: [2, 4], 100: [2, 4]},
}


def test_each_entry_of_the_summary():
    assert metrics(RESULT, "predcls", NAMES) == {
        "R@20": 0.5, "R@50": 0.75, "R@100": 1.0, "mR@20": 0.25, "mR@50": 0.5, "mR@100": 0.75,
        "A@20": 0.5, "A@50": pytest.approx(2 / 3), "images_evaluated": 2,
        "per_predicate": {"R@20": {"on": 0.5, "of": None}},
    }  # fmt: skip
    assert metrics(RESULT, "predcls", ())["per_predicate"] == {}
    assert metrics({}, "predcls", NAMES) == {"per_predicate": {}}  # boxes alone: no image was evaluated for relations
    assert metrics({"sgdet_recall": {}}, "sgdet", NAMES)["images_evaluated"] == 0
    accuracy = {key.replace("predcls", "sgdet"): value for key, value in RESULT.items()}
    assert "A@20" not in metrics(accuracy, "sgdet", NAMES) and "A @" not in log_lines(
        {**accuracy, "sgdet_ng_mean_recall_list": {100: [0.0, 0.0]}}, "sgdet", NAMES
    )


def test_a_value_that_does_not_exist():
    empty = {"predcls_recall": {20: [], 50: [], 100: []}}
    assert math.isnan(at_k(empty, "predcls", "recall")[20])
    content = metrics(empty, "predcls", NAMES)
    assert content["R@20"] is None and content["images_evaluated"] == 0


def test_each_row_of_the_table():
    content = {
        "mode": "sgcls", "images": 3, "mAP@0.5": 0.25, "mAP": 0.125, "R@20": 0.5, "zR@20": None, "images_evaluated": 2,
        "per_predicate": {"ng-R@50": {"on": 0.75, "of": None}},
    }  # fmt: skip
    rows = [
        ("sgcls", "images", "", "", "3"), ("sgcls", "mAP@0.5", "", "", "0.25"), ("sgcls", "mAP", "", "", "0.125"),
        ("sgcls", "R", "20", "", "0.5"), ("sgcls", "zR", "20", "", ""), ("sgcls", "images_evaluated", "", "", "2"),
        ("sgcls", "ng-R", "50", "on", "0.75"), ("sgcls", "ng-R", "50", "of", ""),
    ]  # fmt: skip
    assert list(metric_rows(content)) == rows
    read = list(csv.reader(io.StringIO(metrics_csv(content))))
    assert read == [["task", "metric", "k", "predicate", "value"], *map(list, rows)]
    assert list(metric_rows({"mode": "detection", "images": 7})) == [("detection", "images", "", "", "7")]


def test_absent_metrics_are_named_with_the_k_that_lacks():
    there = {f"{name}@{k}": 0.0 for name in ("R", "ng-R", "zR", "ng-zR", "mR") for k in (20, 50, 100)}
    del there["zR@50"]
    assert absent_metrics({"mode": "predcls", **there}) == ["zR@50", "ng-mR", "A"]
    assert absent_metrics({"mode": "sgdet", **there, "ng-mR@100": 0.0}) == ["zR@50", "ng-mR@20", "ng-mR@50"]
