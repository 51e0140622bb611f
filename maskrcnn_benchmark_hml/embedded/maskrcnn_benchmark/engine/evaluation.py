"""Validation and test of the scripts: one model on several datasets.

The scripts pass their global ``inference``, which HML may replace.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from maskrcnn_benchmark.engine.launch import evaluated_types
from maskrcnn_benchmark.utils.comm import all_gather, synchronize
from maskrcnn_benchmark.utils.miscellaneous import mkdir
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError


def evaluate_on(
    inference: Callable[..., Any], cfg: CfgNode, model: torch.nn.Module, loader: Any, dataset_name: str,
    folder: str | None, logger: logging.Logger,
) -> Any:
    """One dataset's result (-1 off the main process), after all processes have finished with it."""
    result = inference(
        cfg,
        model,
        loader,
        dataset_name=dataset_name,
        iou_types=evaluated_types(cfg),
        box_only=cfg.MODEL.RPN_ONLY,
        device=cfg.MODEL.DEVICE,
        expected_results=cfg.TEST.EXPECTED_RESULTS,
        expected_results_sigma_tol=cfg.TEST.EXPECTED_RESULTS_SIGMA_TOL,
        output_folder=folder,
        logger=logger,
    )
    synchronize()
    return result


def validate(
    inference: Callable[..., Any], cfg: CfgNode, model: torch.nn.Module, loaders: Iterable[Any], logger: logging.Logger
) -> float:
    """Mean result over ``DATASETS.VAL``, the same on every process."""
    results = [evaluate_on(inference, cfg, model, loader, name, None, logger)
               for name, loader in zip(cfg.DATASETS.VAL, loaders)]
    # Processes other than the main one return -1, and so does a dataset without anything to measure.
    values = [float(value) for part in all_gather(results) for value in part if value >= 0]
    if not values:
        raise HMLError("the validation gave no result; check DATASETS.VAL, or set SOLVER.TO_VAL and PRE_VAL to False")
    return sum(values) / len(values)


def test(
    inference: Callable[..., Any], cfg: CfgNode, model: torch.nn.Module, names: Sequence[str], loaders: Iterable[Any],
    logger: logging.Logger,
) -> None:
    """Test on the named datasets; results go to ``OUTPUT_DIR/inference/<dataset>/``."""
    for name, loader in zip(names, loaders):
        folder = None
        if cfg.OUTPUT_DIR:
            folder = os.path.join(cfg.OUTPUT_DIR, "inference", name)
            mkdir(folder)
        evaluate_on(inference, cfg, model, loader, name, folder, logger)
