"""Made-up data: pictures of a given number of objects, annotations at Visual Genome's scale, random predictions."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from maskrcnn_benchmark_hml.datasets.layout import (
    DICTS_NAME,
    H5_NAME,
    IMAGES_NAME,
    MAX_ATTRIBUTES,
    PHOTOS_NAME,
    TEST,
    TRAIN,
    ImageRecord,
    Vocabulary,
)
from maskrcnn_benchmark_hml.datasets.mini_vg import vg150_vocabulary
from maskrcnn_benchmark_hml.datasets.writer import write_vg
from maskrcnn_benchmark_hml.files import write_json

SIDE = 160
RELATIONS = 7
#: Visual Genome's split: training images, of which the first 5,000 with relations validate, and test images.
TRAIN_IMAGES, VALIDATION_IMAGES, TEST_IMAGES = 57_723, 5_000, 26_446
VG_OBJECTS = 22


def write_pictures(
    folder: Path, *, train: int, validation: int, test: int, objects: int, predicates: int = 50
) -> Path:
    """Noise pictures of ``SIDE`` pixels with ``objects`` boxes and ``RELATIONS`` relations each."""
    (folder / PHOTOS_NAME).mkdir(parents=True)
    random, vocabulary = np.random.default_rng(0), vg150_vocabulary()
    if predicates != len(vocabulary.predicates):
        names = tuple(f"predicate{i}" for i in range(predicates))
        vocabulary = Vocabulary(vocabulary.objects, names, vocabulary.attributes)
    pairs = [(s, o) for s in range(objects) for o in range(objects) if s != o]
    records = []
    for at in range(train + validation + test):
        corner = random.integers(0, SIDE - 60, (objects, 2))
        boxes = np.concatenate([corner, corner + random.integers(20, 58, (objects, 2))], 1)
        chosen = random.permutation(len(pairs))[:RELATIONS]
        relations = [(*pairs[p], int(random.integers(1, predicates + 1))) for p in chosen]
        labels = random.integers(1, len(vocabulary.objects) + 1, objects)
        split = TRAIN if at < train + validation else TEST
        records.append(ImageRecord(at + 1, SIDE, SIDE, split, boxes, labels, np.asarray(relations)))
        noise = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / PHOTOS_NAME / records[-1].photo_name())
    write_vg(folder, records, vocabulary, num_val_images=validation)
    return folder


def write_annotations(folder: Path, scale: float) -> tuple[Path, int, int]:
    """``scale`` times Visual Genome: annotation files, and pictures of no bytes, since readers want them to exist.

    Returns:
        the folder, the number of training images and that of validation images.
    """
    (folder / PHOTOS_NAME).mkdir(parents=True)
    random, vocabulary = np.random.default_rng(0), vg150_vocabulary()
    train, validation, test = (round(n * scale) for n in (TRAIN_IMAGES, VALIDATION_IMAGES, TEST_IMAGES))
    images = train + validation + test
    objects = random.integers(2, 2 * VG_OBJECTS - 1, images)
    relations = random.integers(1, 2 * RELATIONS, images)
    end_box, end_rel = objects.cumsum(), relations.cumsum()
    first_box, first_rel = end_box - objects, end_rel - relations

    size = random.integers(30, 500, (end_box[-1], 2))
    centre = size // 2 + 1 + (random.random(size.shape) * (1000 - size)).astype(np.int64)
    count, start = np.repeat(objects, relations), np.repeat(first_box, relations)
    subject = random.integers(0, count)
    target = (subject + random.integers(1, count)) % count
    arrays = {
        "split": np.repeat((TRAIN, TEST), (train + validation, test)),
        "labels": random.integers(1, len(vocabulary.objects) + 1, (end_box[-1], 1)),
        "attributes": np.zeros((end_box[-1], MAX_ATTRIBUTES)),
        "boxes_1024": np.concatenate([centre, size], 1),
        "relationships": np.stack([subject + start, target + start], 1),
        "predicates": random.integers(1, len(vocabulary.predicates) + 1, (end_rel[-1], 1)),
        "img_to_first_box": first_box,
        "img_to_last_box": end_box - 1,
        "img_to_first_rel": first_rel,
        "img_to_last_rel": end_rel - 1,
    }
    with h5py.File(folder / H5_NAME, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values.astype(np.int32))
        file.attrs["num_val_images"] = validation
    kinds = (("label", vocabulary.objects), ("predicate", vocabulary.predicates), ("attribute", vocabulary.attributes))
    content = {f"{kind}_to_idx": {name: i for i, name in enumerate(names, 1)} for kind, names in kinds}
    write_json(folder / DICTS_NAME, content)
    # Past the ids of Visual Genome's four broken pictures, which readers skip.
    ids = range(10_000, 10_000 + images)
    write_json(folder / IMAGES_NAME, [{"image_id": i, "width": 800, "height": 600} for i in ids])
    for i in ids:
        (folder / PHOTOS_NAME / f"{i}.jpg").touch()
    return folder, train, validation
