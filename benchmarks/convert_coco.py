"""CPU time and peak memory of ``hml data convert-coco`` at the size of Visual Genome: 100,000 images, 2 M relations.

    python benchmarks/convert_coco.py

Makes COCO files of random boxes and relations (about 500 MB) in a temporary folder, converts them in a process of its
own, without pictures, and compares the counts.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

OBJECTS, RELATIONS, CLASSES, PREDICATES = 15, 20, 150, 50


def entries(images: int, first: int, rng: random.Random) -> Iterator[tuple[str, Iterator[dict]]]:
    """The lists of one file, in the order in which SGG-Benchmark writes them."""
    numbers = range(first, first + images)
    yield "images", ({"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in numbers)
    yield "annotations", (
        {"id": i * OBJECTS + k, "image_id": i, "category_id": rng.randint(1, CLASSES),
         "bbox": [rng.random() * 500, rng.random() * 400, 20 + rng.random() * 100, 20 + rng.random() * 50],
         "area": rng.random() * 5000, "iscrowd": 0, "segmentation": []}
        for i in numbers for k in range(OBJECTS))  # fmt: skip
    pairs = [(s, o) for s in range(OBJECTS) for o in range(OBJECTS) if s != o]
    yield "rel_annotations", (
        {"id": i * RELATIONS + k, "subject_id": i * OBJECTS + s, "object_id": i * OBJECTS + o, "image_id": i,
         "predicate_id": rng.randint(1, PREDICATES)}
        for i in numbers for k, (s, o) in enumerate(rng.sample(pairs, RELATIONS)))  # fmt: skip
    yield "categories", iter([{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)])
    yield "rel_categories", iter([{"id": i, "name": f"predicate {i}"} for i in range(1, PREDICATES + 1)])


def make(folder: Path, images: int) -> int:
    """Write three files, 70, 10 and 20 % of the images; their bytes."""
    rng, first, size = random.Random(0), 1, 0
    for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        count = round(images * share)
        path = folder / name / "_annotations.coco.json"
        path.parent.mkdir(parents=True)
        with path.open("w") as file:
            for n, (key, values) in enumerate(entries(count, first, rng)):
                file.write(f'{"," if n else "{"}"{key}": [')
                for k, value in enumerate(values):
                    file.write(("," if k else "") + json.dumps(value))
                file.write("]")
            file.write("}")
        first += count
        size += path.stat().st_size
    return size


def main() -> None:
    """Make, convert, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="number of images (default: %(default)s)")
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as place:
        size = make(Path(place) / "coco", images)
        start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "maskrcnn_benchmark_hml", "data", "convert-coco", "coco", "vg"]
        done = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True)
        wall, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    expected = f"kept {images:,} images, {images * OBJECTS:,} objects, {images * RELATIONS:,} relations"
    assert expected in done.stdout, done.stdout
    found = {
        "images": images, "relations": images * RELATIONS, "source_mb": round(size / 1e6),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "wall_s": round(wall, 1),
        "peak_gb": round(after.ru_maxrss / 2**20, 2),
    }  # fmt: skip
    print(done.stdout)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
