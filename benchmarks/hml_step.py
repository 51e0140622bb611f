"""What a training step of HML costs on an unmodified Scene-Graph-Benchmark checkout, beside the plain step.

    SGB_HOME=DIR python benchmarks/hml_step.py [--steps N] [--batch N] [--threads N] [--predictor NAME ...]

For MOTIFS, VCTree and Transformer in PredCls, with the checkout's published config (ResNeXt-101-32x8d-FPN, full-width
heads) on made-up pictures of 12 objects, Visual Genome's mean: a plain run, then a run with two stages. A step is the
time from one optimizer step to the next, data loading included; the first two are dropped; the figure is the median.
Pictures are small, so the backbone's share, which both stages have in common, is smaller than in real training, and
the ratios are higher. A table comes first, then one line of JSON, the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from maskrcnn_benchmark_hml.datasets.layout import PHOTOS_NAME, TEST, TRAIN, ImageRecord
from maskrcnn_benchmark_hml.datasets.mini_vg import vg150_vocabulary
from maskrcnn_benchmark_hml.datasets.writer import write_vg

PREDICTORS = ("MotifPredictor", "VCTreePredictor", "TransformerPredictor")
BAR = 1.35
SIDE, OBJECTS, IMAGES, WARM_UP = 160, 12, 24, 2
CONFIG = "configs/e2e_relation_X_101_32_8_FPN_1x.yaml"
HEAD = "MODEL.ROI_RELATION_HEAD"
#: Labels of a picture: half of them coarse, half of them fine.
PREDICATES = ("on", "has", "near", "wearing", "holding", "riding", "parked on", "sitting on")


def write_data(folder: Path) -> Path:
    """Pictures with as many objects and pairs each, so that every step has the same amount of work."""
    (folder / PHOTOS_NAME).mkdir(parents=True)
    random, vocabulary = np.random.default_rng(0), vg150_vocabulary()
    pairs = [(s, o) for s in range(OBJECTS) for o in range(OBJECTS) if s != o]
    records = []
    for at in range(IMAGES):
        corner = random.integers(0, SIDE - 60, (OBJECTS, 2))
        boxes = np.concatenate([corner, corner + random.integers(20, 58, (OBJECTS, 2))], 1)
        chosen = random.permutation(len(pairs))[: len(PREDICATES)]
        relations = [(*pairs[p], vocabulary.predicate_index(name)) for p, name in zip(chosen, PREDICATES)]
        split = TRAIN if at < IMAGES - 2 else TEST
        labels = random.integers(1, len(vocabulary.objects) + 1, OBJECTS)
        records.append(ImageRecord(at + 1, SIDE, SIDE, split, boxes, labels, np.asarray(relations)))
        noise = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / PHOTOS_NAME / records[-1].photo_name())
    write_vg(folder, records, vocabulary, num_val_images=2)
    return folder


def child(times: str, threads: str, words: list[str]) -> int:
    """In a process of its own: ``hml run WORDS``, writing the time of each optimizer step."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from maskrcnn_benchmark_hml.cli import main

    torch.set_num_threads(int(threads))
    taken: list[tuple[int, float]] = []
    # A new optimizer is a new stage.
    register_optimizer_step_post_hook(lambda optimizer, *_: taken.append((id(optimizer), time.perf_counter())))
    code = main(["run", *words])
    Path(times).write_text(json.dumps(taken))
    return code


def step_times(data: Path, predictor: str, hml: bool, options: argparse.Namespace) -> list[float]:
    """Median seconds of a step: of the plain run, or of each of the two stages."""
    steps = options.steps + WARM_UP + 1
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.json"
        words = [
            "--sgb", options.sgb, "--data", str(data), "tools/relation_train_net.py", "--skip-test", "--config-file",
            CONFIG, "OUTPUT_DIR", str(Path(folder) / "out"), f"{HEAD}.PREDICTOR", predictor,
            f"{HEAD}.USE_GT_BOX", "True", f"{HEAD}.USE_GT_OBJECT_LABEL", "True", "GLOVE_DIR", "", "MODEL.WEIGHT", "",
            "MODEL.PRETRAINED_DETECTOR_CKPT", "", "DATALOADER.NUM_WORKERS", "0", "SOLVER.TO_VAL", "False",
            "SOLVER.PRE_VAL", "False", "SOLVER.CHECKPOINT_PERIOD", "100000", "SOLVER.IMS_PER_BATCH", str(options.batch),
            "TEST.IMS_PER_BATCH", "1", "INPUT.MIN_SIZE_TRAIN", f"({SIDE},)", "SOLVER.MAX_ITER", str(steps),
            "INPUT.PIXEL_STD", "[1000.0, 1000.0, 1000.0]",  # an untrained backbone scales its input up
        ]
        words += ["HML.ENABLED", "True", "HML.STAGES.ITERATIONS", f"{steps},{steps}"] if hml else []
        words = [sys.executable, __file__, "--child", str(times), str(options.threads), *words]
        environ = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        done = subprocess.run(words, capture_output=True, text=True, env=environ)
        if done.returncode:
            raise SystemExit((done.stdout + done.stderr)[-3000:])
        taken = json.loads(times.read_text())
    stages: dict[int, list[float]] = {}
    for stage, at in taken:
        stages.setdefault(stage, []).append(at)
    return [statistics.median(np.diff(at)[WARM_UP:].tolist()) for at in stages.values()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=9, help="timed steps per run and stage (default: 9)")
    parser.add_argument("--batch", type=int, default=2, help="pictures per step (default: 2)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--predictor", nargs="+", default=PREDICTORS, choices=PREDICTORS)
    parser.add_argument("--sgb", default=os.environ.get("SGB_HOME"), help="the checkout (default: SGB_HOME)")
    options = parser.parse_args()
    if not options.sgb:
        parser.error("needs a Scene-Graph-Benchmark checkout: set SGB_HOME or give --sgb DIR")
    return options


def main() -> None:
    options, rows = parse(), []
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder) / "vg")
        for predictor in tqdm(options.predictor, unit="predictor", disable=None):
            (plain,) = step_times(data, predictor, False, options)
            first, second = step_times(data, predictor, True, options)
            rows.append({"predictor": predictor, "plain_s": plain, "stage1_s": first, "stage2_s": second,
                         "stage1_to_plain": first / plain, "stage2_to_plain": second / plain,
                         "stage2_to_stage1": second / first})
    pairs = options.batch * OBJECTS * (OBJECTS - 1)
    print(f"PredCls, {options.batch} pictures and {pairs} pairs a step, {options.threads} threads, "
          f"median of {options.steps} steps")
    print(f"{'predictor':<22}{'plain':>9}{'stage 1':>9}{'stage 2':>9}{'1/plain':>9}{'2/plain':>9}{'2/1':>7}")
    for row in rows:
        print(f"{row['predictor']:<22}{row['plain_s']:>8.2f}s{row['stage1_s']:>8.2f}s{row['stage2_s']:>8.2f}s"
              f"{row['stage1_to_plain']:>9.2f}{row['stage2_to_plain']:>9.2f}{row['stage2_to_stage1']:>7.2f}")
    worst = max(row["stage2_to_stage1"] for row in rows)
    print(f"stage 2 costs at most {worst:.2f} of stage 1 (bar: {BAR})")
    rounded = [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    print(json.dumps({"benchmark": "hml_step", "rows": rounded, "pairs": pairs, "worst_stage2_to_stage1":
                      round(worst, 3), "bar": BAR, "met": worst <= BAR}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2], sys.argv[3], sys.argv[4:]))
    main()
