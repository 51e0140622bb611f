"""Trains the object detector that the relation head works on, and tests it.

    python detector_pretrain_net.py --config-file FILE [--skip-test] [KEY VALUE ...]

MODEL.WEIGHT names what it starts from: ImageNet weights of torchvision or a detector. The result goes into
MODEL.PRETRAINED_DETECTOR_CKPT of the relation stages, where it is frozen. Run again with the same OUTPUT_DIR, it
continues from the last checkpoint exactly as if it had not been interrupted.
"""

# ruff: noqa: E402  (the path is set before the imports)
from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

for _folder in (Path(__file__).resolve().parents[3], Path(__file__).resolve().parents[1]):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from maskrcnn_benchmark.utils.env import setup_environment  # noqa: F401, I001  (the user's set-up comes first)

import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.evaluation import test, validate
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.launch import argument_parser, check_detector, check_run, run_main, start_training
from maskrcnn_benchmark.engine.trainer import reduce_loss_dict
from maskrcnn_benchmark.engine.training_loop import Parts, distributed_model, load_checkpoint, train_loop
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer, clip_grad_norm
from maskrcnn_benchmark.utils.comm import get_rank
from maskrcnn_benchmark.utils.model_serialization import unwrapped
from maskrcnn_benchmark.utils.rng import seed_all
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.compat.amp import amp


def train(cfg: CfgNode, local_rank: int, distributed: bool, logger: logging.Logger) -> torch.nn.Module:
    """Train by ``cfg`` in ``cfg.OUTPUT_DIR``, continuing what is there; returns the model."""
    # As in relation_train_net.py, the loop is handed what this script's globals are at the time of the call.
    seed_all(cfg.SOLVER.SEED + get_rank())
    model = build_detection_model(cfg)
    model.to(torch.device(cfg.MODEL.DEVICE))
    optimizer = make_optimizer(cfg, model, logger, rl_factor=float(cfg.SOLVER.IMS_PER_BATCH))
    scheduler = make_lr_scheduler(cfg, optimizer, logger)
    model, optimizer = amp.initialize(model, optimizer, opt_level="O0" if cfg.DTYPE == "float32" else "O1")
    if distributed:
        model = distributed_model(model, local_rank)
    checkpointer = DetectronCheckpointer(
        cfg, model, optimizer, scheduler, cfg.OUTPUT_DIR, get_rank() == 0, logger=logger
    )
    extra = load_checkpoint(
        cfg, checkpointer, amp, lambda: checkpointer.load(cfg.MODEL.WEIGHT, with_optim=False)
    )
    train_loader = make_data_loader(cfg, mode="train", is_distributed=distributed, start_iter=extra["iteration"])
    val_loaders = make_data_loader(cfg, mode="val", is_distributed=distributed)
    return train_loop(Parts(
        cfg, logger, model, optimizer, scheduler, amp, checkpointer, train_loader, reduce_loss_dict,
        clip_grad_norm, validate=lambda: run_val(cfg, model, val_loaders, distributed, logger),
        may_end_early=False, print_first_gradients=False, extra=extra,
    ))


def run_val(
    cfg: CfgNode, model: torch.nn.Module, val_data_loaders: list[Any], distributed: bool, logger: logging.Logger
) -> float:
    """Mean validation result over all datasets, the same on every process."""
    return validate(inference, cfg, unwrapped(model), val_data_loaders, logger)


def run_test(cfg: CfgNode, model: torch.nn.Module, distributed: bool, logger: logging.Logger) -> None:
    """Test on every dataset of ``DATASETS.TEST``; results go to ``OUTPUT_DIR/inference/<dataset>/metrics.json``."""
    loaders = make_data_loader(cfg, mode="test", is_distributed=distributed)
    test(inference, cfg, model.module if distributed else model, cfg.DATASETS.TEST, loaders, logger)


def check_settings(cfg: CfgNode) -> None:
    """Refuse what would stop this script later; ``hml run`` calls it too, before it begins a run's folder."""
    check_run(cfg)
    check_detector(cfg)


def main() -> None:
    parser = argument_parser("Train an object detector")
    args, run_cfg, distributed, logger = start_training(parser, cfg, check_settings)
    model = train(run_cfg, args.local_rank, distributed, logger)
    if not args.skip_test:
        run_test(run_cfg, model, distributed, logger)


if __name__ == "__main__":
    run_main(main)
