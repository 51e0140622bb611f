"""Every corruption gets one sentence that names the thing."""

from __future__ import annotations

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.clean import clean_vg
from maskrcnn_benchmark_hml.datasets.conventions import Boxes, convention_warnings
from maskrcnn_benchmark_hml.datasets.format import (
    DICTS_NAME,
    H5_NAME,
    IMAGES_NAME,
    PHOTOS_NAME,
    ImageRecord,
    Vocabulary,
    check_vg,
    read_vg,
    write_vg,
)
from maskrcnn_benchmark_hml.datasets.pictures import open_picture
from maskrcnn_benchmark_hml.datasets.run_check import check_files
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


#: What an array of correct boxes becomes in another convention, given corners at scale 1024 and units a pixel.
CONVENTIONS = {
    "centre, width and height in pixels": lambda low, high, unit: ((low + high) / 2 / unit, (high - low) / unit),
    "corners x1, y1, x2, y2 in pixels": lambda low, high, unit: (low / unit, high / unit),
    "x1, y1, width and height in pixels": lambda low, high, unit: (low / unit, (high - low) / unit),
    "corners x1, y1, x2, y2 at scale 1024": lambda low, high, unit: (low, high),
    "x1, y1, width and height at scale 1024": lambda low, high, unit: (low, high - low),
    "corners x1, y1, x2, y2 as fractions of the picture": lambda low, high, unit: (low / 1024, high / 1024),
}


def many_boxes(size: int) -> tuple[Boxes, np.ndarray, np.ndarray]:
    """240 boxes in 30 square pictures, right; their corners at scale 1024."""
    random = np.random.default_rng(3)
    side = random.uniform(30, 700, (240, 2))
    low = random.uniform(0, 1024 - side)
    image = np.repeat(np.arange(30), 8)
    return Boxes(np.hstack([low + side / 2, side]), image, np.full(30, size), np.full(30, size)), low, low + side


@pytest.mark.parametrize("size", [200, 640, 1600])
def test_boxes_of_another_convention_are_named(size):
    right, low, high = many_boxes(size)
    assert convention_warnings(right) == []
    for name, change in CONVENTIONS.items():
        right.boxes = np.hstack(change(low, high, 1024 / size))
        (line,) = convention_warnings(right)
        assert f"they would fit as {name}: convert them" in line
        right.boxes = right.boxes[:5]
        right.size, right.longer, right.limits = (a[:5] for a in (right.size, right.longer, right.limits))
        assert convention_warnings(right) == [], "five boxes say nothing"
        right = many_boxes(size)[0]


