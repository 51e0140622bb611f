"""Tests a trained relation head.

    python relation_test_net.py --config-file FILE OUTPUT_DIR DIR_OF_THE_RUN [KEY VALUE ...]

Tests the last checkpoint in OUTPUT_DIR, else the file MODEL.WEIGHT, on DATASETS.TEST (or on the split that
DATASETS.TO_TEST names). Results go to OUTPUT_DIR/inference/<dataset>/.
"""

# ruff: noqa: E402  (the path is set before the imports)
from __future__ import annotations

import sys
from pathlib import Path

for _folder in (Path(__file__).resolve().parents[3], Path(__file__).resolve().parents[1]):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from maskrcnn_benchmark.utils.env import setup_environment  # noqa: F401, I001  (the user's set-up comes first)


from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.evaluation import test
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.launch import (
    argument_parser,
    check_run,
    log_settings,
    merged_config,
    run_main,
    start_processes,
)
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.rng import seed_all
from maskrcnn_benchmark_hml.compat.amp import amp
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.run_folder import last_checkpoint, newest_checkpoint

SPLITS = {"train": "TRAIN", "val": "VAL", "test": "TEST"}


def main() -> None:
    args = argument_parser("Test a relation head").parse_args()
    run_cfg = merged_config(cfg, args.config_file, args.opts)
    check_run(run_cfg)
    split = run_cfg.DATASETS.TO_TEST or "test"
    if split not in SPLITS:
        raise HMLError(f"DATASETS.TO_TEST is {split!r}; use one of {', '.join(SPLITS)}")
    last = last_checkpoint(run_cfg.OUTPUT_DIR)
    if not newest_checkpoint(run_cfg.OUTPUT_DIR) and not run_cfg.MODEL.WEIGHT:
        raise HMLError(
            f"there is nothing to test: {last} does not exist and MODEL.WEIGHT is empty; "
            "give OUTPUT_DIR of a trained run, or MODEL.WEIGHT FILE"
        )
    distributed = start_processes(run_cfg, args.local_rank)

    logger = setup_logger("maskrcnn_benchmark", "", get_rank())
    logger.info("Using %d processes", get_world_size())
    logger.info("Environment:\n%s", collect_env_info())
    log_settings(run_cfg, logger)

    seed_all(run_cfg.SOLVER.SEED)
    model = build_detection_model(run_cfg)
    model.to(run_cfg.MODEL.DEVICE)
    amp.init(enabled=run_cfg.DTYPE != "float32", verbose=run_cfg.AMP_VERBOSE)
    DetectronCheckpointer(run_cfg, model, save_dir=run_cfg.OUTPUT_DIR, logger=logger).load(run_cfg.MODEL.WEIGHT)

    loaders = make_data_loader(
        cfg=run_cfg, mode="test", is_distributed=distributed, dataset_to_test=run_cfg.DATASETS.TO_TEST
    )
    test(inference, run_cfg, model, run_cfg.DATASETS[SPLITS[split]], loaders, logger)


if __name__ == "__main__":
    run_main(main)
