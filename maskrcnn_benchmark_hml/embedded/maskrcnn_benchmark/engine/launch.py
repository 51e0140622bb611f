"""What every script does first: arguments, configuration, checks, process group."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from maskrcnn_benchmark.config.inert import check_refused, inert_keys
from maskrcnn_benchmark.solver import check_solver
from maskrcnn_benchmark.utils.checkpoint import resolve_weights
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size, synchronize
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.compat.checkpoint_file import holds_relation_head, weight_names
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.merge import merge_settings
from maskrcnn_benchmark_hml.run_folder import check_not_hml, newest_checkpoint

# float16 becomes bfloat16 on a CPU, where float16 lacks half of the operations.
_PRECISIONS = ("float32", "float16")
_MUST_BE_OFF = ("MODEL.ATTRIBUTE_ON", "MODEL.MASK_ON", "MODEL.KEYPOINT_ON", "MODEL.RETINANET_ON",
                "TEST.BBOX_AUG.ENABLED")  # fmt: skip


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The options that all scripts share; ``opts`` are KEY VALUE pairs of the configuration."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML file with configuration keys")
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=int(os.environ.get("LOCAL_RANK", 0)),
        help="GPU of this process; set by the launcher",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys, last word")
    return parser


def merged_config(cfg: CfgNode, config_file: str, opts: Sequence[str]) -> CfgNode:
    """A frozen copy of ``cfg`` with the file's keys, then the command line's.

    Raises:
        HMLError: the file is missing or not YAML, or a key is unknown, has no value or a value of the wrong type.
    """
    if not config_file:
        raise HMLError("no configuration is given; add --config-file FILE (configs/ has some to start from)")
    if not Path(config_file).is_file():
        raise HMLError(f"there is no configuration file {config_file}; check the path given to --config-file")
    merged = cfg.clone()
    merged.defrost()
    merge_settings(merged, config_file, opts, "config/defaults.yaml")
    merged.freeze()
    return merged


def check_run(cfg: CfgNode) -> None:
    """Check what would stop the run later, before anything is built or written.

    Raises:
        HMLError: names the key and the remedy.
    """
    check_solver(cfg)
    for key in _MUST_BE_OFF:
        node = cfg
        for part in key.split("."):
            node = node[part]
        if node:
            raise HMLError(f"{key} is on, which this benchmark does not have; set it to False")
    check_refused(cfg)
    if cfg.DTYPE not in _PRECISIONS:
        raise HMLError(f"DTYPE is {cfg.DTYPE!r}; use one of {', '.join(_PRECISIONS)}")
    if torch.device(cfg.MODEL.DEVICE).type == "cuda" and not torch.cuda.is_available():
        raise HMLError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE}, but torch sees no GPU here; add MODEL.DEVICE cpu")
    for key in ("WEIGHT", "PRETRAINED_DETECTOR_CKPT"):
        entry = cfg.MODEL[key]
        if entry and not Path(resolve_weights(cfg, entry)).is_file():
            raise HMLError(f"MODEL.{key} is {entry}, which is not a file; correct the path or set it to ''")


def log_settings(cfg: CfgNode, logger: logging.Logger) -> None:
    """Write the configuration to the log, and the keys in it that change nothing here."""
    logger.info("Running with config:\n%s", cfg)
    if keys := inert_keys(cfg):
        logger.info("These keys are set and have no effect here: %s", keys)


def start_training(
    parser: argparse.ArgumentParser, cfg: CfgNode, check: Callable[[CfgNode], None]
) -> tuple[argparse.Namespace, CfgNode, bool, logging.Logger]:
    """All that a training script does before it trains.

    Args:
        parser: of :func:`argument_parser`; a script may have added options of its own.
        check: examines the config before anything is built or written.

    Returns:
        The options, the config, whether there are several processes, and the logger; its file and the config's are
        written.
    """
    parser.add_argument("--skip-test", action="store_true", help="do not test the final model")
    args = parser.parse_args()
    cfg = merged_config(cfg, args.config_file, args.opts)
    check(cfg)
    if not cfg.get("HML", {}).get("ENABLED", False):
        check_not_hml(cfg.OUTPUT_DIR)
    distributed = start_processes(cfg, args.local_rank)
    if cfg.OUTPUT_DIR:
        mkdir(cfg.OUTPUT_DIR)
    logger = setup_logger("maskrcnn_benchmark", cfg.OUTPUT_DIR, get_rank())
    logger.info("Using %d processes; %s", get_world_size(), args)
    logger.info("Environment:\n%s", collect_env_info())
    log_settings(cfg, logger)
    save_config(cfg, os.path.join(cfg.OUTPUT_DIR, "config.yml"))
    return args, cfg, distributed, logger


def check_detector(cfg: CfgNode) -> None:
    """Check what a detector's training needs.

    Raises:
        HMLError: the model has a relation head, or a residual network would start from nothing.
    """
    if cfg.MODEL.RELATION_ON:
        raise HMLError(
            "MODEL.RELATION_ON is True, but this script trains the detector alone; set it to False, or train the "
            "relation head with relation_train_net.py"
        )
    body = cfg.MODEL.BACKBONE.CONV_BODY
    started = cfg.MODEL.WEIGHT or newest_checkpoint(cfg.OUTPUT_DIR)
    if body.startswith("R-") and not started:
        raise HMLError(
            f"{body} has frozen normalisation and cannot learn from random weights; put the path of torchvision's "
            "ImageNet weights (for example resnext101_32x8d) or of a detector into MODEL.WEIGHT"
        )


def starting_model(cfg: CfgNode) -> str:
    """The relation model that ``MODEL.WEIGHT`` names for a training to start from, "" if it names none."""
    entry = cfg.MODEL.WEIGHT
    return entry if entry and holds_relation_head(weight_names(resolve_weights(cfg, entry))) else ""


def check_start(cfg: CfgNode) -> None:
    """Check what a relation head's training starts from.

    Raises:
        HMLError: a detector is given where a relation model belongs, or the other way round.
    """
    if newest_checkpoint(cfg.OUTPUT_DIR) or starting_model(cfg):
        return
    weight, detector = cfg.MODEL.WEIGHT, cfg.MODEL.PRETRAINED_DETECTOR_CKPT
    if weight and not detector:
        raise HMLError(
            f"MODEL.WEIGHT {weight} holds no relation head to start from; if it is a detector, give it as "
            "MODEL.PRETRAINED_DETECTOR_CKPT"
        )
    if detector and not cfg.MODEL.PARTIAL_LOAD and holds_relation_head(weight_names(resolve_weights(cfg, detector))):
        raise HMLError(
            f"MODEL.PRETRAINED_DETECTOR_CKPT {detector} is a whole relation model, not a detector alone; give it as "
            "MODEL.WEIGHT to start from the whole model, or add MODEL.PARTIAL_LOAD True to load what fits by name"
        )


def start_processes(cfg: CfgNode, local_rank: int) -> bool:
    """Join the process group that the launcher's environment describes; returns whether there is one.

    NCCL between GPUs, gloo between CPUs.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        return False
    on_gpu = torch.device(cfg.MODEL.DEVICE).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(local_rank)
    if not dist.is_initialized():
        dist.init_process_group(backend="nccl" if on_gpu else "gloo", init_method="env://")
    synchronize()
    return True


def evaluated_types(cfg: CfgNode) -> tuple[str, ...]:
    """What the evaluation looks at: boxes, and relations and attributes if the model has those heads."""
    types = ["bbox"]
    if cfg.MODEL.RELATION_ON:
        types.append("relations")
    if cfg.MODEL.ATTRIBUTE_ON:
        types.append("attributes")
    return tuple(types)


def run_main(main: Callable[[], None]) -> None:
    """Call a script's ``main``; what it refuses is one sentence and exit code 2."""
    try:
        main()
    except HMLError as error:
        print(f"hml: error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