def pixels_in_a_folder(folder, count=12):
    """A set of two pictures with boxes in pixels."""
    boxes = np.tile(np.array([[1.0, 1, 60, 90], [30, 20, 199, 99]]), (count // 2, 1))
    records = [ImageRecord(i, 200, 100, i - 1, boxes, np.ones(count, int), np.array([[0, 1, 1]])) for i in (1, 2)]
    records[1].split = 2
    (folder / PHOTOS_NAME).mkdir()
    for record in records:
        Image.new("RGB", (200, 100)).save(folder / PHOTOS_NAME / record.photo_name())
    write_vg(folder, records, Vocabulary(("cat",), ("on",)))
    swap_array("boxes_1024", lambda a: np.rint(a * 200 / 1024).astype(a.dtype))(folder)


def test_a_warning_is_printed_and_is_no_error(tmp_path, capsys):
    pixels_in_a_folder(tmp_path)
    assert main(["data", "check", str(tmp_path)]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith(": no error, but 1 warning(s)")
    assert second.startswith("warning: of the boxes, read as centre, width and height at scale 1024, 100% lie in the ")
    assert "would fit as centre, width and height in pixels" in second
    _, notes = check_files(*(str(tmp_path / name) for name in (H5_NAME, DICTS_NAME, IMAGES_NAME)))  # as hml run does
    assert "would fit as centre, width and height in pixels" in notes[0]


def test_a_box_outside_names_the_convention_that_fits(tmp_path):
    pixels_in_a_folder(tmp_path)
    swap_array("boxes_1024", lambda a: a * 20)(tmp_path)  # pictures of 4000 pixels
    put("boxes_1024", 3, [3800, 100, 50, 50])(tmp_path)
    edit(IMAGES_NAME, lambda d: [entry.update(width=4000, height=2000) for entry in d])(tmp_path)
    with pytest.raises(HMLError, match="all boxes would fit as centre, width and height in pixels"):
        check_vg(tmp_path)


def test_unsigned_arrays_are_warned_of_and_made_signed(small, tmp_path):
    swap_array("boxes_1024", lambda a: a.astype(np.uint16))(small)
    (line,) = check_vg(small).warnings
    assert "'boxes_1024' hold unsigned integers" in line and "hml data clean" in line
    assert "made signed: boxes_1024" in clean_vg(small, tmp_path / "clean").lines()
    assert check_vg(tmp_path / "clean").warnings == []


def test_the_background_may_be_entry_0_and_nothing_else(small):
    edit(DICTS_NAME, lambda d: d["idx_to_label"].update({"0": "__background__"}))(small)
    edit(DICTS_NAME, lambda d: d["label_to_idx"].update(__background__=0))(small)
    assert check_vg(small).object_classes == 3
    edit(DICTS_NAME, lambda d: d["idx_to_label"].update({"0": "dog"}))(small)
    with pytest.raises(HMLError, match="'idx_to_label' calls 0 'dog', but 0 is the background; count the names from 1"):
        check_vg(small)


def test_the_background_is_no_name_of_the_vocabulary():
    with pytest.raises(HMLError, match="predicates have the name '__background__', which is class 0 by itself"):
        Vocabulary(("cat",), ("__background__", "on"))


def test_a_damaged_exif_turns_nothing(small, monkeypatch):
    """Older versions of PIL raise a SyntaxError for it."""
    def refuse(self):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", refuse)
    assert "EXIF" not in " ".join(check_vg(small, open_pictures=True).warnings)


def with_orientation(path, size, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.new("RGB", size).save(path, exif=exif)


def test_pictures_that_a_viewer_turns(small):
    with_orientation(small / PHOTOS_NAME / "11.jpg", (200, 100), 3)
    assert check_vg(small).warnings == [], "without --pictures none is opened"
    (line,) = check_vg(small, open_pictures=True).warnings
    assert line.startswith("1 picture(s) have an EXIF orientation that turns or mirrors them") and "11.jpg" in line
    with_orientation(small / PHOTOS_NAME / "11.jpg", (100, 200), 6)
    with pytest.raises(HMLError, match="is 100x200, but .* says 200x100; its EXIF orientation is 6, which"):
        check_vg(small, open_pictures=True)


def test_pictures_of_16_bits_keep_their_shades(tmp_path):
    shades = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(tmp_path / "a.png")
    read = np.asarray(open_picture(tmp_path / "a.png").convert("RGB"))
    assert (read[..., 0] == shades >> 8).all()
    Image.fromarray(shades.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(HMLError, match="has 32 bits a pixel"):
        open_picture(tmp_path / "a.tif")


NOTED = {
    "an id twice": (edit(IMAGES_NAME, lambda d: d[3].update(image_id=d[1]["image_id"])),
                    r"image_data.json: image_id \d+ occurs twice \(entries 1 and 3\), so that one picture"),
    "two names changed": (
        edit(DICTS_NAME, lambda d: d["idx_to_predicate"].update({"1": d["idx_to_predicate"]["2"]})),
        r"idx_to_predicate calls 1 '.*', but by predicate_to_idx, which a run reads, it is '"),
    "a name too many": (edit(DICTS_NAME, lambda d: d["idx_to_label"].update({"999": "ghost"})),
                        r"idx_to_label calls 999 'ghost', but by label_to_idx, which a run reads, it is None"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_the_check_refuses_a_run_names_before_training(small, case):
    """And trains all the same: it reads neither the second mapping nor the ids but for the pictures' names."""
    files = [str(small / name) for name in (H5_NAME, DICTS_NAME, IMAGES_NAME)]
    assert check_files(*files)[1] == []
    corrupt, said = NOTED[case]
    corrupt(small)
    with pytest.raises(HMLError):
        check_vg(small)
    (note,) = check_files(*files)[1]
    assert re.search(said, note) and "\n" not in note
