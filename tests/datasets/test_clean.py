"""hml data clean and placeholders: what is dropped is counted, what is missing is drawn, the rest stays."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.clean import clean_vg
from maskrcnn_benchmark_hml.datasets.format import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME, check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.placeholder import fill_placeholders
from maskrcnn_benchmark_hml.errors import HMLError

from .test_check import edit, put, swap_array


def relations(folder):
    return [record.relations.tolist() for record in read_vg(folder).records]


def test_self_pairs_and_repeats_are_counted_and_dropped(small, tmp_path, capsys):
    before = relations(small)
    put("relationships", 2, [2, 3])(small)
    put("predicates", (2, 0), 1)(small)  # image 12: on, on, then the other way round
    put("relationships", 0, [1, 1])(small)  # image 11 has no other relation, and is the validation image
    with pytest.raises(HMLError, match="joins object 1 with itself; hml data clean .* OUT drops such relations"):
        check_vg(small)
    source = (small / H5_NAME).read_bytes()
    assert main(["data", "clean", str(small), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "dropped: 1 relations of an object with itself, 1 repeated relations" in printed
    assert "kept: 4 relations; images left without one: 1" in printed
    assert relations(tmp_path / "out") == [[], [[0, 1, 1], [1, 0, 1]], [], before[3]]
    report = check_vg(tmp_path / "out", open_pictures=True)
    assert report.relations == {"train": 2, "test": 2} and report.validation == 0
    assert "dropped: 1 relations of an object with itself" in report.text()
    assert (small / H5_NAME).read_bytes() == source
    with h5py.File(tmp_path / "out" / H5_NAME) as h5:
        assert h5["active_object_mask"][:, 0].tolist() == [False, False, True, True, False, True, True, True]
        assert {name: str(h5[name].dtype) for name in ("relationships", "predicates", "img_to_first_rel")} == {
            "relationships": "int32", "predicates": "int64", "img_to_first_rel": "int32"}


def test_several_predicates_on_a_pair_stay_and_clean_data_is_unchanged(small, tmp_path):
    report = clean_vg(small, tmp_path / "out")
    assert (report.self_pairs, report.repeats, report.relations, report.emptied) == (0, 0, 6, 0)
    assert relations(tmp_path / "out") == relations(small)
    for name in (DICTS_NAME, IMAGES_NAME):
        assert (tmp_path / "out" / name).read_bytes() == (small / name).read_bytes()
    with h5py.File(small / H5_NAME) as one, h5py.File(tmp_path / "out" / H5_NAME) as two:
        assert set(one) == set(two) and all(np.array_equal(one[name], two[name]) for name in one)


def test_rows_that_are_not_in_the_images_order(small, tmp_path):
    """The last image's relations come first in the file."""
    wanted = relations(small)
    order = [4, 5, 0, 1, 2, 3]
    swap_array("relationships", lambda a: a[order])(small)
    swap_array("predicates", lambda a: a[order])(small)
    put("img_to_first_rel", slice(None), [2, 3, -1, 0])(small)
    put("img_to_last_rel", slice(None), [2, 5, -1, 1])(small)
    assert relations(small) == wanted
    clean_vg(small, tmp_path / "out")
    assert relations(tmp_path / "out") == wanted


def test_what_clean_refuses(small, tmp_path):
    with pytest.raises(HMLError, match="is the folder to clean itself"):
        clean_vg(small, small, force=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(HMLError, match="is not empty"):
        clean_vg(small, tmp_path / "full")
    put("labels", (4, 0), 4)(small)
    with pytest.raises(HMLError, match="the label of object 4 is 4"):
        clean_vg(small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_without_attributes_is_read_as_having_none(small, tmp_path, capsys):
    swap_array("attributes", lambda a: None)(small)
    for key in ("attribute_to_idx", "idx_to_attribute"):
        edit(DICTS_NAME, lambda d, key=key: d.pop(key))(small)
    assert "attributes: not in the file; every object is read as having none" in check_vg(small).text()
    data = read_vg(small)
    assert data.vocabulary.attributes == () and {a for r in data.records for a in r.attributes} == {()}
    assert main(["data", "clean", str(small), str(tmp_path / "out")]) == 0
    assert "attributes: not in the source; added as zeros" in capsys.readouterr().out
    with h5py.File(tmp_path / "out" / H5_NAME) as h5:
        assert h5["attributes"].shape == (8, 10) and not h5["attributes"][:].any()


def test_placeholders_are_drawn_where_pictures_are_missing(small, capsys):
    kept = (small / PHOTOS_NAME / "11.jpg").read_bytes()
    for name in ("12.jpg", "14.jpg"):
        (small / PHOTOS_NAME / name).unlink()
    assert main(["data", "placeholders", str(small)]) == 0
    assert "2 placeholder pictures drawn, 2 pictures already existed" in capsys.readouterr().out
    check_vg(small, open_pictures=True)
    assert (small / PHOTOS_NAME / "11.jpg").read_bytes() == kept
    with Image.open(small / PHOTOS_NAME / "12.jpg") as picture:
        assert picture.size == (100, 200) and len(picture.getcolors(1 << 16)) > 1
    assert fill_placeholders(small) == (0, 4)


def test_placeholders_without_a_picture_folder(small):
    for path in (small / PHOTOS_NAME).iterdir():
        path.unlink()
    (small / PHOTOS_NAME).rmdir()
    assert fill_placeholders(small) == (4, 0)
    check_vg(small, open_pictures=True)
