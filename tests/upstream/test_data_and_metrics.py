"""Data and metrics here and in SGB: equal statistics, equal samples, equal metrics.

Both benchmarks are called ``maskrcnn_benchmark``, so each runs in a process of its own: this file is also the script
that they run, ``python test_data_and_metrics.py embedded|SGB_FOLDER JOB in.pt out.pt``.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
SGB = os.environ.get("SGB_HOME", "")
PREDICATES, CLASSES = 51, 12
FILES = ("VG_100K", "VG-SGG-with-attri.h5", "VG-SGG-dicts-with-attri.json", "image_data.json")


def arguments(folder: str) -> dict[str, str]:
    return dict(zip(("img_dir", "roidb_file", "dict_file", "image_file"), (str(Path(folder, f)) for f in FILES)))


# ---- jobs: run inside one benchmark ----


def samples(root: str, content: dict) -> dict:
    """Annotations, statistics and transformed test samples of a dataset folder."""
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.data.datasets import VGDataset
    from maskrcnn_benchmark.data.transforms import build_transforms

    cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", 90, "INPUT.MAX_SIZE_TEST", 150])
    result = {}
    for split in ("train", "val", "test"):
        data = VGDataset(split, **arguments(content["folder"]), transforms=build_transforms(cfg, False))
        result[split] = {
            "boxes": [torch.as_tensor(np.asarray(b)) for b in data.gt_boxes],
            "relations": [torch.as_tensor(np.asarray(r)).long() for r in data.relationships],
            "mask": torch.as_tensor(data.split_mask),
        }
    statistics = data.get_statistics()
    result["statistics"] = {key: statistics[key] for key in ("fg_matrix", "pred_dist", "rel_classes", "obj_classes")}
    result["samples"] = []
    for i in range(12):
        image, target, _ = data[i]
        result["samples"].append((image, target.bbox, target.get_field("labels")))
    return result


def metrics(root: str, content: dict) -> dict:
    """``result_dict.pytorch`` of each mode's images, on objects and predictions that are given."""
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.data.datasets.evaluation.vg import vg_eval
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    def boxes(record: dict) -> BoxList:
        result = BoxList(record["bbox"], record["size"])
        for name, value in record["fields"].items():
            result.add_field(name, value)
        return result

    if root == "embedded":
        s, o, p = torch.load(content["zero_shot"], weights_only=True).long().numpy().T
        unseen = set(((s << 42) + (o << 21) + p).tolist())
        every = ((s << 42) + (o << 21) + p for s in range(CLASSES) for o in range(CLASSES) for p in range(PREDICATES))
        seen = np.array([key for key in every if key not in unseen])
        vg_eval.seen_triplets = lambda dataset: seen
    # On a checkout: its own function, with its own list of zero-shot triplets.
    evaluate = getattr(vg_eval.do_vg_evaluation, "__wrapped__", vg_eval.do_vg_evaluation)
    names = ["__background__"] + [str(i) for i in range(1, PREDICATES)]
    result = {}
    for mode, images in content["images"].items():
        cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX = mode != "sgdet"
        cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL = mode == "predcls"
        truths = [boxes(truth) for truth, _ in images]
        dataset = SimpleNamespace(
            get_img_info=lambda i, truths=truths: {"width": truths[i].size[0], "height": truths[i].size[1]},
            get_groundtruth=lambda i, evaluation=True, truths=truths: truths[i],
            ind_to_predicates=names, ind_to_classes=names, categories=dict(enumerate(names)),
            filenames=[""] * len(images),
        )  # fmt: skip
        folder = Path(content["out"]) / mode
        folder.mkdir(parents=True)
        lines: list[str] = []
        logger = SimpleNamespace(info=lines.append)
        predictions = [boxes(prediction) for _, prediction in images]
        value = evaluate(cfg, dataset, predictions, str(folder), logger, ("relations",))
        result_dict = torch.load(folder / "result_dict.pytorch", weights_only=False)
        plain = {key: {k: plain_numbers(v) for k, v in at.items()} for key, at in result_dict.items()}
        result[mode] = {"result_dict": plain, "value": float(value), "log": "".join(lines)}
    return result


