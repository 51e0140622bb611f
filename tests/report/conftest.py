"""Results of runs, made from random ranks, in the files of the evaluation here and of SGB."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.metrics.matches import MATCHES_FILE, SplitMatches
from maskrcnn_benchmark_hml.metrics.matching import Objects
from maskrcnn_benchmark_hml.metrics.recall import RecallTable, rank_image
from maskrcnn_benchmark_hml.metrics.summary import metrics

# In the dataset's order, which is not that of frequency.
PREDICATES = ("parked on", "on", "of", "riding", "sitting on", "part of")
NAMES = ("__background__", *PREDICATES)
GROUPS = (("on", "sitting on", "parked on"), ("of", "part of"), ("riding",))


def make_tree() -> PredicateTree:
    layers = {"on": 1, "of": 1, "sitting on": 2, "parked on": 2, "part of": 2, "riding": 2}
    counts = {"on": 100, "of": 50, "sitting on": 20, "parked on": 10, "riding": 6, "part of": 5}
    return PredicateTree(PREDICATES, GROUPS, {p: layers[p] for p in PREDICATES}, counts, 2, "clustered")


@pytest.fixture
def tree() -> PredicateTree:
    return make_tree()


def random_image(random: np.random.Generator, mode: str) -> dict[str, np.ndarray]:
    """Arrays of one image: annotation and prediction; few classes, so that much matches."""
    n = int(random.integers(2, 6))
    low = random.integers(0, 50, (n, 2))
    boxes = np.concatenate([low, low + random.integers(5, 40, (n, 2))], 1).astype(np.float32)
    labels = random.integers(1, 3, n)
    pairs = np.array([(s, o) for s in range(n) for o in range(n) if s != o])
    chosen = pairs[random.integers(0, len(pairs), int(random.integers(0, 6)))]
    relations = np.column_stack((chosen, random.integers(1, len(NAMES), len(chosen)))).astype(np.int64)
    source = np.arange(n) if mode != "sgdet" else random.integers(0, n, int(random.integers(2, 16)))
    found = boxes[source] + (random.integers(-3, 4, (len(source), 4)) if mode == "sgdet" else 0)
    found_labels = labels[source]
    if mode != "predcls":
        found_labels = np.where(random.random(len(source)) < 0.8, found_labels, 1)
    m = len(source)
    offered = random.permutation([(s, o) for s in range(m) for o in range(m) if s != o])
    offered = offered[: int(random.integers(0, len(offered) + 1))].reshape(-1, 2)
    scores = random.random((len(offered), len(NAMES))).astype(np.float32)
    return {
        "boxes": boxes, "labels": labels, "relations": relations.reshape(-1, 3), "found": found.astype(np.float32),
        "found_labels": found_labels, "found_scores": random.random(m).astype(np.float32),
        "pairs": offered, "scores": scores[np.argsort(-scores[:, 1:].max(1, initial=0), kind="stable")],
    }  # fmt: skip


def split_of(mode: str, images: list[dict]) -> tuple[dict, SplitMatches]:
    """The result dictionary and the matches of images."""
    table = RecallTable(len(NAMES), np.zeros(0, dtype=np.int64))
    for number, one in enumerate(images):
        if len(one["relations"]) and len(one["pairs"]):
            annotated = Objects(one["boxes"], one["labels"], np.ones(len(one["boxes"])))
            predicted = Objects(one["found"], one["found_labels"], one["found_scores"])
            table.add(
                number,
                rank_image(
                    annotated, one["relations"], annotated if mode == "predcls" else predicted, one["pairs"],
                    one["scores"], iou_threshold=0.5, given_pairs=mode != "sgdet",
                ),
            )  # fmt: skip
    matches = SplitMatches.collect(mode, NAMES, sorted(table.by_number), table.images)
    return table.result_dict(mode), matches


@pytest.fixture
def images() -> Callable[[str, int], list[dict]]:
    return lambda mode, count=40: [random_image(np.random.default_rng([7, len(mode), i]), mode) for i in range(count)]


@pytest.fixture
def run(tmp_path, images) -> Callable[..., Path]:
    """Writes a run of ours: ``run(name, mode, with_tree=..., change=...)`` -> OUTPUT_DIR."""

    def write(name: str, mode: str = "predcls", with_tree: bool = False, shift: float = 0.0) -> Path:
        folder = tmp_path / name / "inference" / "some_test"
        folder.mkdir(parents=True)
        result, matches = split_of(mode, images(mode))
        content = {"mode": mode, "images": 40, **metrics(result, mode, NAMES)}
        for key in ("R@20", "R@50", "R@100"):
            content[key] += shift
        (folder / "metrics.json").write_text(json.dumps(content))
        matches.save(folder / MATCHES_FILE)
        if with_tree:
            make_tree().save(tmp_path / name / "hml" / "tree.json")
        return tmp_path / name

    return write


@pytest.fixture
def sgb_run(tmp_path, images, monkeypatch) -> Callable[..., Path]:
    """Writes a run as SGB does: a pickled class of its own, numpy numbers, no metrics.json.

    ``lacks``: parts of the names of results that it leaves out; ``into``: the results' folder below OUTPUT_DIR;
    ``change``: of the stored scores of pairs.
    """

    def write(
        name: str, mode: str, old_format: bool = False, *, lacks: tuple[str, ...] = (),
        into: str = "inference/some_test", change: Callable[[np.ndarray], np.ndarray] = np.copy,
    ) -> Path:
        folder = tmp_path / name / into
        folder.mkdir(parents=True)
        for module in ("maskrcnn_benchmark", "maskrcnn_benchmark.structures"):
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        module = types.ModuleType("maskrcnn_benchmark.structures.bounding_box")
        BoxList = type("BoxList", (), {"__module__": module.__name__})
        module.BoxList = BoxList
        monkeypatch.setitem(sys.modules, module.__name__, module)

        def boxes(bbox, **fields):
            record = BoxList()
            record.bbox, record.size, record.mode = torch.from_numpy(bbox), (100, 100), "xyxy"
            record.extra_fields = {key: torch.from_numpy(np.asarray(value)) for key, value in fields.items()}
            return record

        made = images(mode)
        stored = {
            "groundtruths": [boxes(i["boxes"], labels=i["labels"], relation_tuple=i["relations"]) for i in made],
            "predictions": [
                boxes(
                    i["found"], pred_labels=i["found_labels"], pred_scores=i["found_scores"], rel_pair_idxs=i["pairs"],
                    pred_rel_scores=change(i["scores"]),
                )
                for i in made
            ],
        }  # fmt: skip
        words = {"_use_new_zipfile_serialization": not old_format}
        torch.save(stored, folder / "eval_results.pytorch", **words)
        result, _ = split_of(mode, made)
        result[f"{mode}_mean_recall"] = {k: np.float64(v) for k, v in result[f"{mode}_mean_recall"].items()}
        result = {key: value for key, value in result.items() if not any(part in key for part in lacks)}
        torch.save(result, folder / "result_dict.pytorch", **words)
        (folder / "zero_shot.json").write_text('{"source": "training split"}')  # our compatibility layer was at work
        torch.save({"rel_classes": list(NAMES)}, tmp_path / name / "VG_train_statistics.cache", **words)
        for name_ in ("maskrcnn_benchmark.structures.bounding_box", "maskrcnn_benchmark.structures"):
            monkeypatch.delitem(sys.modules, name_)
        monkeypatch.delitem(sys.modules, "maskrcnn_benchmark")
        return tmp_path / name

    return write
