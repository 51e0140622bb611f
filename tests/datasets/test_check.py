"""Every corruption gets one sentence that names the thing."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME, check_vg, read_vg
from maskrcnn_benchmark_hml.errors import HMLError


def put(name, index, value):
    """A corruption that sets one entry of an array."""

    def corrupt(folder):
        with h5py.File(folder / H5_NAME, "r+") as h5:
            h5[name][index] = value

    return corrupt


def swap_array(name, change):
    """A corruption that replaces an array by ``change(array)``, None = removes it."""

    def corrupt(folder):
        with h5py.File(folder / H5_NAME, "r+") as h5:
            new = change(h5[name][()])
            del h5[name]
            if new is not None:
                h5[name] = new

    return corrupt


def edit(name, change):
    """A corruption that edits a JSON file in place."""

    def corrupt(folder):
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return corrupt


def cut(name, keep):
    """A corruption that cuts a file short."""

    def corrupt(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return corrupt


def nan_box(boxes):
    boxes = boxes.astype(np.float64)
    boxes[2, 1] = np.nan
    return boxes


CASES = {
    "label too large": (put("labels", (4, 0), 4), "the label of object 4 is 4; it must lie in 1..3"),
    "label 0": (put("labels", (0, 0), 0), "the label of object 0 is 0"),
    "predicate too large": (put("predicates", (3, 0), 3), "the predicate of relation 3 is 3; it must lie in 1..2"),
    "attribute too large": (put("attributes", (0, 9), 7), "an attribute of object 0 is 7; it must lie in 0..2"),
    "degenerate box": (put("boxes_1024", (3, 2), 0), r"box of object 3 \(image 1, image_id 12\) is degenerate"),
    "box outside": (put("boxes_1024", (4, 1), 900), r"box of object 4 \(image 2, image_id 13\) lies outside"),
    "negative centre": (put("boxes_1024", (4, 0), -3), "box of object 4 .* lies outside"),
    "NaN box": (swap_array("boxes_1024", nan_box), r"box of object 2 \(image 1, image_id 12\) is .*not a number"),
    "self-pair": (put("relationships", 3, [2, 2]), r"relation 3 \(image 1, image_id 12\) joins object 2 with itself"),
    "another image's object": (put("relationships", 4, [1, 5]), "relation 4 .* joins objects 1 and 5"),
    "no such object": (put("relationships", 4, [6, 99]), "relation 4 .* joins objects 6 and 99"),
    "split 3": (put("split", 2, 3), "'split' of image 2 is 3"),
    "rows beyond the end": (put("img_to_last_rel", 3, 9), r"image 3 claims rows 4..9 .*there are 6"),
    "half a range": (put("img_to_last_box", 0, -1), r"image 0 claims rows 0..-1"),
    "shared rows": (put("img_to_first_box", 1, 1), "images 0 and 1 share row 1"),
    "missing array": (swap_array("predicates", lambda a: None), "has no array 'predicates'"),
    "wrong shape": (swap_array("labels", lambda a: a[:, 0]), r"'labels' has shape \(8,\); it must be \(any, 1\)"),
    "wrong type": (swap_array("labels", lambda a: a.astype(float)), "'labels' holds float64; it must hold integers"),
    "too few rows": (swap_array("predicates", lambda a: a[:-1]), "'predicates' has 5 rows, but 'relationships' has 6"),
    "too many validation images": (
        lambda folder: h5py.File(folder / H5_NAME, "r+").attrs.__setitem__("num_val_images", 3),
        "'num_val_images' is 3, but only 2 training images have relations",
    ),
    "h5 cut short": (cut(H5_NAME, 3000), r"is cut short \(holds 3000 of"),
    "h5 empty": (cut(H5_NAME, 0), "is empty"),
    "JSON cut short": (cut(DICTS_NAME, 100), "is cut short"),
    "no h5": (lambda folder: (folder / H5_NAME).unlink(), f"has no {H5_NAME}"),
    "missing key": (edit(DICTS_NAME, lambda d: d.pop("predicate_to_idx")), "has no 'predicate_to_idx'"),
    "gap in the names": (edit(DICTS_NAME, lambda d: d["idx_to_label"].pop("2")), "'idx_to_label' has no entry 2"),
    "contradicting names": (
        edit(DICTS_NAME, lambda d: d["label_to_idx"].update(cat=2)),
        "'idx_to_label' calls 1 'cat', but 'label_to_idx' gives 2",
    ),
    "unknown name": (edit(DICTS_NAME, lambda d: d["label_to_idx"].update(dog=4)), "'label_to_idx' knows 'dog'"),
    "image entry missing": (edit(IMAGES_NAME, lambda d: d.pop()), "lists 3 images, but .* has 4"),
    "image without width": (edit(IMAGES_NAME, lambda d: d[1].pop("width")), "entry 1 has width None"),
    "image id twice": (edit(IMAGES_NAME, lambda d: d[1].update(image_id=11)), "image_id 11 occurs twice"),
    "missing picture": (
        lambda folder: (folder / PHOTOS_NAME / "13.jpg").unlink(),
        r"the picture VG_100K/13.jpg is missing .*1 of 4 are",
    ),
    "no pictures": (lambda folder: shutil.rmtree(folder / PHOTOS_NAME), "has no folder VG_100K"),
}


@pytest.mark.parametrize("case", CASES)
def test_corruption_is_named_in_one_sentence(case, small):
    corrupt, says = CASES[case]
    check_vg(small)
    corrupt(small)
    before = {p.name: p.stat().st_mtime_ns for p in small.iterdir()}
    with pytest.raises(HMLError, match=says) as caught:
        check_vg(small)
    assert "\n" not in str(caught.value)
    assert {p.name: p.stat().st_mtime_ns for p in small.iterdir()} == before


def test_reader_refuses_what_the_validator_refuses(small):
    put("labels", (4, 0), 4)(small)
    with pytest.raises(HMLError, match="the label of object 4"):
        read_vg(small)


def test_pictures_are_opened_on_request(small):
    Image.new("RGB", (7, 7)).save(small / PHOTOS_NAME / "12.jpg")
    check_vg(small)
    with pytest.raises(HMLError, match="12.jpg is 7x7, but image_data.json says 100x200"):
        check_vg(small, open_pictures=True)
    (small / PHOTOS_NAME / "12.jpg").write_bytes(b"nothing")
    with pytest.raises(HMLError, match="12.jpg is a text file, not a picture"):
        check_vg(small, open_pictures=True)


def test_command_prints_the_sentence_and_exits_with_2(small, capsys):
    assert main(["data", "check", str(small)]) == 0
    assert "correct" in capsys.readouterr().out
    put("labels", (4, 0), 4)(small)
    assert main(["data", "check", str(small)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("hml: error: ") and captured.err.count("\n") == 1
    assert main(["data", "check", str(small / "nowhere")]) == 2
    assert "there is no dataset folder" in capsys.readouterr().err