def own_zero_shot(root: str, content: dict) -> dict:
    """Zero-shot recall of random predictions on the test split of a dataset folder, per image."""
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.data.datasets import VGDataset
    from maskrcnn_benchmark.data.datasets.evaluation.vg import vg_eval

    cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX = cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL = True
    data = VGDataset("test", **arguments(content["folder"]))
    predictions = []
    for i in range(len(data)):
        boxes = data.get_groundtruth(i, evaluation=True)
        n, random = len(boxes), np.random.default_rng(i)
        boxes.add_field("pred_labels", boxes.get_field("labels"))
        boxes.add_field("pred_scores", torch.ones(n))
        boxes.add_field("rel_pair_idxs", torch.tensor([(a, b) for a in range(n) for b in range(n) if a != b]))
        scores = random.random((n * n - n, PREDICATES)).astype(np.float32)
        boxes.add_field("pred_rel_scores", torch.from_numpy(scores))
        predictions.append(boxes)
    folder = Path(content["out"])
    folder.mkdir(parents=True)
    vg_eval.do_vg_evaluation(cfg, data, predictions, str(folder), SimpleNamespace(info=print), ("relations",))
    result = torch.load(folder / "result_dict.pytorch", weights_only=False)
    return {name: plain_numbers(result[f"predcls_{name}"][100]) for name in ("zeroshot_recall", "ng_zeroshot_recall")}


def plain_numbers(value):
    """Nested lists of Python floats."""
    return [plain_numbers(v) for v in value] if isinstance(value, (list, tuple)) else float(value)


def main(root: str, job: str, source: str, target: str) -> None:
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    sys.path.insert(0, str(REPO))
    if root == "embedded":
        sys.path.insert(0, str(REPO / "maskrcnn_benchmark_hml" / "embedded"))
    else:
        from maskrcnn_benchmark_hml.compat.installer import install

        install(root)
        os.chdir(root)
    content = torch.load(source, weights_only=True)
    torch.save({"samples": samples, "metrics": metrics, "own_zero_shot": own_zero_shot}[job](root, content), target)


# ---- tests ----

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(not SGB, reason="SGB_HOME does not name a Scene-Graph-Benchmark.pytorch checkout"),
]


