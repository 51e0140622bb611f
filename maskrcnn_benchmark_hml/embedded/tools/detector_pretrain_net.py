"""Trains the object detector that the relation head works on, and tests it.

    python detector_pretrain_net.py --config-file FILE [--skip-test] [KEY VALUE ...]

MODEL.WEIGHT names what it starts from: ImageNet weights of torchvision or a detector. The result goes into
MODEL.PRETRAINED_DETECTOR_CKPT of the relation stages, where it is frozen. Run again with the same OUTPUT_DIR, it
continues from the last checkpoint exactly as if it had not been interrupted.
"""

# ruff: noqa: E402  (the path is set before the imports)
from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

for _folder in (Path(__file__).resolve().parents[3], Path(__file__).resolve().parents[1]):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from maskrcnn_benchmark.utils.env import setup_environment  # noqa: F401, I001  (the user's set-up comes first)

import torch
import torch.distributed as dist

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.launch import (
    argument_parser,
    check_detector,
    check_run,
    evaluated_types,
    log_settings,
    merged_config,
    start_processes,
)
from maskrcnn_benchmark.engine.progress import TrainingLog
from maskrcnn_benchmark.engine.trainer import StepGuard, loss_values, reduce_loss_dict, restore_rng
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer, clip_grad_norm
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import all_gather, get_rank, get_world_size, synchronize
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config
from maskrcnn_benchmark.utils.rng import rng_state, seed_all
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.compat.amp import amp
from maskrcnn_benchmark_hml.errors import HMLError


def train(cfg: CfgNode, local_rank: int, distributed: bool, logger: logging.Logger) -> torch.nn.Module:
    """Train by ``cfg`` in ``cfg.OUTPUT_DIR``, continuing what is there; returns the model."""
    seed_all(cfg.SOLVER.SEED + get_rank())
    model = build_detection_model(cfg)
    device = torch.device(cfg.MODEL.DEVICE)
    model.to(device)
    optimizer = make_optimizer(cfg, model, logger, rl_factor=float(cfg.SOLVER.IMS_PER_BATCH))
    scheduler = make_lr_scheduler(cfg, optimizer, logger)
    half = cfg.DTYPE != "float32"
    model, optimizer = amp.initialize(model, optimizer, opt_level="O1" if half else "O0")
    if distributed:
        devices = [local_rank] if device.type == "cuda" else None
        model = torch.nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    checkpointer = DetectronCheckpointer(
        cfg, model, optimizer, scheduler, cfg.OUTPUT_DIR, get_rank() == 0, logger=logger
    )
    arguments = {"iteration": 0}
    if checkpointer.has_checkpoint():
        arguments.update(checkpointer.load(update_schedule=cfg.SOLVER.UPDATE_SCHEDULE_DURING_LOAD))
        if "amp" in arguments:
            amp.load_state_dict(arguments.pop("amp"))
    else:
        checkpointer.load(cfg.MODEL.WEIGHT, with_optim=False)
    resumed_rng = arguments.pop("rng", None)
    start_iter = arguments["iteration"]

    train_data_loader = make_data_loader(cfg, mode="train", is_distributed=distributed, start_iter=start_iter)
    val_data_loaders = make_data_loader(cfg, mode="val", is_distributed=distributed)
    max_iter = len(train_data_loader)
    if start_iter >= max_iter:
        logger.info("This run is complete: %d of %d iterations are done", start_iter, max_iter)
        return model

    def save(name: str) -> None:
        checkpointer.save(name, rng=all_gather(rng_state()), amp=amp.state_dict(), **arguments)

    def validate_and_schedule(iteration: int) -> None:
        """Close an iteration."""
        result = None
        if cfg.SOLVER.TO_VAL and iteration % cfg.SOLVER.VAL_PERIOD == 0:
            logger.info("Start validating")
            result = run_val(cfg, model, val_data_loaders, distributed, logger)
            log.restart_clock()
        if cfg.SOLVER.SCHEDULE.TYPE == "WarmupReduceLROnPlateau":
            scheduler.step(result, epoch=iteration)
        else:
            scheduler.step()

    if cfg.SOLVER.PRE_VAL and start_iter == 0:
        logger.info("Validate before training")
        run_val(cfg, model, val_data_loaders, distributed, logger)

    log = TrainingLog(logger, max_iter, start_iter)
    guard = StepGuard(half)
    batches = enumerate(train_data_loader, start_iter)
    if resumed_rng is not None:
        restore_rng(resumed_rng, cfg.SOLVER.SEED + start_iter, logger)
    if scheduler.iterations_done < start_iter:
        # The checkpoint is written before the validation and the schedule's step of its iteration: make up for them.
        validate_and_schedule(start_iter)
    logger.info("Start training at iteration %d of %d", start_iter, max_iter)
    with log.running():
        for iteration, (images, targets, _) in batches:
            log.data_ready()
            iteration += 1
            arguments["iteration"] = iteration
            model.train()
            loss_dict = model(images.to(device), [target.to(device) for target in targets])
            logged = loss_values(reduce_loss_dict(loss_dict))
            guard.check_loss(logged, iteration)

            optimizer.zero_grad()
            with amp.scale_loss(sum(loss_dict.values()), optimizer) as scaled_losses:
                scaled_losses.backward()
            norm = clip_grad_norm(
                [(name, p) for name, p in model.named_parameters() if p.requires_grad],
                max_norm=cfg.SOLVER.GRAD_NORM_CLIP,
                logger=logger,
                verbose=iteration % cfg.SOLVER.PRINT_GRAD_FREQ == 0,
                clip=True,
            )
            guard.check_step(logged, norm, iteration)
            optimizer.step()
            log.step_done(iteration, logged, optimizer.param_groups[-1]["lr"])

            if iteration == max_iter:
                save("model_final")
            elif iteration % cfg.SOLVER.CHECKPOINT_PERIOD == 0:
                save(f"model_{iteration:07d}")
            validate_and_schedule(iteration)
    log.finish()
    return model


