"""An evaluation with predictions that depend on the image alone, as script: ``python shares.py FOLDER SPLIT KEEP``.

Under torchrun each process takes its share. What the main process writes goes to FOLDER.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[3] / "maskrcnn_benchmark_hml" / "embedded")]

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.launch import start_processes
from maskrcnn_benchmark.utils.comm import get_rank

from maskrcnn_benchmark_hml.compat import leave_process_group


class Guesses(torch.nn.Module):
    """Boxes, classes and predicates guessed from the annotation, by a generator seeded with it."""

    def forward(self, images, targets):
        return [self.one(target) for target in targets]

    def one(self, target):
        generator = torch.Generator().manual_seed(int(target.bbox.sum() * 1000) % 2**31)
        n = len(target)
        result = target.copy_with_fields([])
        result.bbox = target.bbox + torch.randint(-2, 3, (n, 4), generator=generator)
        result.add_field("pred_labels", target.get_field("labels"))
        result.add_field("pred_scores", torch.rand(n, generator=generator))
        pairs = torch.tensor([(s, o) for s in range(n) for o in range(n) if s != o])
        scores = torch.rand(len(pairs), 5, generator=generator)
        order = scores[:, 1:].amax(1).argsort(descending=True)
        result.add_field("rel_pair_idxs", pairs[order])
        result.add_field("pred_rel_scores", scores[order])
        return result


def main(folder: str, split: str, keep: str, config: str) -> None:
    torch.set_num_threads(1)
    cfg.merge_from_file(config)
    cfg.TEST.SAVE_PREDICTIONS = keep == "keep"
    cfg.TEST.SAVED_IMAGES = 3 if keep == "few" else 0
    distributed = start_processes(cfg, get_rank())
    (loader,) = make_data_loader(cfg, "test", is_distributed=distributed, dataset_to_test=split)
    inference(
        cfg, Guesses(), loader, split, iou_types=("bbox", "relations"), device="cpu", output_folder=folder,
        logger=logging.getLogger("shares"),
    )  # fmt: skip
    if distributed:
        leave_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
