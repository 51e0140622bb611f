"""VGDataset and its statistics against plain loops over the file, and bad files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from maskrcnn_benchmark.data import get_dataset_statistics, make_data_loader
from maskrcnn_benchmark.data.datasets import VGDataset
from maskrcnn_benchmark.data.datasets.vg_files import read_annotations
from maskrcnn_benchmark.data.datasets.visual_genome import one_per_pair
from PIL import Image

from maskrcnn_benchmark_hml.errors import HMLError

FILES = {
    "img_dir": "VG_100K",
    "roidb_file": "VG-SGG-with-attri.h5",
    "dict_file": "VG-SGG-dicts-with-attri.json",
    "image_file": "image_data.json",
}


def dataset(folder, split="train", **options):
    return VGDataset(split, **{key: str(folder / name) for key, name in FILES.items()}, **options)


def annotation(folder, split, overlap_only=False, validation=5):
    """[(row in the file, boxes, classes, relations)] of a split, read one by one."""
    with h5py.File(folder / FILES["roidb_file"]) as file:
        arrays = {name: file[name][:] for name in file}
    rows = []
    for i, flag in enumerate(arrays["split"]):
        if flag == (2 if split == "test" else 0) and arrays["img_to_first_rel"][i] >= 0:
            rows.append(i)
    rows = {"train": rows[validation:], "val": rows[:validation], "test": rows}[split]
    result = []
    for i in rows:
        a, b = arrays["img_to_first_box"][i], arrays["img_to_last_box"][i] + 1
        boxes = []
        for cx, cy, w, h in arrays["boxes_1024"][a:b].tolist():
            x, y = int(cx - w / 2), int(cy - h / 2)
            boxes.append((x, y, x + w, y + h))
        relations = []
        for r in range(arrays["img_to_first_rel"][i], arrays["img_to_last_rel"][i] + 1):
            s, o = (arrays["relationships"][r] - a).tolist()
            if not overlap_only or shared(boxes[s], boxes[o], 1) > 0:
                relations.append((s, o, int(arrays["predicates"][r, 0])))
        if relations:
            result.append((i, boxes, arrays["labels"][a:b, 0].tolist(), relations))
    return result


def shared(one, two, inclusive):
    width = min(one[2], two[2]) - max(one[0], two[0]) + inclusive
    height = min(one[3], two[3]) - max(one[1], two[1]) + inclusive
    return max(width, 0) * max(height, 0)


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("overlap", [False, True])
def test_equals_the_file_read_one_by_one(tiny_vg, split, overlap):
    data = dataset(tiny_vg, split, filter_non_overlap=overlap)
    expected = annotation(tiny_vg, split, overlap and split == "train")
    assert len(data) == len(expected) and data.idx_list == list(range(len(data)))
    assert np.flatnonzero(data.split_mask).tolist() == [row for row, *_ in expected]
    for i, (row, boxes, labels, relations) in enumerate(expected):
        assert data.gt_boxes[i].tolist() == [list(box) for box in boxes]
        assert data.gt_classes[i].tolist() == labels
        assert data.relationships[i].tolist() == [list(relation) for relation in relations]
        assert data.img_info[i]["image_id"] == row + 1 and data.filenames[i].endswith(f"{row + 1}.jpg")


def test_detector_sees_images_without_relations(tiny_vg):
    with_all = dataset(tiny_vg, "test", filter_empty_rels=False)
    assert len(with_all) == 8 and len(dataset(tiny_vg, "test")) == 8  # image 39 would be the next without relations
    train = dataset(tiny_vg, filter_empty_rels=False, num_val_im=0, filter_non_overlap=False)
    assert len(train) == 30 and len(dataset(tiny_vg, num_val_im=0, filter_non_overlap=False)) == 28
    assert dataset(tiny_vg, num_im=9, num_val_im=0).split_mask.sum() <= 9


def test_groundtruth_fields(tiny_vg):
    data = dataset(tiny_vg, "test")
    for i in range(len(data)):
        target = data.get_groundtruth(i, evaluation=True)
        info = data.get_img_info(i)
        assert target.size == (info["width"], info["height"])
        assert target.get_field("relation_tuple").tolist() == data.relationships[i].tolist()
        first = {}
        for s, o, p in data.relationships[i].tolist():
            first.setdefault((s, o), p)
        matrix = target.get_field("relation")
        assert {(s, o): int(matrix[s, o]) for s, o in matrix.nonzero().tolist()} == first
        scaled = torch.from_numpy(data.gt_boxes[i] / 1024 * max(target.size)).float()
        limit = torch.tensor(target.size * 2) - 1
        assert torch.equal(target.bbox, torch.minimum(scaled.clamp(min=0), limit))


def test_training_shows_one_predicate_of_a_pair_at_random(tiny_vg):
    data = dataset(tiny_vg)
    index, pair, predicates = next(
        (i, (s, o), found)
        for i, relations in enumerate(data.relationships)
        for s, o, _ in relations.tolist()
        if len(found := {p for a, b, p in relations.tolist() if (a, b) == (s, o)}) > 1
    )
    shown = {int(data.get_groundtruth(index).get_field("relation")[pair]) for _ in range(60)}
    assert shown == predicates
    rows = torch.tensor([[0, 1, 5], [2, 1, 6], [0, 1, 7]])
    assert rows[one_per_pair(rows, shuffle=False)].tolist() == [[0, 1, 5], [2, 1, 6]]
    counts = [int(rows[one_per_pair(rows, shuffle=True)][0, 2] == 5) for _ in range(400)]
    assert 140 < sum(counts) < 260


def test_mirrored_groundtruth(tiny_vg):
    data = dataset(tiny_vg, filter_duplicate_rels=False)
    plain, flipped = data.get_groundtruth(0), data.get_groundtruth(0, flip_img=True)
    width = plain.size[0]
    assert torch.allclose(flipped.bbox[:, 0], (width - 1 - plain.bbox[:, 2]).clamp(min=0))
    assert torch.equal(flipped.get_field("relation"), plain.get_field("relation"))


def test_statistics_equal_loops(tiny_vg, tiny_cfg):
    fg = np.zeros((6, 6, 5), dtype=np.int64)
    for _, boxes, labels, relations in annotation(tiny_vg, "train", overlap_only=True):
        for s, o, p in relations:
            fg[labels[s], labels[o], p] += 1
        pairs = [(i, j) for i in range(len(boxes)) for j in range(len(boxes)) if i != j]
        touching = [(i, j) for i, j in pairs if shared(boxes[i], boxes[j], 0) > 0]
        for i, j in touching or pairs:
            fg[labels[i], labels[j], 0] += 1
    fg[:, :, 0] += 1
    result = get_dataset_statistics(tiny_cfg)
    assert torch.equal(result["fg_matrix"], torch.from_numpy(fg))
    expected = np.log(fg / fg.sum(2, keepdims=True) + 1e-3)
    assert torch.allclose(result["pred_dist"], torch.from_numpy(expected).float(), atol=0)
    assert result["rel_classes"] == ["__background__", "on", "near", "riding", "wearing"]
    assert set(result) == {"fg_matrix", "pred_dist", "obj_classes", "rel_classes", "att_classes"}


def test_a_cache_that_names_code_is_counted_again(tiny_cfg, tmp_path, caplog):
    class Marker:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "marker"),)

    first = get_dataset_statistics(tiny_cfg)
    (cache,) = tmp_path.glob("*_statistics.cache")
    torch.save({"sources": Marker()}, cache)
    with caplog.at_level("WARNING"):
        assert torch.equal(get_dataset_statistics(tiny_cfg)["fg_matrix"], first["fg_matrix"])
    assert not (tmp_path / "marker").exists() and "mkdir, which is not loaded" in caplog.text


def test_statistics_cache_follows_the_files(tiny_vg, tiny_cfg, tmp_path, monkeypatch):
    copy = tmp_path / "data"
    shutil.copytree(tiny_vg, copy)
    monkeypatch.setenv("HML_DATA", str(copy))
    first = get_dataset_statistics(tiny_cfg)
    (cache,) = tmp_path.glob("*_statistics.cache")
    assert torch.load(cache, weights_only=True)["rel_classes"] == first["rel_classes"]
    monkeypatch.setattr(VGDataset, "count_statistics", staticmethod(lambda **_: pytest.fail("the cache is not used")))
    assert torch.equal(get_dataset_statistics(tiny_cfg)["fg_matrix"], first["fg_matrix"])
    monkeypatch.undo()
    monkeypatch.setenv("HML_DATA", str(copy))
    with h5py.File(copy / FILES["roidb_file"], "r+") as file:
        file["predicates"][:] = 1
    assert get_dataset_statistics(tiny_cfg)["fg_matrix"][:, :, 2:].sum() == 0
    cache.write_bytes(cache.read_bytes()[:100])
    assert get_dataset_statistics(tiny_cfg)["fg_matrix"][:, :, 2:].sum() == 0


def test_validation_size_without_an_attribute(tiny_vg, tmp_path):
    shutil.copy(tiny_vg / FILES["roidb_file"], tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file.attrs["num_val_images"]
    assert read_annotations(tmp_path / "a.h5", "val").num_val_im == 2  # a tenth of 28


def test_images_with_split_1_are_the_validation_split(tiny_vg, tmp_path):
    """As IETrans' file marks them; the number stored for the other way of validating then counts for nothing."""
    copy = tmp_path / "data"
    shutil.copytree(tiny_vg, copy)
    with h5py.File(copy / FILES["roidb_file"], "r+") as file:
        split = file["split"][:]
        split[10:17] = 1
        file["split"][:] = split
        with_relations = file["img_to_first_rel"][:] >= 0
    val, train = dataset(copy, "val"), dataset(copy, "train", filter_non_overlap=False)
    assert np.array_equal(val.split_mask, (split == 1) & with_relations)
    assert np.array_equal(train.split_mask, (split == 0) & with_relations)
    counted = val.get_statistics()["fg_matrix"][:, :, 1:].sum()
    assert counted == sum(len(r) for r in dataset(copy, "train").relationships)
    # Asked for by number, as Scene-Graph-Benchmark.pytorch does it: the first of the training split.
    assert np.flatnonzero(dataset(copy, "val", num_val_im=3).split_mask).tolist() == [0, 1, 2]