def both(job: str, content: dict, folder: Path) -> tuple[dict, dict]:
    """Results of the embedded benchmark and of SGB."""
    results = []
    for name, root in (("ours", "embedded"), ("sgb", str(Path(SGB).resolve()))):
        torch.save({**content, "out": str(folder / name)}, folder / f"{name}.in")
        command = [sys.executable, __file__, root, job, str(folder / f"{name}.in"), str(folder / f"{name}.out")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        results.append(torch.load(folder / f"{name}.out", weights_only=True))
    return results[0], results[1]


def test_annotations_statistics_and_samples(tmp_path):
    from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg

    folder = tmp_path / "data"
    make_mini_vg(folder, images=80, seed=3)
    ours, sgb = both("samples", {"folder": str(folder)}, tmp_path)
    for split in ("train", "val", "test"):
        assert torch.equal(ours[split]["mask"], sgb[split]["mask"])
        for key in ("boxes", "relations"):
            assert len(ours[split][key]) == len(sgb[split][key]) > 0
            assert all(torch.equal(a.double(), b.double()) for a, b in zip(ours[split][key], sgb[split][key]))
    assert torch.equal(ours["statistics"]["fg_matrix"], sgb["statistics"]["fg_matrix"])
    assert torch.equal(ours["statistics"]["pred_dist"], sgb["statistics"]["pred_dist"])
    assert ours["statistics"]["rel_classes"] == sgb["statistics"]["rel_classes"]
    for one, two in zip(ours["samples"], sgb["samples"]):
        assert all(torch.equal(a, b) for a, b in zip(one, two))  # bit for bit


def random_image(random: np.random.Generator, mode: str, tied: bool) -> tuple[dict, dict]:
    n, size = int(random.integers(2, 12)), (200, 150)
    low = random.integers(0, 100, (n, 2))
    boxes = np.concatenate([low, low + random.integers(5, 50, (n, 2))], 1).astype(np.float32)
    labels = random.integers(1, CLASSES, n)
    pairs = [(s, o) for s in range(n) for o in range(n) if s != o]
    annotated = random.integers(0, len(pairs), int(random.integers(0, 12)))
    relations = [(*pairs[i], int(random.integers(1, PREDICATES))) for i in annotated]
    truth = {"labels": torch.from_numpy(labels), "relation_tuple": torch.tensor(relations).long().reshape(-1, 3)}
    if mode == "sgdet":
        source = random.integers(0, n, int(random.integers(2, 30)))
        found = boxes[source] + random.integers(-4, 5, (len(source), 4))
        found_labels = np.where(random.random(len(source)) < 0.8, labels[source], 1)
    else:
        source, found = np.arange(n), boxes
        found_labels = labels if mode == "predcls" else np.where(random.random(n) < 0.8, labels, 1)
    m = len(found)
    possible = np.array([(s, o) for s in range(m) for o in range(m) if s != o])
    kept = random.permutation(len(possible))
    if random.random() < 0.2:
        kept = kept[: int(random.integers(0, 3))]  # no, one or two predicted pairs
    scores = random.random((len(kept), PREDICATES)).astype(np.float32) ** 4
    for row, (s, o) in enumerate(possible[kept].tolist()):  # let many annotated triplets be found
        for a, b, p in relations:
            if (source[s], source[o]) == (a, b) and random.random() < 0.7:
                scores[row, p] = 0.5 + random.random()
    if tied:
        scores = np.round(scores * 8) / 8
    scores /= scores.sum(1, keepdims=True) + np.float32(1e-3)
    order = np.argsort(-scores[:, 1:].max(1, initial=0), kind="stable")
    prediction = {
        "pred_labels": torch.from_numpy(np.asarray(found_labels)),
        "pred_scores": torch.from_numpy(random.random(m).astype(np.float32)),
        "rel_pair_idxs": torch.from_numpy(possible[kept][order].reshape(-1, 2)),
        "pred_rel_scores": torch.from_numpy(scores[order]),
    }
    bbox = torch.from_numpy(np.asarray(found, dtype=np.float32))
    return (
        {"bbox": torch.from_numpy(boxes), "size": size, "fields": truth},
        {"bbox": bbox, "size": size, "fields": prediction},
    )


def test_thousand_prediction_sets(tmp_path):
    """Every number of SGB's result file, per image and per predicate; empty images and ties included."""
    random = np.random.default_rng(11)
    modes = ("predcls", "sgcls", "sgdet")
    images = {mode: [random_image(random, mode, tied=i % 3 == 0) for i in range(334)] for mode in modes}
    zero_shot = Path(SGB, "maskrcnn_benchmark/data/datasets/evaluation/vg/zeroshot_triplet.pytorch")
    ours, sgb = both("metrics", {"images": images, "zero_shot": str(zero_shot.resolve())}, tmp_path)
    for mode in images:
        mine, theirs = ours[mode]["result_dict"], sgb[mode]["result_dict"]
        assert set(mine) == set(theirs)
        for key in theirs:
            for k in (20, 50, 100):
                assert flat(mine[key][k]) == pytest.approx(flat(theirs[key][k]), abs=1e-9), (mode, key, k)
        assert np.mean(theirs[f"{mode}_recall"][20]) > 0.01 and theirs[f"{mode}_zeroshot_recall"][20]
        assert ours[mode]["value"] == pytest.approx(sgb[mode]["value"], abs=1e-12)
        assert ours[mode]["log"] == sgb[mode]["log"]


def test_zero_shot_recall_is_that_of_the_data_set(tmp_path):
    """SGB's own list, VG150's, makes 45 pictures of mini-VG another test."""
    from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg

    make_mini_vg(tmp_path / "data", images=45, seed=3)
    ours, sgb = both("own_zero_shot", {"folder": str(tmp_path / "data")}, tmp_path)
    for name, values in sgb.items():
        assert values == pytest.approx(ours[name]) and len(values) > 2, name


def flat(value) -> list[float]:
    if not isinstance(value, list):
        return [value]
    return [x for v in value for x in [len(v) if isinstance(v, list) else 0, *flat(v)]]


if __name__ == "__main__":
    main(*sys.argv[1:])
