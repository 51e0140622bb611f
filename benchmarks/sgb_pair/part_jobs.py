"""Jobs on parts: VCTree's context encoder, its construction, its trees, and the metrics."""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from maskrcnn_benchmark_hml.compat import installer
from maskrcnn_benchmark_hml.compat.host_modules import quick_orthogonal_blocks
from maskrcnn_benchmark_hml.datasets.layout import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME
from maskrcnn_benchmark_hml.host import launch
from maskrcnn_benchmark_hml.host.locate import locate
from sgb_pair.turns import Turns

CLASSES, PREDICATES, SIDE = 151, 51, 600


def _enter(root: str, options: dict[str, Any]) -> Any:
    """The config, with the options' ``config`` file and ``words`` if there are any."""
    launch.enter(locate(None if root == "embedded" else root))
    from maskrcnn_benchmark.config import cfg

    if "config" in options:
        cfg.merge_from_file(options["config"])
    cfg.merge_from_list(options.get("words", []))
    return cfg


def _context_layer(root: str, cfg: Any) -> torch.nn.Module:
    from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_vctree import VCTreeLSTMContext

    generator = torch.Generator().manual_seed(0)
    prior = torch.rand(CLASSES, CLASSES, PREDICATES, generator=generator)
    objects = ["__background__", *(f"object{i}" for i in range(1, CLASSES))]
    predicates = [str(i) for i in range(PREDICATES)]
    names = (objects,) if root == "embedded" else (objects, predicates)
    return VCTreeLSTMContext(cfg, *names, {"pred_dist": prior}, cfg.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM)


def _boxes(objects: int, images: int) -> list[Any]:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    generator = torch.Generator().manual_seed(1)
    result = []
    for _ in range(images):
        corner = torch.rand(objects, 2, generator=generator) * 400
        extent = torch.rand(objects, 2, generator=generator) * 180 + 10
        result.append(BoxList(torch.cat((corner, corner + extent), 1), (SIDE, SIDE)))
        result[-1].add_field("labels", torch.randint(1, CLASSES, (objects,), generator=generator))
    return result


@torch.no_grad()
def context(root: str, options: dict[str, Any], turns: Turns) -> None:
    """VCTree's context encoder in PredCls at full width; equal weights, equal trees."""
    layer = _context_layer(root, _enter(root, options)).eval()
    for name, value in layer.named_parameters():
        if "bi_freq_prior" not in name:
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            value.normal_(0.0, (1.0 / value.shape[-1]) ** 0.5, generator=generator)
    boxes = _boxes(options["objects"], options["images"])
    rows = options["objects"] * options["images"]
    features = torch.randn(rows, layer.obj_reduce.in_features, generator=torch.Generator().manual_seed(2)).relu()
    pairs = [torch.tensor([[0, 1]])] * len(boxes)
    turns.each(lambda: turns.facts.update(mean=float(layer(features, boxes, pairs)[2].double().mean())))


def construction(root: str, options: dict[str, Any], turns: Turns) -> None:
    """Making VCTree's context encoder; Scene-Graph-Benchmark's own code draws the initial weights."""
    shims = tuple(shim for shim in installer.HOST_PATCHES if shim[1] is not quick_orthogonal_blocks)
    installer.HOST_PATCHES = shims
    cfg = _enter(root, options)
    turns.each(lambda: _context_layer(root, cfg))


def trees(root: str, options: dict[str, Any], turns: Turns) -> None:
    """Pair scores of ``images`` of ``objects`` boxes -> binary trees."""
    _enter(root, options)
    generator = torch.Generator().manual_seed(3)
    shape = (options["images"], options["objects"], options["objects"])
    scores = torch.randn(shape, generator=generator).sigmoid()
    work: Callable[[], Any]
    if root == "embedded":
        from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
        from maskrcnn_benchmark.modeling.roi_heads.relation_head.trees import grow_forest

        def work() -> Any:
            return grow_forest(scores, Padding([shape[1]] * shape[0], scores.device))
    else:
        from maskrcnn_benchmark.modeling.roi_heads.relation_head import utils_vctree

        boxes = _boxes(options["objects"], options["images"])

        def work() -> Any:
            return utils_vctree.arbForest_to_biForest(utils_vctree.generate_forest(list(scores), boxes, "predcls"))

    turns.each(work)


def metrics(root: str, options: dict[str, Any], turns: Turns) -> None:
    """The evaluation of random predictions per image: of ``types`` = relations, or of bbox and relations.

    Options: ``data`` folder (its test split), ``task``, ``objects`` predicted in SGDet, ``predicates``.
    """
    cfg = _enter(root, options)
    cfg.MODEL.RELATION_ON = True
    head = cfg.MODEL.ROI_RELATION_HEAD
    head.USE_GT_BOX = head.USE_GT_OBJECT_LABEL = options["task"] == "predcls"
    head.NUM_CLASSES = options["predicates"] + 1
    from maskrcnn_benchmark.data.datasets import VGDataset
    from maskrcnn_benchmark.data.datasets.evaluation.vg.vg_eval import do_vg_evaluation

    if root != "embedded":
        os.chdir(root)  # its evaluator opens a file by a relative path
    names = (PHOTOS_NAME, H5_NAME, DICTS_NAME, IMAGES_NAME)
    dataset = VGDataset("test", *(str(Path(options["data"], name)) for name in names))
    generator = torch.Generator().manual_seed(4)
    predictions = [
        _prediction(dataset.get_groundtruth(i, evaluation=True), options, generator) for i in range(len(dataset))
    ]
    logger = logging.getLogger("vs_sgb")
    while turns.next():
        given_away = list(predictions)  # the evaluator replaces the entries
        start = time.perf_counter()
        value = do_vg_evaluation(cfg, dataset, given_away, None, logger, tuple(options["types"]))
        turns.done((time.perf_counter() - start) / len(dataset))
        turns.facts["result"] = float(value)


def _prediction(truth: Any, options: dict[str, Any], generator: torch.Generator) -> Any:
    """Boxes near the annotated ones with every pair of them, scores random, best pair first."""
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    source = torch.arange(len(truth))
    if options["task"] != "predcls":
        source = torch.randint(0, len(truth), (options["objects"],), generator=generator)
    noise = torch.randint(-6, 7, (len(source), 4), generator=generator) * (options["task"] != "predcls")
    boxes = BoxList(truth.bbox[source].float() + noise, truth.size)
    labels = truth.get_field("labels").long()[source]
    pairs = (~torch.eye(len(source), dtype=torch.bool)).nonzero()
    scores = (3 * torch.randn(len(pairs), options["predicates"] + 1, generator=generator)).softmax(1)
    order = scores[:, 1:].max(1).values.argsort(descending=True)
    for name in ("labels", "pred_labels"):
        boxes.add_field(name, labels)
    boxes.add_field("pred_scores", torch.rand(len(source), generator=generator))
    boxes.add_field("rel_pair_idxs", pairs[order])
    boxes.add_field("pred_rel_scores", scores[order])
    return boxes