def test_a_picture_of_another_size_warns(tiny_vg, tmp_path, caplog):
    copy = tmp_path / "data"
    shutil.copytree(tiny_vg, copy)
    entries = json.loads((copy / "image_data.json").read_text())
    entries[-1]["width"] += 1
    (copy / "image_data.json").write_text(json.dumps(entries))
    data = dataset(copy, "test")
    data[len(data) - 1]
    assert "image list says" in caplog.text


def test_own_pictures(tiny_vg, tmp_path):
    data = dataset(tiny_vg, "test", custom_eval=True, custom_path=str(tiny_vg / "VG_100K"))
    assert len(data) == 38 and data.get_img_info(0)["width"] in (48, 64)
    image, target, index = data[3]
    assert target.tolist() == [-1] and index == 3 and image.mode == "RGB"
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps(data.custom_files[:2]))
    assert len(dataset(tiny_vg, "test", custom_eval=True, custom_path=str(listed))) == 2
    assert dataset(tiny_vg, "test", custom_eval=True, custom_path=data.custom_files[4]).custom_files == [
        data.custom_files[4]]


def test_own_pictures_of_other_endings_and_other_files(tiny_vg, tmp_path, caplog):
    picture = Image.new("RGB", (20, 10))
    for name in ("a.webp", "b.bmp", "c.gif", "d.PNG"):
        picture.save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "more").mkdir()
    data = dataset(tiny_vg, "test", custom_eval=True, custom_path=str(tmp_path))
    assert [Path(file).name for file in data.custom_files] == ["a.webp", "b.bmp", "c.gif", "d.PNG"]
    assert "2 entries of" in caplog.text and "notes.txt" in caplog.text and "more" in caplog.text


