"""``python large_file.py FOLDER N``: opens a file of N images, 22 objects and 7 relations each; prints what it took.

One line of JSON: ``open_to_parse`` (CPU time over that of parsing its image list, so that neither a slow nor a busy
machine matters), ``opened_bytes`` (growth of the process) and ``worker_bytes`` (private memory that a
forked worker gained by reading the annotation of every image). FOLDER exists and is empty.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(REPO), str(REPO / "maskrcnn_benchmark_hml" / "embedded")]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from maskrcnn_benchmark.data.datasets import VGDataset  # noqa: E402

from maskrcnn_benchmark_hml.datasets.format import ImageRecord, write_vg  # noqa: E402
from maskrcnn_benchmark_hml.datasets.mini_vg import vg150_vocabulary  # noqa: E402

OBJECTS, RELATIONS = 22, 7


def write(folder: Path, images: int) -> None:
    """One image is written by the writer, the others are its copies."""
    random = np.random.default_rng(0)
    low = random.uniform(0, 400, (OBJECTS, 2))
    boxes = np.concatenate([low, low + random.uniform(20, 90, (OBJECTS, 2))], axis=1)
    pairs = [(s, s + 1, int(p)) for s, p in enumerate(random.integers(1, 51, RELATIONS))]
    record = ImageRecord(10001, 500, 500, 0, boxes, random.integers(1, 151, OBJECTS), np.array(pairs), [(1,)] * OBJECTS)
    write_vg(folder, [record], vg150_vocabulary(), num_val_images=0)
    path = folder / "VG-SGG-with-attri.h5"
    with h5py.File(path) as file:
        one = {name: file[name][:] for name in file}
        attrs = dict(file.attrs)
    with h5py.File(path, "w") as file:
        file.attrs.update(attrs)
        for name, value in one.items():
            step = OBJECTS if name in ("img_to_first_box", "img_to_last_box", "relationships") else 0
            step = RELATIONS if name in ("img_to_first_rel", "img_to_last_rel") else step
            shift = np.repeat(np.arange(images), len(value)) * step
            shape = (-1, *[1] * (value.ndim - 1))
            file[name] = np.tile(value, (images, *[1] * (value.ndim - 1))) + shift.reshape(shape).astype(value.dtype)
    ids = range(10001, 10001 + images)
    entries = [{"image_id": i, "width": 500, "height": 500} for i in ids]
    (folder / "image_data.json").write_text(json.dumps(entries))
    (folder / "VG_100K").mkdir(exist_ok=True)
    for i in ids:
        (folder / "VG_100K" / f"{i}.jpg").touch()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def private() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


def main(folder: Path, images: int) -> None:
    write(folder, images)
    gc.collect()
    start = time.process_time()
    json.loads((folder / "image_data.json").read_text())
    parsing = time.process_time() - start
    gc.collect()
    before, start = resident(), time.process_time()
    names = ("VG_100K", "VG-SGG-with-attri.h5", "VG-SGG-dicts-with-attri.json", "image_data.json")
    dataset = VGDataset("train", *(str(folder / name) for name in names), num_val_im=0)
    opening = time.process_time() - start
    taken = {"images": len(dataset), "open_to_parse": opening / parsing, "opened_bytes": resident() - before}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        own = private()
        for index in range(len(dataset)):
            dataset.get_groundtruth(index)
        os.write(writing, str(private() - own).encode())
        os._exit(0)
    os.waitpid(child, 0)
    print(json.dumps({**taken, "worker_bytes": int(os.read(reading, 64))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
