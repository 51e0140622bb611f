"""Runs a model over a dataset; its predictions are evaluated one by one or, if they are stored, together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from maskrcnn_benchmark.data.datasets.evaluation import evaluate, start_evaluation
from maskrcnn_benchmark.engine.own_pictures import (
    EmptyWithoutDetection,
    check_complete,
    scene_graph_writer,
    scene_graphs_file,
)
from maskrcnn_benchmark.engine.progress import progress_bar
from maskrcnn_benchmark.utils.comm import gather, get_world_size, is_main_process
from maskrcnn_benchmark.utils.timer import Timer, get_time_str
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.finite import check_scores, check_weights


def compute_on_dataset(
    model: torch.nn.Module,
    data_loader: Iterable[Any],
    device: torch.device,
    timer: Timer,
    take: Callable[[int, Any], Any],
    label: str = "test",
) -> None:
    """Calls ``take(image number, prediction)`` for each image, on the CPU, in the loader's order.

    The relation head is also given the annotations, as PredCls needs.

    Raises:
        HMLError: a score is NaN or infinite.
    """
    model.eval()
    for images, targets, image_ids in progress_bar(data_loader, desc=label, unit="batch", leave=False):
        with torch.no_grad():
            timer.tic()
            output = model(images.to(device), [target.to(device) for target in targets])
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            timer.toc()
        for number, boxes in zip(image_ids, output):
            boxes = boxes.to("cpu")
            check_scores(boxes.extra_fields, number, model)
            take(number, boxes)


def _in_order(parts: Sequence[dict[int, Any]], images: int) -> list[Any]:
    """All processes' predictions as one list by image number; a sampler's padding may repeat images."""
    merged: dict[int, Any] = {}
    for part in parts:
        merged.update(part)
    check_complete([number for number in range(images) if number not in merged], images)
    return [merged[number] for number in range(images)]


def inference(
    cfg: CfgNode,
    model: torch.nn.Module,
    data_loader: Any,
    dataset_name: str,
    iou_types: Sequence[str] = ("bbox",),
    box_only: bool = False,
    device: str | torch.device = "cuda",
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
    output_folder: str | None = None,
    logger: logging.Logger | None = None,
) -> Any:
    """Predict all images of the loader and evaluate.

    Without an ``output_folder``, as in validation, or with ``TEST.SAVE_PREDICTIONS`` False, a prediction is evaluated
    by the process that made it and let go, and only what the metrics need is gathered: no pair's scores are held.
    Otherwise the main process gathers all predictions and stores them, as SGB does.

    Predictions are always computed: ``TEST.ALLOW_LOAD_FROM_CACHE`` is accepted but those of an earlier run, possibly of
    other weights, are not reused.

    Returns:
        What ``evaluate`` returns on the main process, -1.0 on the others and for the user's own pictures.

    Raises:
        HMLError: a weight or a score is NaN or infinite, or an image has no prediction.
    """
    check_weights(model.named_parameters(), "the model to test")
    logger = logger or logging.getLogger("maskrcnn_benchmark.inference")
    device, dataset = torch.device(device), data_loader.dataset
    logger.info("Start evaluation on %s dataset (%d images).", dataset_name, len(dataset))
    if cfg.TEST.CUSTUM_EVAL:
        return _own_pictures(cfg, model, data_loader, device, dataset_name, logger)
    total, forward = Timer(), Timer()
    total.tic()
    kept: dict[int, Any] = {}
    evaluation = None
    if not (output_folder and cfg.TEST.SAVE_PREDICTIONS):
        evaluation = start_evaluation(cfg, dataset, iou_types)
    take = evaluation.add if evaluation else kept.__setitem__
    compute_on_dataset(model, data_loader, device, forward, take, label=dataset_name)
    parts = gather(evaluation.part() if evaluation else kept)
    total.toc()
    _log_times(logger, total, forward, len(dataset))
    if not is_main_process():
        return -1.0
    if evaluation:
        evaluation.merge(parts)
        check_complete(evaluation.missing(), len(dataset))
        return evaluation.finish(output_folder, logger)
    predictions = _in_order(parts, len(dataset))
    return evaluate(
        cfg=cfg,
        predictions=predictions,
        dataset=dataset,
        iou_types=iou_types,
        box_only=box_only,
        logger=logger,
        output_folder=output_folder,
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
    )


def _log_times(logger: logging.Logger, total: Timer, forward: Timer, images: int) -> None:
    processes = get_world_size()
    for what, timer in (("Total run time", total), ("Model inference time", forward)):
        per_image = timer.total_time * processes / max(images, 1)
        logger.info(
            "%s: %s (%.4f s / img per device, on %d devices)",
            what, get_time_str(timer.total_time), per_image, processes,
        )


def _own_pictures(
    cfg: CfgNode, model: torch.nn.Module, data_loader: Any, device: torch.device, label: str, logger: logging.Logger
) -> float:
    """Write the scene graphs of the user's pictures, one at a time.

    Raises:
        HMLError: a score is NaN or infinite, a picture has no prediction, or the file cannot be written.
    """
    pictures, total, forward = len(data_loader.dataset), Timer(), Timer()
    total.tic()
    model = EmptyWithoutDetection(model, cfg.MODEL.ROI_HEADS.SCORE_THRESH)
    with scene_graph_writer(cfg, pictures) as take:
        compute_on_dataset(model, data_loader, device, forward, take, label=label)
    total.toc()
    _log_times(logger, total, forward, pictures)
    if is_main_process():
        logger.info("Scene graphs of %d pictures are in %s", pictures, scene_graphs_file(cfg))
    return -1.0