@pytest.mark.parametrize("content, words", [
    (None, "does not exist; name a folder of pictures"), ("{}", "holds no list of pictures"), ("[]", "has no picture"),
    ('["gone.jpg"]', "lists gone.jpg, which does not exist here .1 of 1"),
])
def test_wrong_own_pictures(content, words, tiny_vg, tmp_path):
    if content:
        (tmp_path / "list.json").write_text(content)
    with pytest.raises(HMLError, match=f"TEST.CUSTUM_PATH .*list.json.*{words}"):
        dataset(tiny_vg, "test", custom_eval=True, custom_path=str(tmp_path / "list.json"))


def test_own_pictures_and_names_are_listed_before_the_work(tiny_vg, tiny_cfg, tmp_path):
    out = tmp_path / "new" / "out"
    tiny_cfg.merge_from_list(["TEST.CUSTUM_EVAL", True, "TEST.CUSTUM_PATH", str(tiny_vg / "VG_100K"),
                              "DETECTED_SGG_DIR", str(out), "MODEL.ROI_RELATION_HEAD.USE_GT_BOX", False,
                              "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL", False])  # fmt: skip
    (loader,) = make_data_loader(tiny_cfg, "test")
    info = json.loads((out / "custom_data_info.json").read_text())
    assert info["idx_to_files"] == loader.dataset.custom_files
    assert info["ind_to_classes"][:2] == ["__background__", "man"] and info["ind_to_predicates"][1] == "on"
    tiny_cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX = True
    with pytest.raises(HMLError, match="hml predict OUTPUT_DIR PICTURES --boxes FILE"):
        make_data_loader(tiny_cfg, "test")


