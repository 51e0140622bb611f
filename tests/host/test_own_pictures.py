"""TEST.CUSTUM_EVAL is checked before the work, on every host."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.own_pictures import check_own_pictures, counted_before


@pytest.fixture
def cfg(tmp_path):
    """SGDet on a folder with one picture, on a checkout."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.jpg")
    return CfgNode({
        "MODEL": {"RELATION_ON": True, "ROI_RELATION_HEAD": {"USE_GT_BOX": False, "USE_GT_OBJECT_LABEL": False}},
        "TEST": {"CUSTUM_EVAL": True, "CUSTUM_PATH": str(tmp_path / "photos")},
        "DETECTED_SGG_DIR": str(tmp_path / "new" / "out"), "OUTPUT_DIR": str(tmp_path),
    })  # fmt: skip


def test_the_folder_for_results_is_made(cfg, tmp_path):
    check_own_pictures(cfg)
    assert (tmp_path / "new" / "out").is_dir()


def set_to(key, *parts):
    """A change of one setting to a path below the test's folder."""
    return lambda cfg, folder: cfg.merge_from_list([key, str(folder.joinpath(*parts)) if parts else ""])


@pytest.mark.parametrize("change, words", [
    (lambda c, d: c.MODEL.ROI_RELATION_HEAD.merge_from_list(["USE_GT_BOX", True]), "hml predict OUTPUT_DIR PICTURES"),
    (lambda c, d: (d / "photos" / "notes.txt").touch(), "has .*notes.txt .1 such.*opens every entry"),
    (lambda c, d: (d / "photos" / "more").mkdir(), "has .*more .1 such"),
    (set_to("TEST.CUSTUM_PATH", "photos", "a.jpg"), "is the picture .*a.jpg"),
    (set_to("TEST.CUSTUM_PATH", "nowhere"), "CUSTUM_PATH is .*nowhere, which does not"),
    (set_to("DETECTED_SGG_DIR", "photos", "a.jpg"), "DETECTED_SGG_DIR is .* a file"),
    (set_to("DETECTED_SGG_DIR"), "DETECTED_SGG_DIR is empty"),
])
def test_mistakes_get_a_sentence_and_make_nothing(change, words, cfg, tmp_path):
    change(cfg, tmp_path)
    with pytest.raises(HMLError, match=words):
        check_own_pictures(cfg)
    assert not (tmp_path / "new").exists()


def test_the_bundled_benchmark_takes_one_picture_and_leaves_other_files_out(cfg, tmp_path):
    cfg.TEST.SAVE_PREDICTIONS = True
    (tmp_path / "photos" / "notes.txt").touch()
    check_own_pictures(cfg)
    cfg.TEST.CUSTUM_PATH = str(tmp_path / "photos" / "a.jpg")
    check_own_pictures(cfg)


def test_a_list_of_files(cfg, tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([str(tmp_path / "photos" / "a.jpg")]))
    cfg.TEST.CUSTUM_PATH = str(tmp_path / "list.json")
    check_own_pictures(cfg)


def test_annotations_are_not_needed_beside_a_statistics_cache(cfg, tmp_path):
    roidb = str(tmp_path / "VG.h5")
    assert not counted_before(cfg, ["some_train"], roidb)
    (tmp_path / "some_train_statistics.cache").touch()
    assert counted_before(cfg, ["some_train"], roidb)
    (tmp_path / "VG.h5").touch()
    assert not counted_before(cfg, ["some_train"], roidb)
