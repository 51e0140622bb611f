"""Writer, reader and the counts of the validator."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from maskrcnn_benchmark_hml.datasets.format import (
    DICTS_NAME,
    H5_NAME,
    check_vg,
    read_vg,
    validation_size,
    write_vg,
)
from maskrcnn_benchmark_hml.datasets.layout import new_dataset_folder
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.doctor.data_checks import folder_places, three_causes


def test_records_come_back_as_written(small, records, vocabulary):
    data = read_vg(small)
    assert data.vocabulary == vocabulary
    assert data.num_val_images == 1
    for got, want in zip(data.records, records):
        assert (got.image_id, got.width, got.height, got.split) == (want.image_id, want.width, want.height, want.split)
        np.testing.assert_array_equal(got.labels, want.labels)
        np.testing.assert_array_equal(got.relations, want.relations)
        assert got.attributes == (want.attributes or [()] * len(want.labels))
        # One unit of the stored scale, rounded at either corner, is all that may be lost.
        assert np.abs(got.boxes - want.boxes).max() <= max(want.width, want.height) / 1024


def test_writing_what_was_read_gives_the_same_bytes(small, tmp_path):
    data = read_vg(small)
    write_vg(tmp_path, data.records, data.vocabulary, num_val_images=data.num_val_images)
    for name in (H5_NAME, DICTS_NAME, "image_data.json"):
        assert (tmp_path / name).read_bytes() == (small / name).read_bytes()


def test_file_has_the_shapes_and_types_of_the_format(small):
    expected = {
        "labels": ((8, 1), "int64"), "boxes_1024": ((8, 4), "int32"), "boxes_512": ((8, 4), "int32"),
        "attributes": ((8, 10), "int64"), "active_object_mask": ((8, 1), "bool"), "split": ((4,), "int32"),
        "img_to_first_box": ((4,), "int32"), "img_to_last_box": ((4,), "int32"), "img_to_first_rel": ((4,), "int32"),
        "img_to_last_rel": ((4,), "int32"), "relationships": ((6, 2), "int32"), "predicates": ((6, 1), "int64"),
    }  # fmt: skip
    with h5py.File(small / H5_NAME, "r") as h5:
        assert {name: (h5[name].shape, str(h5[name].dtype)) for name in h5} == expected
        assert h5["img_to_first_rel"][:].tolist() == [0, 1, -1, 4]
        assert h5["img_to_last_rel"][:].tolist() == [0, 3, -1, 5]
        assert h5["relationships"][:].tolist() == [[0, 1], [2, 3], [2, 3], [3, 2], [6, 5], [7, 5]]
    dicts = json.loads((small / DICTS_NAME).read_text())
    assert dicts["idx_to_label"] == {"1": "cat", "2": "hat", "3": "mat"}
    assert dicts["predicate_count"] == {"on": 2, "wearing": 2}, "counts are over the training split"


def test_report_counts(small):
    report = check_vg(small, open_pictures=True)
    assert report.images == {"train": 3, "test": 1}
    assert report.with_relations == {"train": 2, "test": 1}
    assert report.objects == {"train": 5, "test": 3}
    assert report.relations == {"train": 4, "test": 2}
    assert report.predicate_counts == {"on": {"train": 2, "test": 2}, "wearing": {"train": 2, "test": 0}}
    assert report.pairs_with_several_predicates == 1
    assert (report.zero_shot_triplets, report.zero_shot_relations) == (1, 1), "hat on mat; cat on mat was seen"
    assert report.validation == 1
    assert report.objects_per_image == pytest.approx(7 / 3)
    assert report.relations_per_image == 2.0
    assert "images with relations" in report.text()


def test_visual_genomes_broken_pictures_are_skipped(small):
    images = json.loads((small / "image_data.json").read_text())
    images.insert(1, {"image_id": 1592, "width": 800, "height": 600})
    (small / "image_data.json").write_text(json.dumps(images))
    assert [r.image_id for r in read_vg(small).records] == [11, 12, 13, 14]
    assert check_vg(small).images == {"train": 3, "test": 1}


def test_other_data_may_have_the_ids_of_broken_pictures(small):
    images = json.loads((small / "image_data.json").read_text())
    images[1]["image_id"] = 1592
    (small / "image_data.json").write_text(json.dumps(images))
    (small / "VG_100K" / "12.jpg").rename(small / "VG_100K" / "1592.jpg")
    assert [r.image_id for r in read_vg(small).records] == [11, 1592, 13, 14]
    assert check_vg(small).images == {"train": 3, "test": 1}
    assert not [f for f in three_causes(folder_places(small)) if f.state != "ok"], "hml doctor says the same"


@pytest.mark.parametrize(("n_train", "stored", "size"), [(62723, None, 5000), (300, None, 30), (4, None, 1), (9, 0, 0)])
def test_validation_size(n_train, stored, size):
    assert validation_size(n_train, stored) == size


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": np.array([1, 4])}, "object class of object 1 of image 11 is 4"),
        ({"relations": np.array([[0, 1, 0]])}, "predicate of relation 0 of image 11 is 0"),
        ({"relations": np.array([[0, 2, 1]])}, "names an object that the image does not have"),
        ({"relations": np.array([[1, 1, 1]])}, "joins an object with itself"),
        ({"boxes": np.array([[0, 0, 5, 5], [7, 7, 7, 9.0]])}, "object 1 of image 11 has the box"),
        ({"boxes": np.array([[0, 0, 5, 5], [300, 7, 310, 9.0]])}, "covers nothing of the picture"),
        ({"boxes": np.array([[0, 0, 5, float("nan")], [1, 1, 3, 3]])}, "object 0 of image 11 has the box"),
        ({"boxes": np.array([[0, 0, 5, 5.0]])}, "1 boxes but 2 labels"),
        ({"split": 3}, "has split 3"),
        ({"width": 0}, "has size 0x100"),
        ({"image_id": 12}, "image id 12 occurs twice"),
        ({"image_id": 1722}, "broken pictures"),
        ({"image_id": "2407"}, "the image id '2407' is no whole number"),
        ({"image_id": 2.0}, "the image id 2.0 is no whole number"),
        ({"width": 640.0}, "image 11 has size 640.0x100; both sides must be whole numbers"),
        ({"attributes": [(1,), (3,)]}, "an attribute of object 1 of image 11 is 3; it must lie in 1..2"),
        ({"attributes": [(1,) * 11, ()]}, "object 0 of image 11 has 11 attributes; the format holds 10"),
        ({"labels": np.array([1.0, 2.0])}, "the labels of image 11 are float64; give whole numbers"),
        ({"relations": np.array([[0, 1, 1.5]])}, "the relations of image 11 are float64"),
        ({"boxes": np.ones((2, 5))}, r"the boxes of image 11 have the shape \(2, 5\)"),
        ({"extra": {"width": 3}}, "'extra' of image 11 has 'width', which the record itself gives"),
        ({"extra": {"source": np.int64(3)}}, "'extra' of image 11 cannot be written as JSON"),
    ],
)
def test_writer_refuses(change, says, records, vocabulary, tmp_path):
    records[0] = replace(records[0], **change)
    with pytest.raises(HMLError, match=says) as caught:
        write_vg(tmp_path, records, vocabulary)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_written(records, vocabulary, tmp_path):
    records[0] = replace(records[0], image_id=np.int64(11), width=np.int32(200), height=np.uint16(100))
    write_vg(tmp_path, iter(records), vocabulary, num_val_images=np.int64(1))
    assert [record.image_id for record in read_vg(tmp_path).records] == [11, 12, 13, 14]


def test_writer_refuses_what_the_check_would_refuse(records, vocabulary, tmp_path):
    with pytest.raises(HMLError, match="there is no image to write"):
        write_vg(tmp_path, [], vocabulary)
    for number in (3, -1, 1.0):
        with pytest.raises(HMLError, match="num_val_images is .*, but 2 training images have relations"):
            write_vg(tmp_path, records, vocabulary, num_val_images=number)
    with pytest.raises(HMLError, match="source cannot be written as JSON"):
        write_vg(tmp_path, records, vocabulary, source={"lines": {1}})
    fractions = [replace(records[0], image_id=i, boxes=records[0].boxes / 200) for i in range(5)]
    with pytest.raises(HMLError, match="all boxes lie between 0 and 1; give pixels"):
        write_vg(tmp_path, fractions, vocabulary)
    assert not list(tmp_path.iterdir())


def test_interrupted_dataset_leaves_what_was_there(tmp_path):
    out = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt), new_dataset_folder(out) as folder:
        (folder / H5_NAME).write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with new_dataset_folder(out) as folder:
        (folder / H5_NAME).write_text("whole")
    with pytest.raises(HMLError, match="not empty"), new_dataset_folder(out):
        pass
    with pytest.raises(RuntimeError), new_dataset_folder(out, force=True):
        raise RuntimeError
    assert (out / H5_NAME).read_text() == "whole"
    (tmp_path / ".data.999999999.part").mkdir()  # what a killed process leaves
    with new_dataset_folder(out, force=True) as folder:
        (folder / H5_NAME).write_text("new")
    assert (out / H5_NAME).read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_force_replaces_only_a_dataset(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HMLError, match="not a dataset folder"), new_dataset_folder(tmp_path, force=True):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
