"""Boxes from files: both forms are read, every mistake gets a sentence that names picture and box."""

from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.predict.box_files import read_boxes
from maskrcnn_benchmark_hml.predict.boxes import check_places, class_names, given_boxes, match
from maskrcnn_benchmark_hml.predict.pictures import find_pictures

NAMES = ("__background__", "dog", "man", "tree")


def boxes_of(*rows):
    return read_boxes({"a.jpg": list(rows)}).pictures["a.jpg"]


def coco(**changes):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "bbox": [1, 2, 10, 20], "category_id": 3, "iscrowd": 0},
                        {"id": 2, "image_id": 7, "bbox": [0, 0, 30, 30], "category_id": 3, "iscrowd": 1}],
    }
    return {**content, **changes}


def test_own_form(tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({
        "a.jpg": [{"box": [1, 2, 11, 22.5], "name": "dog", "score": 0.5}, {"box": [0, 0, 5, 5], "index": 2}],
        "b.jpg": [],
    }))
    read = read_boxes(tmp_path / "boxes.json")
    rows = read.pictures["a.jpg"]
    assert rows[0].corners == (1, 2, 11, 22.5) and read.pictures["b.jpg"] == []
    assert class_names(rows, NAMES, "run") == ("dog", "man")
    given = given_boxes(rows, ("dog", "man"), 40, 30)
    assert given.boxes.tolist() == [[1, 2, 11, 22.5], [0, 0, 5, 5]] and given.labels == ("dog", "man")
    assert given_boxes([], None, 40, 30).boxes.shape == (0, 4)


def test_coco_boxes_become_corners_and_crowds_are_said():
    read = read_boxes(coco())
    assert [row.corners for row in read.pictures["a.jpg"]] == [(1, 2, 11, 22)] and read.pictures["b.jpg"] == []
    assert class_names(read.pictures["a.jpg"], NAMES, "run") == ("dog",)
    assert read.notes == ["the boxes: 1 crowds (iscrowd) are left out, since a crowd is no single object"]


@pytest.mark.parametrize("changes, words", [
    ({"images": [{"id": 7}]}, "entry 0 of 'images' needs 'id' and 'file_name'"),
    ({"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}]}, "have the same file_name"),
    ({"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]}, "annotation 0 has the image_id 9, which 'images'"),
    ({"annotations": [{"image_id": [7], "bbox": [1, 2, 3, 4]}]}, "annotation 0 has the image_id .7., which 'images'"),
    ({"annotations": [{"image_id": 7}]}, "annotation 0 has no bbox"),
    ({"annotations": [{"id": 5, "image_id": 7, "bbox": [1, 2, 0, 4]}]}, r"annotation 5 \(of a.jpg\) .* above 0"),
    ({"annotations": [{"image_id": 7, "bbox": [1, 2, 3, 4], "category_id": 4}]}, "category_id 4, which 'categories'"),
])
def test_wrong_coco(changes, words):
    with pytest.raises(HMLError, match=words):
        read_boxes(coco(**changes))


@pytest.mark.parametrize("row, words", [
    ([1, 2, 3, 4], r'box 0 of a.jpg is \[1, 2, 3, 4\]; it must be {"box"'),
    ({"box": [1, 2, 3]}, "a box is 4 numbers x1, y1, x2, y2"),
    ({"box": [1, 2, "3", 4]}, "a box is 4 numbers"),
    ({"box": [1, 2, float("nan"), 4]}, "box 0 of a.jpg is .*NaN or infinite"),
    ({"box": [1, 2, 3, 4], "name": 5}, 'box 0 of a.jpg has the name 5; .*"index"'),
    ({"box": [1, 2, 3, 4], "index": 0}, "index 0; classes count from 1"),
    ({"box": [1, 2, 3, 4], "index": True}, "index True; classes count from 1"),
    ({"box": [1, 2, 3, 4], "index": 1, "name": "dog"}, "both"),
])
def test_wrong_own_form(row, words):
    with pytest.raises(HMLError, match=words):
        boxes_of(row)


@pytest.mark.parametrize("content, words", [
    ([], "holds a JSON list; it must be {"), ({"a.jpg": 3}, "'a.jpg' has no list"),
])
def test_wrong_file(content, words, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    with pytest.raises(HMLError, match=f"boxes.json.*{words}"):
        read_boxes(tmp_path / "boxes.json")


@pytest.mark.parametrize("corners, turned, words", [
    ((10, 10, 5, 20), None, "box 0 of a.jpg has the corners .* 10, 10, 5, 20, where .* x, y, width, height"),
    ((10, 10, 20, 10), None, "where x2 must be above x1"),
    ((0, 0, 42, 20), None, "outside the picture of 40 x 30 pixels; boxes are in pixels"),
    ((-3, 0, 20, 20), None, "outside the picture of 40 x 30"),
    ((0, 0, 20, 38), (30, 40), "outside .* after its EXIF rotation"),
    ((39.2, 0, 40, 20), None, "covers nothing of the picture"),
])
def test_wrong_places(corners, turned, words):
    with pytest.raises(HMLError, match=words):
        check_places(boxes_of({"box": list(corners)}), 40, 30, turned)


def test_a_pixel_over_the_edge_is_cut_off():
    rows = boxes_of({"box": [-0.5, 0, 40.9, 30]})
    check_places(rows, 40, 30, None)
    assert given_boxes(rows, None, 40, 30).boxes.tolist() == [[0, 0, 40, 30]]


@pytest.mark.parametrize("row, words", [
    ({"name": "Dog"}, "box 0 of a.jpg is a 'Dog', which run does not know; did you mean 'dog'"),
    ({"name": "zebra"}, "its classes are dog, man"),
    ({"name": "__background__"}, "does not know"),
    ({"index": 4}, "index 4, but run has the classes 1 to 3"),
    ({}, "has no class, which PredCls needs"),
])
def test_wrong_classes(row, words):
    with pytest.raises(HMLError, match=words):
        class_names(boxes_of({"box": [0, 0, 5, 5], **row}), NAMES, "run")


def matched(names, folder):
    stated = {name: boxes_of({"box": [0, 0, 5, 5]}) for name in names}
    return match(stated, find_pictures([folder]).pictures, "boxes.json")


def test_pictures_are_matched_by_path_or_by_name(photos):
    (photos / "more" / "9.jpg").write_bytes((photos / "1.jpg").read_bytes())
    found = matched(["0.jpg", "./1.jpg", str(photos / "2.jpg"), "more\\0.jpg", "9.jpg", "other.jpg"], photos)
    assert sorted(found.boxes) == [0, 1, 2, 5, 6] and found.unused == ["other.jpg"]
    assert [picture.within for picture in found.without] == ["3.jpg", "4.jpg"]


def test_an_entry_for_two_pictures_is_refused(photos):
    (photos / "less").mkdir()
    (photos / "less" / "0.jpg").write_bytes((photos / "0.jpg").read_bytes())
    (photos / "0.jpg").unlink()
    with pytest.raises(HMLError, match="'0.jpg' fits the pictures .*less/0.jpg and .*more/0.jpg; name each"):
        matched(["0.jpg"], photos)


def test_boxes_for_no_picture_at_all_are_refused(photos):
    with pytest.raises(HMLError, match="boxes.json has boxes for none of the 6 pictures .*for example 'x.jpg'"):
        matched(["x.jpg"], photos)