def test_statistics_without_annotations_come_from_the_cache(tiny_vg, tiny_cfg, tmp_path, monkeypatch):
    first = get_dataset_statistics(tiny_cfg)
    names = tmp_path / "names"
    names.mkdir()
    shutil.copy(tiny_vg / FILES["dict_file"], names)
    monkeypatch.setenv("HML_DATA", str(names))
    assert torch.equal(get_dataset_statistics(tiny_cfg)["fg_matrix"], first["fg_matrix"])
    (cache,) = tmp_path.glob("*_statistics.cache")
    cache.unlink()
    with pytest.raises(HMLError, match="VG-SGG-with-attri.h5"):
        get_dataset_statistics(tiny_cfg)


def edit(name, change):
    def apply(folder):
        with h5py.File(folder / FILES["roidb_file"], "r+") as file:
            values = file[name][:]
            change(values)
            file[name][:] = values

    return apply


def put(*where, value):
    def change(values):
        values[where] = value

    return change


def truncate(name):
    def apply(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return apply


def drop_array(folder):
    with h5py.File(folder / FILES["roidb_file"], "r+") as file:
        del file["relationships"]


def shorten_list(folder):
    entries = json.loads((folder / "image_data.json").read_text())
    (folder / "image_data.json").write_text(json.dumps(entries[:-1]))


def gap_in_vocabulary(folder):
    content = json.loads((folder / FILES["dict_file"]).read_text())
    content["predicate_to_idx"]["on"] = 9
    (folder / FILES["dict_file"]).write_text(json.dumps(content))


BAD = {
    "no annotation file": (lambda f: (f / FILES["roidb_file"]).unlink(), "has no VG-SGG-with-attri.h5; a data"),
    "truncated h5": (truncate(FILES["roidb_file"]), "is cut short .holds"),
    "array missing": (drop_array, "has no array 'relationships'"),
    "box of no extent": (edit("boxes_1024", put(-1, 2, value=0)), "box .* widths and heights must be positive"),
    "relation to another image": (edit("relationships", put(-1, 0, value=0)), "relation .* joins the objects"),
    "object index too large": (edit("relationships", put(-1, 1, value=9999)), "relation .* joins the objects"),
    "box rows beyond the file": (edit("img_to_last_box", put(-1, value=9999)), "image 37 has box rows"),
    "relation rows beyond the file": (edit("img_to_last_rel", put(-1, value=9999)), "image 37 has relation rows"),
    "object class": (edit("labels", put(-1, 0, value=6)), r"object class 6 .* 1 to 5"),
    "predicate": (edit("predicates", put(-1, 0, value=0)), r"predicate 0 .* 1 to 4"),
    "no test images": (edit("split", put(slice(None), value=0)), "test split .* no image"),
    "picture missing": (lambda f: (f / "VG_100K" / "37.jpg").unlink(), r"37.jpg is missing .*1 of 8 are"),
    "no pictures": (lambda f: shutil.rmtree(f / "VG_100K"), "no picture folder"),
    "other image list": (shorten_list, "lists 37 images but the annotation file has 38"),
    "truncated image list": (truncate("image_data.json"), "is cut short .does not end"),
    "no vocabulary": (lambda f: (f / FILES["dict_file"]).unlink(), "has no VG-SGG-dicts-with-attri"),
    "gap in the vocabulary": (gap_in_vocabulary, "close the gaps"),
}


def test_a_file_without_attributes_is_read_as_having_none(tiny_vg, tmp_path, caplog):
    copy = tmp_path / "data"
    shutil.copytree(tiny_vg, copy)
    with h5py.File(copy / FILES["roidb_file"], "r+") as file:
        del file["attributes"]
    content = json.loads((copy / FILES["dict_file"]).read_text())
    del content["attribute_to_idx"]
    (copy / FILES["dict_file"]).write_text(json.dumps(content))
    data, whole = dataset(copy), dataset(tiny_vg)
    assert "has no attributes; every object is read as having none" in caplog.text
    assert data.ind_to_attributes == ["__background__"] and len(data) == len(whole)
    for one, other in zip(data.gt_attributes, whole.gt_attributes):
        assert one.shape == other.shape and not one.any()
    assert data.get_groundtruth(0).get_field("attributes").shape[1] == 10


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named(tiny_vg, tiny_cfg, tmp_path, monkeypatch, name):
    spoil, sentence = BAD[name]
    copy = tmp_path / "data"
    shutil.copytree(tiny_vg, copy)
    spoil(copy)
    monkeypatch.setenv("HML_DATA", str(copy))
    with pytest.raises(HMLError, match=sentence) as caught:
        make_data_loader(tiny_cfg, "test")
    assert "\n" not in str(caught.value)


def test_unknown_split(tiny_vg):
    with pytest.raises(HMLError, match="'validation'"):
        dataset(tiny_vg, "validation")


def test_large_files_open_fast_and_workers_share_them(tmp_path):
    """At Visual Genome's density: about 0.1 s per 10,000 images and 3 kB each, held once for all workers."""
    if not (Path("/proc/self/smaps_rollup").is_file() and hasattr(os, "fork")):
        pytest.skip("needs /proc/self/smaps_rollup and fork (Linux)")
    program = Path(__file__).with_name("large_file.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), "20000"], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    # 108,073 images: 5.4 times as much, far below 2 GB.
    assert seen["images"] == 20000 and seen["opened_bytes"] < 20000 * 12_000 and seen["open_to_parse"] < 60
    # A worker that has read every image's annotation owns little of it: reference counts touch some pages.
    assert seen["worker_bytes"] < 0.5 * seen["opened_bytes"]


def test_unsigned_arrays_are_read_as_signed(tiny_vg, tmp_path):
    folder = tmp_path / "vg"
    shutil.copytree(tiny_vg, folder)
    with h5py.File(folder / FILES["roidb_file"], "a") as file:
        file["boxes_1024"][:, 0] = file["boxes_1024"][:, 2] // 2 - 3  # over the left edge
    want = dataset(folder)
    with h5py.File(folder / FILES["roidb_file"], "a") as file:
        for name in ("boxes_1024", "labels", "attributes", "relationships", "predicates"):
            values = file[name][:]
            del file[name]
            file[name] = values.astype(np.uint16)
    got = dataset(folder)
    assert min(boxes.min() for boxes in want.gt_boxes) < 0
    for i in range(len(want)):
        one, two = want.get_groundtruth(i), got.get_groundtruth(i)
        assert torch.equal(one.bbox, two.bbox) and torch.equal(one.get_field("labels"), two.get_field("labels"))
        assert (want.relationships[i] == got.relationships[i]).all()


def test_training_images_with_one_box_left_are_left_out(tiny_vg, tmp_path, caplog):
    """A batch of one such image ends in batch normalisation; without any box a detector's training ends."""
    folder = tmp_path / "vg"
    shutil.copytree(tiny_vg, folder)
    whole = dataset(folder, filter_non_overlap=False)
    rows = np.flatnonzero(whole.split_mask)[[1, 3]]
    with h5py.File(folder / FILES["roidb_file"], "a") as file:
        for row, keep in zip(rows, (1, 0)):
            first, last = file["img_to_first_box"][row] + keep, file["img_to_last_box"][row]
            file["boxes_1024"][first : last + 1, :2] = 1500
    data = dataset(folder, filter_non_overlap=False)
    wanted = [name for i, name in enumerate(whole.filenames) if i not in (1, 3)]
    assert data.filenames == wanted and len(data.relationships) == len(data.img_info) == len(data) == len(wanted)
    assert data.split_mask.sum() == len(wanted) and data.idx_list == list(range(len(wanted)))
    assert f"2 of {len(whole)} training images of" in caplog.text and "fewer than 2 boxes inside" in caplog.text
    assert f"the first has image_id {whole.img_info[1]['image_id']}" in caplog.text
    assert len(dataset(folder, filter_non_overlap=False, filter_empty_rels=False)) == len(
        dataset(tiny_vg, filter_non_overlap=False, filter_empty_rels=False)) - 1, "a detector needs one box"
    assert len(dataset(folder, "test")) == len(dataset(tiny_vg, "test")), "tests leave no image out"
    with h5py.File(folder / FILES["roidb_file"], "a") as file:
        file["boxes_1024"][:, :2] = 1500
    with pytest.raises(HMLError, match=r"no training image of .* has 2 box\(es\) inside; run hml data check"):
        dataset(folder, filter_non_overlap=False)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_cut_short_is_named(tiny_vg, tmp_path, workers):
    folder = tmp_path / "vg"
    shutil.copytree(tiny_vg, folder)
    for path in (folder / "VG_100K").iterdir():
        path.write_bytes(path.read_bytes()[:-400])
    custom = VGDataset("test", "", "", str(folder / FILES["dict_file"]), "", custom_eval=True,
                       custom_path=str(folder / "VG_100K"))  # fmt: skip
    for data in (dataset(folder), dataset(folder, "test"), custom):
        loader = torch.utils.data.DataLoader(data, num_workers=workers, collate_fn=list)
        with pytest.raises(HMLError, match=r"^the picture .*\.jpg is cut short") as caught:
            next(iter(loader))
        assert "\n" not in str(caught.value)


def test_boxes_that_never_touch_name_the_option(tiny_vg, tmp_path):
    """Side by side: every task trains on them but SGDet under REQUIRE_BOX_OVERLAP."""
    folder = tmp_path / "vg"
    shutil.copytree(tiny_vg, folder)
    with h5py.File(folder / FILES["roidb_file"], "a") as file:
        for first, last in zip(file["img_to_first_box"][:], file["img_to_last_box"][:]):
            if first >= 0:
                count = last - first + 1
                file["boxes_1024"][first : last + 1] = [[40 + 80 * i, 300, 40, 40] for i in range(count)]
    assert len(dataset(folder, filter_non_overlap=False)) and len(dataset(folder, "test"))
    assert dataset(folder, filter_non_overlap=False).get_statistics()["fg_matrix"].shape
    with pytest.raises(HMLError, match="joins boxes that overlap, .*REQUIRE_BOX_OVERLAP False"):
        dataset(folder)
