"""hml data subset: what is kept stays as it is, what goes is counted, and an object goes with its relations."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import (
    DICTS_NAME,
    H5_NAME,
    IMAGES_NAME,
    PHOTOS_NAME,
    VALIDATION,
    check_vg,
    read_vg,
    write_vg,
)  # fmt: skip
from maskrcnn_benchmark_hml.datasets.subset import subset_vg
from maskrcnn_benchmark_hml.errors import HMLError

from .conftest import VOCABULARY, small_records
from .test_check import swap_array


def ids(folder):
    return [record.image_id for record in read_vg(folder).records]


def relations(folder):
    return [record.relations.tolist() for record in read_vg(folder).records]


def test_everything_kept_is_the_same_file(small, tmp_path):
    subset_vg(small, tmp_path / "out")
    with h5py.File(small / H5_NAME) as one, h5py.File(tmp_path / "out" / H5_NAME) as two:
        assert set(one) == set(two)
        assert all(np.array_equal(one[name], two[name]) and one[name].dtype == two[name].dtype for name in one)
    for name in (DICTS_NAME, IMAGES_NAME):
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads((small / name).read_text())
    assert check_vg(tmp_path / "out").validation == check_vg(small).validation
    assert (tmp_path / "out" / PHOTOS_NAME).is_symlink()


def test_predicates_and_objects(small, tmp_path):
    report = subset_vg(small, tmp_path / "out", predicates=["wearing"])
    assert relations(tmp_path / "out") == [[[0, 1, 1]], [[0, 1, 1]], [], []]
    assert report.relations == (2, 6) and (report.by_predicate, report.by_object, report.emptied) == (4, 0, 1)
    assert read_vg(tmp_path / "out").vocabulary.predicates == ("wearing",)

    report = subset_vg(small, tmp_path / "two", objects=["mat", "cat"])  # the order of the source, not this one
    data = read_vg(tmp_path / "two")
    assert data.vocabulary.objects == ("cat", "mat")
    assert [r.labels.tolist() for r in data.records] == [[1], [1, 2], [2], [2, 1]]
    # Image 11 loses its only relation with the hat, image 14 (mat, hat, cat) the hat's; rows are counted anew.
    assert relations(tmp_path / "two") == [[], [[0, 1, 1], [0, 1, 2], [1, 0, 1]], [], [[1, 0, 1]]]
    assert (report.objects, report.by_predicate, report.by_object, report.emptied) == ((6, 8), 0, 2, 1)
    assert [list(r.attributes) for r in data.records][0] == [(1, 2)]
    assert "subset: kept 4 of 4 images, 6 of 8 objects, 4 of 6 relations" in check_vg(tmp_path / "two").text()
    counts = json.loads((tmp_path / "two" / DICTS_NAME).read_text())
    assert counts["object_count"] == {"cat": 2, "mat": 2} and counts["predicate_count"] == {"on": 2, "wearing": 1}


def test_images_by_id_or_name_and_splits(small, tmp_path):
    entries = json.loads((small / IMAGES_NAME).read_text())
    entries[3]["source_id"] = "0a1f"
    (small / IMAGES_NAME).write_text(json.dumps(entries))
    subset_vg(small, tmp_path / "a", images=["12", "0a1f"])
    assert ids(tmp_path / "a") == [12, 14]
    subset_vg(small, tmp_path / "b", splits=["test"])
    assert ids(tmp_path / "b") == [14]
    # 11 is the validation split: the first training image with relations.
    subset_vg(small, tmp_path / "c", splits=["train"])
    assert ids(tmp_path / "c") == [12, 13] and read_vg(tmp_path / "c").num_val_images == 0
    subset_vg(small, tmp_path / "d", splits=["val", "test"])
    assert ids(tmp_path / "d") == [11, 14] and read_vg(tmp_path / "d").num_val_images == 1


def test_validation_images_stay_validation_images(small, tmp_path):
    """Without the relation "wearing" image 11 has none, so that 12 would be the first with one."""
    report = subset_vg(small, tmp_path / "out", predicates=["on"])
    assert report.validation == 0 and read_vg(tmp_path / "out").num_val_images == 0


def test_marked_validation_images(tmp_path, small):
    records = small_records()
    records[1].split = VALIDATION
    write_vg(small, records, VOCABULARY)
    report = subset_vg(small, tmp_path / "out", splits=["val"])
    assert ids(tmp_path / "out") == [12] and report.validation is None


def test_rows_that_are_not_in_the_images_order_and_rows_of_no_image(small, tmp_path):
    wanted = relations(small)
    order = [4, 5, 0, 1, 2, 3]
    swap_array("relationships", lambda a: np.concatenate([a[order], [[99, 99]]]))(small)
    swap_array("predicates", lambda a: np.concatenate([a[order], [[1]]]))(small)
    swap_array("img_to_first_rel", lambda a: np.array([2, 3, -1, 0], dtype=a.dtype))(small)
    swap_array("img_to_last_rel", lambda a: np.array([2, 5, -1, 1], dtype=a.dtype))(small)
    report = subset_vg(small, tmp_path / "out", images=["14", "11"])
    assert relations(tmp_path / "out") == [wanted[0], wanted[3]]
    assert report.relations == (3, 6)
    check_vg(tmp_path / "out")


@pytest.mark.parametrize(("chosen", "says"), [
    ({"predicates": ["on", "rides"]}, "has no predicate 'rides'"),
    ({"objects": ["dog"]}, "has no object class 'dog'"),
    ({"objects": []}, "no object class is named"),
    ({"images": ["12", "99"]}, r"has no image '99' \(1 of 2 images are unknown\)"),
    ({"splits": ["dev"]}, "no split 'dev'; the splits are train, val, test"),
    ({"images": ["13"], "splits": ["test"]}, "no image of .* is in the subset"),
])
def test_what_does_not_exist_is_named_and_nothing_is_written(small, tmp_path, chosen, says):
    with pytest.raises(HMLError, match=says):
        subset_vg(small, tmp_path / "out", **chosen)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small"]


def test_the_source_itself_is_refused(small):
    with pytest.raises(HMLError, match="is the folder to take the subset of"):
        subset_vg(small, small / ".", force=True)
    check_vg(small)


def test_the_command(small, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("cat\nmat\n\n")
    out = tmp_path / "out"
    given = ["--predicates", "on, wearing", "--objects", str(names), "--split", "train,test", "--images", "12,13,14"]
    assert main(["data", "subset", str(small), str(out), *given]) == 0
    printed = capsys.readouterr().out
    assert "subset: kept 3 of 4 images, 5 of 8 objects, 4 of 6 relations" in printed
    assert f"next: hml data check {out}" in printed
    assert ids(out) == [12, 13, 14]
    assert main(["data", "subset", str(small), str(out), *given]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["data", "subset", str(small), str(out), "--split", "dev", "--force"]) == 2
    assert "no split 'dev'" in capsys.readouterr().err and ids(out) == [12, 13, 14]
