"""Trains a relation head and tests it.

    python relation_train_net.py --config-file FILE [--skip-test] [KEY VALUE ...]

Run again with the same OUTPUT_DIR, it continues from the last checkpoint exactly as if it had not been interrupted.
"""

# ruff: noqa: E402  (the path is set before the imports)
from __future__ import annotations

import logging
import os
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
import torch.distributed as dist

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.launch import (
    argument_parser,
    check_run,
    check_start,
    evaluated_types,
    log_settings,
    merged_config,
    start_processes,
    starting_model,
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
from maskrcnn_benchmark.utils.model_serialization import unwrapped
from maskrcnn_benchmark.utils.rng import rng_state, seed_all
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.batch_statistics import keep_batch_statistics
from maskrcnn_benchmark_hml.compat.amp import amp
from maskrcnn_benchmark_hml.errors import HMLError

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
    seed_all(cfg.SOLVER.SEED + get_rank())
    model = build_detection_model(cfg)
    eval_modules = (model.rpn, model.backbone, model.roi_heads.box)
    fix_eval_modules(eval_modules)
    device = torch.device(cfg.MODEL.DEVICE)
    model.to(device)

    slow_heads = list(LOAD_MAPPING) if cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR == "IMPPredictor" else []
    optimizer = make_optimizer(
        cfg, model, logger, slow_heads=slow_heads, slow_ratio=10.0, rl_factor=float(cfg.SOLVER.IMS_PER_BATCH)
    )
    scheduler = make_lr_scheduler(cfg, optimizer, logger)
    half = cfg.DTYPE != "float32"
    model, optimizer = amp.initialize(model, optimizer, opt_level="O1" if half else "O0")
    if distributed:
        devices = [local_rank] if device.type == "cuda" else None
        model = torch.nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, find_unused_parameters=True
        )

    checkpointer = DetectronCheckpointer(
        cfg, model, optimizer, scheduler, cfg.OUTPUT_DIR, get_rank() == 0, logger=logger, custom_scheduler=True
    )
    arguments, start = {"iteration": 0}, starting_model(cfg)
    if checkpointer.has_checkpoint():
        arguments.update(checkpointer.load(update_schedule=cfg.SOLVER.UPDATE_SCHEDULE_DURING_LOAD))
        if "amp" in arguments:
            amp.load_state_dict(arguments.pop("amp"))
    elif start:
        unused = ", MODEL.PRETRAINED_DETECTOR_CKPT is not used" if cfg.MODEL.PRETRAINED_DETECTOR_CKPT else ""
        logger.info("Fine-tuning: the whole model with its relation head starts from MODEL.WEIGHT %s%s", start, unused)
        checkpointer.load(start, with_optim=False)
    else:
        if cfg.MODEL.WEIGHT:
            logger.info("MODEL.WEIGHT %s holds no relation head and is not used", cfg.MODEL.WEIGHT)
        mapping = {**LOAD_MAPPING, **(ATTRIBUTE_MAPPING if cfg.MODEL.ATTRIBUTE_ON else {})}
        checkpointer.load(cfg.MODEL.PRETRAINED_DETECTOR_CKPT, with_optim=False, load_mapping=mapping)
    resumed_rng = arguments.pop("rng", None)
    start_iter = arguments["iteration"]

    train_data_loader = make_data_loader(cfg, mode="train", is_distributed=distributed, start_iter=start_iter)
    val_data_loaders = make_data_loader(cfg, mode="val", is_distributed=distributed)
    max_iter = len(train_data_loader)

    def save(name: str) -> None:
        checkpointer.save(name, rng=all_gather(rng_state()), amp=amp.state_dict(), **arguments)

    def validate_and_schedule(iteration: int) -> bool:
        """Close an iteration; returns True when the schedule says that training is over."""
        result = None
        if cfg.SOLVER.TO_VAL and iteration % cfg.SOLVER.VAL_PERIOD == 0:
            logger.info("Start validating")
            result = run_val(cfg, model, val_data_loaders, distributed, logger)
            logger.info("Validation Result: %.4f", result)
            log.restart_clock()
        if cfg.SOLVER.SCHEDULE.TYPE != "WarmupReduceLROnPlateau":
            scheduler.step()
            return False
        scheduler.step(result, epoch=iteration)
        return scheduler.stage_count >= cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP

    if cfg.SOLVER.PRE_VAL and start_iter == 0:
        logger.info("Validate before training")
        run_val(cfg, model, val_data_loaders, distributed, logger)

    if getattr(scheduler, "stage_count", 0) >= cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP:
        logger.info("This run ended by MAX_DECAY_STEP at iteration %d", start_iter)
        return model
    if start_iter >= max_iter:
        logger.info("This run is complete: %d of %d iterations are done", start_iter, max_iter)
        return model

    log = TrainingLog(logger, max_iter, start_iter)
    guard, first_gradient, stop = StepGuard(half), True, False
    batches = enumerate(train_data_loader, start_iter)
    if resumed_rng is not None:
        restore_rng(resumed_rng, cfg.SOLVER.SEED + start_iter, logger)
    if scheduler.iterations_done < start_iter:
        # The checkpoint is written before the validation and the schedule's step of its iteration: make up for them.
        stop = validate_and_schedule(start_iter)
    logger.info("Start training at iteration %d of %d", start_iter, max_iter)
    with log.running():
        for iteration, (images, targets, _) in batches if not stop else ():
            log.data_ready()
            iteration += 1
            arguments["iteration"] = iteration
            model.train()
            fix_eval_modules(eval_modules)
            if start:
                keep_batch_statistics(unwrapped(model).roi_heads.relation)

            loss_dict = model(images.to(device), [target.to(device) for target in targets])
            losses = sum(loss_dict.values())
            logged = loss_values(reduce_loss_dict(loss_dict))
            guard.check_loss(logged, iteration)

            optimizer.zero_grad()
            with amp.scale_loss(losses, optimizer) as scaled_losses:
                scaled_losses.backward()
            verbose = first_gradient or iteration % cfg.SOLVER.PRINT_GRAD_FREQ == 0
            first_gradient = False
            norm = clip_grad_norm(
                [(name, p) for name, p in model.named_parameters() if p.requires_grad],
                max_norm=cfg.SOLVER.GRAD_NORM_CLIP,
                logger=logger,
                verbose=verbose,
                clip=True,
            )
            guard.check_step(logged, norm, iteration)
            optimizer.step()
            log.step_done(iteration, logged, optimizer.param_groups[-1]["lr"])

            if iteration == max_iter:
                save("model_final")
            elif iteration % cfg.SOLVER.CHECKPOINT_PERIOD == 0:
                save(f"model_{iteration:07d}")
            stop = validate_and_schedule(iteration)
            if stop:
                break
    if stop:
        logger.info("Trigger MAX_DECAY_STEP at iteration %d.", arguments["iteration"])
        save("model_final")
    log.finish()
    return model


