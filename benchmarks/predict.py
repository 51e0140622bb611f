"""Pictures per second of ``hml predict`` and of Scene-Graph-Benchmark's TEST.CUSTUM_EVAL, the two taking turns.

    SGB_HOME=DIR python benchmarks/predict.py [--pictures N] [--rounds N] [--draw svg] [--threads N]

Both predict scene graphs of the same drawn pictures of about 160 x 128 pixels, in SGDet with MOTIFS, by a run that has
been trained for two steps: Scene-Graph-Benchmark (SGB) by its test script under ``hml run``, with its smallest backbone
(a thin ResNet-50), ours on the bundled benchmark, with its own. Both have heads of the demo's widths and keep 30 boxes,
so 870 pairs, a picture. SGB writes all scores of all pairs; ours writes the 100 best relations of each picture.

Whole commands are timed with few and with many pictures. Pictures per second are of the difference, so neither includes
its start. CPU seconds are given too, because they depend less on what else runs. Progress goes to stderr, a table and
then one line of JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sgb_pair import sections
from tqdm import tqdm

from maskrcnn_benchmark_hml.datasets.layout import PHOTOS_NAME
from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg

REPO = Path(__file__).resolve().parents[1]
OURS, SGB = "ours", "sgb"
BAR, FEW, DETECTIONS = 3.0, 10, 30
HEAD = sections.HEAD
COMMON = {
    HEAD + "PREDICTOR": "MotifPredictor", HEAD + "USE_GT_BOX": False, HEAD + "USE_GT_OBJECT_LABEL": False,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": DETECTIONS, "MODEL.ROI_HEADS.SCORE_THRESH": 0.0,  # 30 boxes of untrained ones
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 300, "MODEL.RPN.POST_NMS_TOP_N_TEST": 100,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 150, "INPUT.MAX_SIZE_TEST": 160, "SOLVER.MAX_ITER": 2,
    "SOLVER.IMS_PER_BATCH": 2,
}  # fmt: skip
OURS_OWN = {"MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125, 0.0625)}
SGB_OWN = {**sections.BASE, **sections.SLIM, **sections.SGB_SLIM, "INPUT.MAX_SIZE_TRAIN": 160,
           "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125, 0.0625, 0.03125)}  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200, help="number of pictures (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each command runs (default: %(default)s)")
    parser.add_argument("--draw", default="none", help="--draw of hml predict (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on each side (default: %(default)s)")
    parser.add_argument("--sgb", default=os.environ.get("SGB_HOME"), help="the checkout (default: SGB_HOME)")
    options = parser.parse_args()
    if not options.sgb or not (Path(options.sgb) / sections.CONFIG).is_file():
        parser.error("needs a Scene-Graph-Benchmark checkout: set SGB_HOME or give --sgb DIR")
    if options.pictures <= FEW:
        parser.error(f"--pictures is more than {FEW}")
    return options


class Sides:
    """The commands of both sides in a folder of their own."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, self.sgb = folder, options, str(Path(options.sgb).resolve())
        path = (str(REPO), os.environ.get("PYTHONPATH", ""))
        threads = str(options.threads)
        self.environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "OMP_NUM_THREADS": threads,
                        "MKL_NUM_THREADS": threads, "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
        self.environ.pop("SGB_HOME", None)
        self.data = make_mini_vg(folder / "vg", images=options.pictures + 60, seed=0)
        for number in (FEW, options.pictures):
            (folder / f"photos{number}").mkdir()
            for photo in sorted((self.data / PHOTOS_NAME).iterdir())[:number]:
                shutil.copy(photo, folder / f"photos{number}")

    def hml(self, *words: object) -> tuple[float, float]:
        """Run a command; wall-clock and CPU seconds."""
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        call = [sys.executable, "-m", "maskrcnn_benchmark_hml", *map(str, words)]
        done = subprocess.run(call, cwd=self.folder, env=self.environ, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(call)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - start, cpu

    def train(self, side: str) -> None:
        """Two steps, so that there is a run."""
        config, own, where = str(REPO / "configs/demo/relation.yaml"), OURS_OWN, []
        if side == SGB:
            config, own, where = str(Path(self.sgb) / sections.CONFIG), SGB_OWN, ["--sgb", self.sgb]
        self.hml("run", *where, "--data", self.data, "tools/relation_train_net.py", "--config-file", config,
                 "--skip-test", *sections.words(own, COMMON, {"OUTPUT_DIR": str(self.folder / side)}))  # fmt: skip

    def predict(self, side: str, number: int) -> tuple[float, float]:
        """All pictures of a folder."""
        photos = self.folder / f"photos{number}"
        out = Path(tempfile.mkdtemp(dir=self.folder))
        if side == OURS:
            times = self.hml("predict", self.folder / OURS, photos, "--out", out, "--draw", self.options.draw)
            graphs = json.loads((out / "scene_graphs.json").read_text())["graphs"]
            boxes = [len(graph["objects"]) for graph in graphs]
        else:
            run = self.folder / SGB
            times = self.hml("run", "--sgb", self.sgb, "--data", self.data, "tools/relation_test_net.py",
                             "--config-file", run / "config.yml", "OUTPUT_DIR", run, "TEST.CUSTUM_EVAL", True,
                             "TEST.CUSTUM_PATH", photos, "DETECTED_SGG_DIR", out)  # fmt: skip
            boxes = [len(graph["bbox"]) for graph in json.loads((out / "custom_prediction.json").read_text()).values()]
        if len(boxes) != number or statistics.mean(boxes) < 0.8 * DETECTIONS:
            sys.exit(f"{side}: {len(boxes)} pictures with {statistics.mean(boxes):.1f} boxes, not {number} with 30")
        shutil.rmtree(out)
        return times


def main() -> None:
    options = parse()
    times: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), options)
        for side in (SGB, OURS):
            sides.train(side)
        turns = [(side, number) for number in (FEW, options.pictures) for side in (SGB, OURS)] * options.rounds
        for side, number in tqdm(turns, unit="command", disable=None):
            times.setdefault((side, number), []).append(sides.predict(side, number))
            tqdm.write(f"{side}, {number} pictures: {times[side, number][-1]} s (wall clock, CPU)", file=sys.stderr)
    median = {key: [statistics.median(t[k] for t in values) for k in (0, 1)] for key, values in times.items()}
    content: dict[str, object] = {"benchmark": "predict", "pictures": options.pictures, "draw": options.draw,
                                  "threads": options.threads, "load": os.getloadavg()[0]}  # fmt: skip
    print(f"{'':<34}{'SGB':>10}{'ours':>10}{'ratio':>8}")
    for kind, k in (("wall", 0), ("cpu", 1)):
        rate = {side: (options.pictures - FEW) / (median[side, options.pictures][k] - median[side, FEW][k])
                for side in (SGB, OURS)}  # fmt: skip
        whole = {side: median[side, options.pictures][k] for side in (SGB, OURS)}
        for what, of, ratio in (("pictures per second", rate, rate[OURS] / rate[SGB]),
                                ("whole command, seconds", whole, whole[SGB] / whole[OURS])):  # fmt: skip
            print(f"{f'{what} ({kind})':<34}{of[SGB]:>10.3g}{of[OURS]:>10.3g}{ratio:>8.2f}")
        content[kind] = {"rate": rate, "ratio": rate[OURS] / rate[SGB], "whole": whole}
    print(json.dumps({**content, "bar": BAR, "met": content["wall"]["ratio"] >= BAR}))  # type: ignore[index]


if __name__ == "__main__":
    main()
