"""What the digest of a dataset costs at the start of a run, beside reading the same arrays once.

    python benchmarks/data_digest.py [--images N]

The annotations are made up; their number is Visual Genome's.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from maskrcnn_benchmark_hml.host.training_data import data_digest  # noqa: E402
from tests.host.test_binding import VisualGenome  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=108_073, help="default: %(default)s")
    data = VisualGenome(parser.parse_args().images)
    start = time.process_time()
    sum(int(np.sum(rows)) for rows in (*data.gt_boxes, *data.gt_classes, *data.relationships))
    read = time.process_time() - start
    start = time.process_time()
    data_digest([data])
    took = time.process_time() - start
    print(f"{len(data):,} images: digest {took:.2f} s of CPU, {took / read:.1f} times a sum over the arrays")


if __name__ == "__main__":
    main()
