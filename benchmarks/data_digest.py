"""What the check and the digest of a dataset cost at the start of a run, and the lock at each step.

    python benchmarks/data_digest.py [--images N]

The annotations are made up; their number is Visual Genome's. Seconds are CPU time of this process; the digest stands
beside reading the same arrays once. A run makes two digests at its start (training and validation split) and one for
each stage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from maskrcnn_benchmark_hml.datasets.format import DICTS_NAME, H5_NAME, IMAGES_NAME  # noqa: E402
from maskrcnn_benchmark_hml.datasets.run_check import check_files  # noqa: E402
from maskrcnn_benchmark_hml.host.run_lock import RunLock  # noqa: E402
from maskrcnn_benchmark_hml.host.training_data import data_digest  # noqa: E402
from tests.host.test_binding import VisualGenome  # noqa: E402

STEPS = 100


def write_files(folder: Path, images: int) -> list[str]:
    """An annotation file, names and a list of images with VG150's numbers per image: 11 boxes, 6 relations."""
    random = np.random.default_rng(0)
    boxes, relations = random.integers(2, 20, images), random.integers(1, 12, images)
    first_box, first_rel = np.cumsum(boxes) - boxes, np.cumsum(relations) - relations
    image = np.repeat(np.arange(images), relations)
    joined = first_box[image][:, None] + random.random((len(image), 2)).argsort(1)
    with h5py.File(folder / H5_NAME, "w") as file:
        for name, first, count in (("box", first_box, boxes), ("rel", first_rel, relations)):
            file[f"img_to_first_{name}"] = first.astype(np.int32)
            file[f"img_to_last_{name}"] = (first + count - 1).astype(np.int32)
        file["split"] = np.where(random.random(images) < 0.7, 0, 2).astype(np.int32)
        file["labels"] = random.integers(1, 151, (boxes.sum(), 1))
        file["boxes_1024"] = random.integers((100, 100, 20, 20), (925, 669, 200, 200), (boxes.sum(), 4), np.int32)
        file["attributes"] = np.zeros((boxes.sum(), 10), np.int64)
        file["relationships"] = joined.astype(np.int32)
        file["predicates"] = random.integers(1, 51, (len(image), 1))
    names = {"label": 150, "predicate": 50, "attribute": 200}
    index = {kind: {f"{kind}{i}": i for i in range(1, n + 1)} for kind, n in names.items()}
    dicts = {f"{kind}_to_idx": of for kind, of in index.items()}
    dicts.update({f"idx_to_{kind}": {str(i): name for name, i in of.items()} for kind, of in index.items()})
    (folder / DICTS_NAME).write_text(json.dumps(dicts))
    entries = [{"image_id": i + 1, "width": 800, "height": 600, "url": f"https://example.org/VG_100K/{i}.jpg",
                "coco_id": None, "flickr_id": None} for i in range(images)]  # fmt: skip
    (folder / IMAGES_NAME).write_text(json.dumps(entries))
    return [str(folder / name) for name in (H5_NAME, DICTS_NAME, IMAGES_NAME)]


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=108_073, help="default: %(default)s")
    data = VisualGenome(images := parser.parse_args().images)
    read = seconds(lambda: sum(int(np.sum(r)) for r in (*data.gt_boxes, *data.gt_classes, *data.relationships)))
    digest = seconds(lambda: data_digest([data]))
    print(f"{images:,} images: digest {digest:.2f} s of CPU, {digest / read:.1f} times a sum over the arrays")
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), images)
        print(f"{images:,} images: check of the files {seconds(lambda: check_files(*files)):.2f} s of CPU")
        with RunLock() as lock:
            took = seconds(lambda: lock.begin(folder))
            steps = seconds(lambda: [lock.check() for _ in range(STEPS)])
        print(f"lock: taken {1e3 * took:.1f} ms, looked at after {STEPS} steps {1e3 * steps:.1f} ms")


if __name__ == "__main__":
    main()
