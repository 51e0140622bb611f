"""Runs ``hml run ...`` with a detector made on the spot; stores what stage 2 starts from.

Not a test: a child process of test_starting_weights.py. Usage: start_run.py FOLDER <arguments of hml run>. Writes
FOLDER/detector.pth, the first stage's detector moved by noise, and FOLDER/start.pt, the model before stage 2's step 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.host.stage_driver import StageDriver

COPY = "roi_heads.relation.box_feature_extractor."


def watch(folder: Path) -> Path:
    detector, build, before = folder / "detector.pth", StageDriver._build_model, StageDriver._before_forward
    torch.save({"model": {"backbone": torch.zeros(1)}}, detector)  # a run refuses a path without weights

    def building(self, *args, **kwargs):
        model = build(self, *args, **kwargs)
        if self.stage.index == 1:
            weights = {name: t for name, t in model.state_dict().items() if not name.startswith("roi_heads.relation.")}
            for name, tensor in model.state_dict().items():  # the embedded PredCls model has no box head
                if name.startswith(COPY + "fc"):
                    weights[name.replace(COPY, "roi_heads.box.feature_extractor.")] = tensor
            torch.save({"model": {n: t + 0.01 if t.is_floating_point() else t for n, t in weights.items()}}, detector)
        return model

    def starting(self, model, inputs):
        if self.stage.index == 2 and self.iteration == 0:
            torch.save({name: t.clone() for name, t in model.state_dict().items()}, folder / "start.pt")
        return before(self, model, inputs)

    StageDriver._build_model, StageDriver._before_forward = building, starting
    return detector


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(["run", *sys.argv[2:], "MODEL.PRETRAINED_DETECTOR_CKPT", str(watch(Path(sys.argv[1])))]))
