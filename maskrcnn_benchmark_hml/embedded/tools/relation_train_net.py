"""Trains a relation head and tests it.

    python relation_train_net.py --config-file FILE [--skip-test] [KEY VALUE ...]

Run again with the same OUTPUT_DIR, it continues from the last checkpoint exactly as if it had not been interrupted.
"""

# ruff: noqa: E402  (the path is set before the imports)
from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Works from a source tree without installation and whatever folder it is started from.
for _folder in (Path(__file__).resolve().parents[3], Path(__file__).resolve().parents[1]):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from maskrcnn_benchmark.utils.env import setup_environment  # noqa: F401, I001  (the user's set-up comes first)

import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.evaluation import test, validate
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.launch import (
    argument_parser,
    check_run,
    check_start,
    run_main,
    start_training,
    starting_model,
)
from maskrcnn_benchmark.engine.trainer import reduce_loss_dict
from maskrcnn_benchmark.engine.training_loop import Parts, distributed_model, load_checkpoint, train_loop
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer, clip_grad_norm
from maskrcnn_benchmark.utils.comm import get_rank
from maskrcnn_benchmark.utils.model_serialization import unwrapped
from maskrcnn_benchmark.utils.rng import seed_all
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.batch_statistics import keep_batch_statistics
from maskrcnn_benchmark_hml.compat.amp import amp

# The relation head's extractors start as copies of the detector's heads.
LOAD_MAPPING = {
    "roi_heads.relation.box_feature_extractor": "roi_heads.box.feature_extractor",
    "roi_heads.relation.union_feature_extractor.feature_extractor": "roi_heads.box.feature_extractor",
}
ATTRIBUTE_MAPPING = {
    "roi_heads.relation.att_feature_extractor": "roi_heads.attribute.feature_extractor",
    "roi_heads.relation.union_feature_extractor.att_feature_extractor": "roi_heads.attribute.feature_extractor",
}


def fix_eval_modules(eval_modules: Iterable[torch.nn.Module]) -> None:
    """Freeze the detector. Its modules stay in training mode: that decides what a forward pass returns."""
    for module in eval_modules:
        for parameter in module.parameters():
            parameter.requires_grad = False


def train(cfg: CfgNode, local_rank: int, distributed: bool, logger: logging.Logger) -> torch.nn.Module:
    """Train by ``cfg`` in ``cfg.OUTPUT_DIR``, continuing what is there; returns the model."""
    # HML replaces globals of this script (host/hook_points.py lists them) for the length of this call. They are looked
    # up here, at the time of the call, and given to the loop, whose own module never names them.
    seed_all(cfg.SOLVER.SEED + get_rank())
    model = build_detection_model(cfg)
    frozen = (model.rpn, model.backbone, model.roi_heads.box)
    fix_eval_modules(frozen)
    model.to(torch.device(cfg.MODEL.DEVICE))
    slow_heads = list(LOAD_MAPPING) if cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR == "IMPPredictor" else []
    optimizer = make_optimizer(
        cfg, model, logger, slow_heads=slow_heads, slow_ratio=10.0, rl_factor=float(cfg.SOLVER.IMS_PER_BATCH)
    )
    scheduler = make_lr_scheduler(cfg, optimizer, logger)
    model, optimizer = amp.initialize(model, optimizer, opt_level="O0" if cfg.DTYPE == "float32" else "O1")
    if distributed:
        model = distributed_model(model, local_rank, find_unused_parameters=True)
    checkpointer = DetectronCheckpointer(
        cfg, model, optimizer, scheduler, cfg.OUTPUT_DIR, get_rank() == 0, logger=logger, custom_scheduler=True
    )
    start = starting_model(cfg)
    extra = load_checkpoint(cfg, checkpointer, amp, lambda: load_start(cfg, checkpointer, start, logger))
    train_loader = make_data_loader(cfg, mode="train", is_distributed=distributed, start_iter=extra["iteration"])
    val_loaders = make_data_loader(cfg, mode="val", is_distributed=distributed)

    def prepare() -> None:
        fix_eval_modules(frozen)
        if start:
            keep_batch_statistics(unwrapped(model).roi_heads.relation)

    return train_loop(Parts(
        cfg, logger, model, optimizer, scheduler, amp, checkpointer, train_loader, reduce_loss_dict,
        clip_grad_norm, validate=lambda: run_val(cfg, model, val_loaders, distributed, logger), prepare=prepare,
        extra=extra,
    ))


def load_start(cfg: CfgNode, checkpointer: DetectronCheckpointer, start: str, logger: logging.Logger) -> None:
    """Load what a run that begins starts from: the relation model ``start``, or without one the detector."""
    if start:
        unused = ", MODEL.PRETRAINED_DETECTOR_CKPT is not used" if cfg.MODEL.PRETRAINED_DETECTOR_CKPT else ""
        logger.info("Fine-tuning: the whole model with its relation head starts from MODEL.WEIGHT %s%s", start, unused)
        checkpointer.load(start, with_optim=False)
        return
    if cfg.MODEL.WEIGHT:
        logger.info("MODEL.WEIGHT %s holds no relation head and is not used", cfg.MODEL.WEIGHT)
    mapping = {**LOAD_MAPPING, **(ATTRIBUTE_MAPPING if cfg.MODEL.ATTRIBUTE_ON else {})}
    checkpointer.load(cfg.MODEL.PRETRAINED_DETECTOR_CKPT, with_optim=False, load_mapping=mapping)


def run_val(
    cfg: CfgNode, model: torch.nn.Module, val_data_loaders: list[Any], distributed: bool, logger: logging.Logger
) -> float:
    """Mean validation result over all datasets, the same on every process."""
    return validate(inference, cfg, model.module if distributed else model, val_data_loaders, logger)


def run_test(cfg: CfgNode, model: torch.nn.Module, distributed: bool, logger: logging.Logger) -> None:
    """Test on every dataset of ``DATASETS.TEST``; results go to ``OUTPUT_DIR/inference/<dataset>/``."""
    loaders = make_data_loader(cfg, mode="test", is_distributed=distributed)
    test(inference, cfg, model.module if distributed else model, cfg.DATASETS.TEST, loaders, logger)


def check_settings(cfg: CfgNode) -> None:
    """Refuse what would stop this script later; ``hml run`` calls it too, before it begins a run's folder."""
    check_run(cfg)
    check_start(cfg)


def main() -> None:
    parser = argument_parser("Train a relation head")
    args, run_cfg, distributed, logger = start_training(parser, cfg, check_settings)
    model = train(run_cfg, args.local_rank, distributed, logger)
    if not args.skip_test:
        run_test(run_cfg, model, distributed, logger)


if __name__ == "__main__":
    run_main(main)