def run_val(
    cfg: CfgNode, model: torch.nn.Module, val_data_loaders: list[Any], distributed: bool, logger: logging.Logger
) -> float:
    """Mean mAP@0.5 over the validation datasets, the same on every process."""
    model = model.module if distributed else model
    results = [
        evaluate_on(cfg, model, loader, dataset_name, None, logger)
        for dataset_name, loader in zip(cfg.DATASETS.VAL, val_data_loaders)
    ]
    values = [float(value) for part in all_gather(results) for value in part if value >= 0]
    return sum(values) / max(len(values), 1)


def run_test(cfg: CfgNode, model: torch.nn.Module, distributed: bool, logger: logging.Logger) -> None:
    """Test on every dataset of ``DATASETS.TEST``; results go to ``OUTPUT_DIR/inference/<dataset>/metrics.json``."""
    model = model.module if distributed else model
    for dataset_name, loader in zip(cfg.DATASETS.TEST, make_data_loader(cfg, mode="test", is_distributed=distributed)):
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        mkdir(folder)
        evaluate_on(cfg, model, loader, dataset_name, folder, logger)


def evaluate_on(
    cfg: CfgNode, model: torch.nn.Module, loader: Any, dataset_name: str, folder: str | None, logger: logging.Logger
) -> float:
    """mAP@0.5 of one dataset (-1 off the main process), after all processes have finished with it."""
    result = inference(
        cfg,
        model,
        loader,
        dataset_name=dataset_name,
        iou_types=evaluated_types(cfg),
        device=cfg.MODEL.DEVICE,
        output_folder=folder,
        logger=logger,
    )
    synchronize()
    return result


def main() -> None:
    parser = argument_parser("Train an object detector")
    parser.add_argument("--skip-test", action="store_true", help="do not test the final model")
    args = parser.parse_args()
    run_cfg = merged_config(cfg, args.config_file, args.opts)
    check_run(run_cfg)
    check_detector(run_cfg)
    distributed = start_processes(run_cfg, args.local_rank)

    mkdir(run_cfg.OUTPUT_DIR)
    logger = setup_logger("maskrcnn_benchmark", run_cfg.OUTPUT_DIR, get_rank())
    logger.info("Using %d processes; %s", get_world_size(), args)
    logger.info("Environment:\n%s", collect_env_info())
    log_settings(run_cfg, logger)
    save_config(run_cfg, os.path.join(run_cfg.OUTPUT_DIR, "config.yml"))

    model = train(run_cfg, args.local_rank, distributed, logger)
    if not args.skip_test:
        run_test(run_cfg, model, distributed, logger)


if __name__ == "__main__":
    try:
        main()
    except HMLError as error:
        print(f"hml: error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