def run_val(
    cfg: CfgNode, model: torch.nn.Module, val_data_loaders: list[Any], distributed: bool, logger: logging.Logger
) -> float:
    """Mean validation result over all datasets, the same on every process."""
    model = model.module if distributed else model
    results = []
    for dataset_name, loader in zip(cfg.DATASETS.VAL, val_data_loaders):
        results.append(evaluate_on(cfg, model, loader, dataset_name, None, logger))
    # Processes other than the main one return -1, and so does a dataset without anything to measure.
    values = [float(value) for part in all_gather(results) for value in part if value >= 0]
    if not values:
        raise HMLError("the validation gave no result; check DATASETS.VAL, or set SOLVER.TO_VAL and PRE_VAL to False")
    return sum(values) / len(values)


def run_test(cfg: CfgNode, model: torch.nn.Module, distributed: bool, logger: logging.Logger) -> None:
    """Test on every dataset of ``DATASETS.TEST``; results go to ``OUTPUT_DIR/inference/<dataset>/``."""
    model = model.module if distributed else model
    loaders = make_data_loader(cfg, mode="test", is_distributed=distributed)
    for dataset_name, loader in zip(cfg.DATASETS.TEST, loaders):
        folder = None
        if cfg.OUTPUT_DIR:
            folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
            mkdir(folder)
        evaluate_on(cfg, model, loader, dataset_name, folder, logger)


def evaluate_on(
    cfg: CfgNode, model: torch.nn.Module, loader: Any, dataset_name: str, folder: str | None, logger: logging.Logger
) -> Any:
    """One dataset's result, after all processes have finished with it."""
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


def main() -> None:
    parser = argument_parser("Train a relation head")
    parser.add_argument("--skip-test", action="store_true", help="do not test the final model")
    args = parser.parse_args()
    run_cfg = merged_config(cfg, args.config_file, args.opts)
    check_run(run_cfg)
    check_start(run_cfg)
    distributed = start_processes(run_cfg, args.local_rank)

    if run_cfg.OUTPUT_DIR:
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
