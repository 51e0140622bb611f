"""COCO JSON with relations: a sample with every oddity, counted by hand; the variants; there and back."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import (
    H5_NAME,
    IMAGES_NAME,
    TEST,
    TRAIN,
    VALIDATION,
    ImageRecord,
    Vocabulary,
    check_vg,
    read_vg,
    write_vg,
)
from maskrcnn_benchmark_hml.datasets.formats.coco import convert_coco
from maskrcnn_benchmark_hml.datasets.formats.coco_export import export_coco
from maskrcnn_benchmark_hml.datasets.placeholder import fill_placeholders
from maskrcnn_benchmark_hml.datasets.vrd import convert_vrd
from maskrcnn_benchmark_hml.errors import HMLError

from ..test_vrd import source as vrd_like  # noqa: F401

CATEGORIES = [{"id": 9, "name": "hat"}, {"id": 3, "name": "man", "supercategory": "x"}, {"id": 0, "name": "my-project"}]
PREDICATES = [{"id": 7, "name": "wears"}, {"id": 2, "name": "on"}]


def box(ann_id, image_id, category, bbox, **further):
    return {"id": ann_id, "image_id": image_id, "category_id": category, "bbox": bbox, "iscrowd": 0, **further}


def rel(subject, obj, predicate, image_id=None, **further):
    out = {"id": 0, "subject_id": subject, "object_id": obj, "predicate_id": predicate, **further}
    return out if image_id is None else {**out, "image_id": image_id}


def picture(number, name, **further):
    return {"id": number, "file_name": name, "width": 100, "height": 50, **further}


def run_length():
    mask = np.zeros((50, 100), dtype=np.uint8, order="F")
    mask[10:20, 30:60] = 1
    made = coco_mask.encode(mask)
    return {"size": made["size"], "counts": made["counts"].decode()}


def odd() -> dict:
    """A training file with every oddity; what is dropped, and why, stands beside it."""
    return {
        "images": [picture("107902", "a.jpg", license=3), picture(5, "b.jpg", image_id=77), picture(6, "empty.jpg")],
        "annotations": [
            box(40, 5, 3, [10, 10, 20, 20.5]),
            box(12, 107902, 9, [0, 0, 10, 10]),  # an id as text above, as a number here
            box(11, "107902", 3, [-5, 5, 30, 30], iscrowd=1),  # over the edge; a crowd
            box(13, 107902, 9, [99, 49, 0, 1]),  # no side
            box(14, 107902, 4, [1, 1, 5, 5]),  # no such category
            box(15, 107902, 9, None, segmentation=run_length()),
            box(16, 107902, 9, None, segmentation=[[1, 2, 9, 2, 9, 12]]),
            box(17, 107902, 9, None),  # neither a box nor a mask
            box(18, 999, 9, [1, 1, 5, 5]),  # no such image
            box(41, 5, 9, [12, 12, 6, 6]),
        ],
        "rel_annotations": [
            rel(11, 12, 7, 107902), rel(11, 12, 2, "107902"),  # two predicates
            rel(11, 12, 7, 107902),  # a repetition
            rel(12, 11, 2),  # without an image
            rel(11, 11, 2, 107902),  # itself
            rel(11, 13, 2, 107902), rel(14, 11, 2, 107902), rel(17, 11, 2, 107902),  # of dropped objects
            rel(11, 77, 2, 107902),  # no such annotation
            rel(11, 40, 2, 107902),  # of two images
            rel(40, 41, 7, 107902),  # another image than it says
            rel(40, 41, 5, 5),  # no such predicate
            rel(18, 18, 2),  # of no image
            rel("40", 41, 7, 5),
            rel(15, 16, 7, 107902),
            {"id": 3, "subject_id": 40, "image_id": 5, "predicate_id": 2},  # no object
        ],
        "categories": CATEGORIES,
        "rel_categories": PREDICATES,
    }  # fmt: skip


def write(folder, **files):
    for split, content in files.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
        for entry in content["images"]:
            Image.new("RGB", (100, 50), (9, 90, 9)).save(folder / split / entry["file_name"])
    return folder


def plain(**further):
    return {"images": [picture(1, "t.jpg")], "annotations": [box(1, 1, 3, [0, 0, 9, 9]), box(2, 1, 9, [1, 1, 9, 9])],
            "rel_annotations": [rel(1, 2, 7, 1)], "categories": CATEGORIES, "rel_categories": PREDICATES,
            **further}  # fmt: skip


def arrays(folder):
    with h5py.File(folder / H5_NAME) as h5:
        return {name: h5[name][()] for name in h5}, {k: v for k, v in h5.attrs.items() if k == "num_val_images"}


def same_arrays(a, b):
    (left, stored), (right, again) = arrays(a), arrays(b)
    assert left.keys() == right.keys() and stored == again
    for name, value in left.items():
        assert value.dtype == right[name].dtype
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_every_oddity_is_kept_or_counted(tmp_path):
    src = write(tmp_path / "src", train=odd(), valid=plain(), test=plain())
    tally = convert_coco(src, tmp_path / "out")
    data = read_vg(tmp_path / "out")
    a, b, empty, val, test = data.records
    assert data.vocabulary == Vocabulary(("man", "hat"), ("on", "wears"))
    assert [r.split for r in data.records] == [TRAIN, TRAIN, TRAIN, VALIDATION, TEST]
    assert [r.image_id for r in data.records] == [107902, 5, 6, 1, 10_000_001]
    assert a.extra == {"source_id": "107902", "file_name": "a.jpg", "license": 3} and "image_id" not in b.extra
    assert a.labels.tolist() == [2, 1, 2, 2]
    np.testing.assert_allclose(a.boxes, [[0, 0, 10, 10], [0, 5, 25, 35], [30, 10, 60, 20], [1, 2, 9, 12]], atol=0.1)
    assert a.relations.tolist() == [[1, 0, 2], [1, 0, 1], [0, 1, 1], [2, 3, 2]]
    assert b.relations.tolist() == [[0, 1, 2]] and not len(empty.labels) and len(val.relations) == 1
    lines = tally.lines()
    for line in (
        "categories: id 0, 'my-project', occurs nowhere and is left out",
        "found 5 images, 14 objects, 18 relations",
        "kept 5 images, 10 objects, 7 relations; images: 3 training, 1 validation, 1 test; 4 with relations",
        "dropped 1 object: their image_id is no image of the file (the first: train/_annotations.coco.json)",
        "dropped 1 object: the box covers nothing of the picture (the first: image 107902)",
        "dropped 1 object: their category_id is not in categories (the first: image 107902)",
        "dropped 1 object: they have neither a bbox of four numbers nor a segmentation (the first: image 107902)",
        "dropped 3 relations: the subject or object was dropped (the first: image 107902)",
        "dropped 1 relation: subject and object are the same object (the first: image 107902)",
        "dropped 3 relations: their subject or object is no annotation of their image"
        " (the first: entry 8 of train/_annotations.coco.json)",
        "dropped 1 relation: they join annotations of two images (the first: entry 9 of train/_annotations.coco.json)",
        "dropped 1 relation: their image_id is no image of the file (the first: train/_annotations.coco.json)",
        "merged 1 relation: exact repetitions (the first: image 107902)",
        "objects marked as a crowd (iscrowd), which stay: 1 (the first: annotation 11 of train/_annotations.coco.json)",
    ):
        assert line in lines, lines
    assert any(line.startswith("dropped 1 relation: their predicate_id is not in rel_categories") for line in lines)
    assert check_vg(tmp_path / "out", open_pictures=True).source["lines"] == lines


@pytest.mark.parametrize(("names", "used", "objects", "says"), [
    ([(0, "__background__"), (1, "man"), (2, "hat")], (1, 2), ("man", "hat"), "id 0 is '__background__', the backgr"),
    ([(0, "man"), (1, "hat")], (0, 1), ("man", "hat"), "the ids are taken to count from 0 without a background"),
    ([(17, "hat"), (5, "man")], (5, 17), ("man", "hat"), None),
    (["man", "hat"], (1, 2), ("man", "hat"), None),
    (["__background__", "man", "hat"], (1, 2), ("man", "hat"), "id 0 is '__background__', the background"),
    ([("b", "hat"), ("a", "man")], ("a", "b"), ("hat", "man"), None),
])  # fmt: skip
def test_where_the_ids_begin(names, used, objects, says, tmp_path):
    lists = [n if isinstance(n, str) else dict(zip(("id", "name"), n)) for n in names]
    content = plain(categories=lists, rel_categories=lists, rel_annotations=[rel(1, 2, u, 1) for u in used],
                    annotations=[box(i, 1, u, [i, 1, 9, 9]) for i, u in enumerate(used, 1)])  # fmt: skip
    tally = convert_coco(write(tmp_path / "src", train=content), tmp_path / "out")
    data = read_vg(tmp_path / "out")
    assert data.vocabulary.objects == data.vocabulary.predicates == objects
    expected = [objects.index({"a": "man", "b": "hat"}.get(u) or dict(_numbered(names))[u]) + 1 for u in used]
    assert data.records[0].labels.tolist() == data.records[0].relations[:, 2].tolist() == expected
    assert [line for line in tally.remarks if "id" in line and "categories" in line] == (
        [] if says is None else [line for line in tally.remarks if says in line])
    assert says is None or len(tally.remarks) == 3


def _numbered(names):
    first = 0 if names[0] == "__background__" else 1
    return names if isinstance(names[0], tuple) else enumerate(names, first)


def test_ids_that_are_unique_in_each_image_alone(tmp_path):
    content = plain(
        images=[picture(1, "t.jpg"), picture(2, "u.jpg")],
        annotations=[box(1, 2, 9, [5, 5, 9, 9]), box(1, 1, 3, [0, 0, 9, 9]), box(2, 1, 9, [1, 1, 9, 9]),
                     box(2, 2, 3, [6, 6, 9, 9])],
        rel_annotations=[rel(2, 1, 7, 2), rel(1, 2, 2, 1), rel(1, 2, 7), rel(3, 1, 7, 1)],
    )  # fmt: skip
    tally = convert_coco(write(tmp_path / "src", train=content), tmp_path / "out")
    one, two = read_vg(tmp_path / "out").records
    assert one.relations.tolist() == [[0, 1, 1]] and two.relations.tolist() == [[1, 0, 2]]
    assert two.labels.tolist() == [2, 1]
    (line,) = (line for line in tally.lines() if line.startswith("dropped"))
    assert line.startswith("dropped 2 relations: their subject or object is no annotation of their image")
    content["annotations"][2]["id"] = 1
    with pytest.raises(HMLError, match="two annotations with the same id in one image"):
        convert_coco(write(tmp_path / "src", train=content), tmp_path / "other")


def test_reltr_counts_annotations_of_the_image(tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    content = plain(annotations=[box(50, 2, 1, [0, 0, 0, 0]), box(60, 1, 0, [0, 0, 9, 9]), box(51, 2, 1, [5, 5, 9, 9]),
                                 box(52, 2, 0, [6, 6, 9, 9], iscrowd=1)],
                    images=[picture(1, "t.jpg"), picture(2, "u.jpg")],
                    categories=[{"id": 0, "name": "man"}, {"id": 1, "name": "hat"}])  # fmt: skip
    del content["rel_annotations"], content["rel_categories"]
    for split in ("train", "test"):
        (src / f"{split}.json").write_text(json.dumps(content))
    relations = {"2": [[1, 2, 0], [1, 0, 1], [1, 3, 1]], "1": [], "9": [[0, 1, 1]]}
    (src / "rel.json").write_text(json.dumps({"train": relations, "test": {}, "rel_categories": ["on", "wears"]}))
    tally = convert_coco(src, tmp_path / "out")
    data = read_vg(tmp_path / "out")
    assert data.vocabulary.predicates == ("on", "wears")
    assert data.records[1].relations.tolist() == [[0, 1, 1]] and data.records[1].labels.tolist() == [2, 1]
    lines = tally.lines()
    assert "dropped 1 relation: the subject or object was dropped (the first: image 2)" in lines
    assert any(line.startswith("dropped 1 relation: their subject or object is no annotation") for line in lines)
    assert any(line.startswith("dropped 1 relation: their image_id is no image") for line in lines)


def test_one_file_is_split(tmp_path):
    content = plain(images=[picture(i, f"{i}.jpg") for i in range(1, 11)])
    write(tmp_path / "src", train=content)
    file = tmp_path / "src" / "train" / "_annotations.coco.json"
    assert main(["data", "convert-coco", str(file), str(tmp_path / "out"), "--test", "0.3"]) == 0
    assert [r.split for r in read_vg(tmp_path / "out").records].count(TEST) == 3
    with pytest.raises(HMLError, match="--test 0.3 has no effect"):
        convert_coco(tmp_path / "src", tmp_path / "other", test=0.3)


@pytest.mark.parametrize(("change", "says"), [
    (lambda c: c["images"].append(picture(1, "x.jpg")), "lists an image id twice, first that of t.jpg"),
    (lambda c: c["images"][0].pop("file_name"), "entry 0 of 'images' in .* has no id or no file_name"),
    (lambda c: c["images"][0].update(width="100"), "entry 0 of 'images' .* has the side '100'"),
    (lambda c: c["images"][0].update(width=50, height=100), "is 100x50, .*says 50x100, the same with width and height"),
    (lambda c: c["images"][0].update(file_name="other.jpg"), "the picture other.jpg of image 1 is not in"),
    (lambda c: c["images"].clear(), "has no list 'images'"),
    (lambda c: c["annotations"][0].update(id=[1]), r"'id' of entry 0 of 'annotations' in .* has the id \[1\]"),
    (lambda c: c["annotations"].append(7), "entry 2 of 'annotations' in .* is 7"),
    (lambda c: c["rel_annotations"].append("x"), "entry 1 of 'rel_annotations' in .* is 'x'"),
    (lambda c: c.pop("rel_categories"), "has no 'rel_categories'"),
    (lambda c: c.pop("categories"), "has no 'categories'"),
    (lambda c: c.update(categories={"3": "man"}), "has no 'categories'"),
    (lambda c: c.update(categories=["man", 3]), "entry 0 of 'categories' in .* is 'man'; it must have an id"),
    (lambda c: c["categories"].append({"id": 3}), "entry 3 of 'categories' in .* must have an id and a name"),
    (lambda c: c["categories"].append({"id": 3, "name": "woman"}), "calls the id 3 'woman', elsewhere it is 'man'"),
    (lambda c: c["categories"].append({"id": 4, "name": "man"}), "name 'man' twice"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(change, says, tmp_path, capsys):
    content = plain(categories=[dict(c) for c in CATEGORIES])
    write(tmp_path / "src", train=content)
    change(content)
    (tmp_path / "src" / "train" / "_annotations.coco.json").write_text(json.dumps(content))
    with pytest.raises(HMLError, match=says):
        convert_coco(tmp_path / "src", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_bad_places_are_named(tmp_path, small):
    src = tmp_path / "src"
    with pytest.raises(HMLError, match="there is no folder or file"):
        convert_coco(src, tmp_path / "out")
    src.mkdir()
    with pytest.raises(HMLError, match="has neither train/_annotations.coco.json nor train.json"):
        convert_coco(src, tmp_path / "out")
    (src / "train-0.parquet").touch()
    with pytest.raises(HMLError, match="holds parquet files"):
        convert_coco(src, tmp_path / "out")
    with pytest.raises(HMLError, match="is not empty; name another folder"):
        export_coco(small, src)
    (tmp_path / "afile").touch()
    with pytest.raises(HMLError, match="is a file"):
        export_coco(small, tmp_path / "afile")


def test_vrd_there_and_back(vrd_like, tmp_path):  # noqa: F811
    convert_vrd(vrd_like, tmp_path / "vrd", max_side=100)
    report = export_coco(tmp_path / "vrd", tmp_path / "coco")
    assert report.images == {"train": 2, "val": 1, "test": 2} and report.several == 1
    convert_coco(tmp_path / "coco", tmp_path / "again")
    same_arrays(tmp_path / "vrd", tmp_path / "again")
    before, after = (json.loads((tmp_path / name / IMAGES_NAME).read_text()) for name in ("vrd", "again"))
    assert [{**e, "source_id": str(e["image_id"])} for e in before] == after
    assert check_vg(tmp_path / "again", open_pictures=True).validation == 1


@pytest.mark.parametrize("marked", [True, False])
def test_there_and_back_keeps_attributes_names_and_order(marked, records, vocabulary, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        n = int(rng.integers(0, 6))
        corner = rng.uniform(0, 90, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.6, 300, (n, 2))], axis=1).clip(0, [331, 97, 331, 97])
        pairs = [(s, o, int(rng.integers(1, 3))) for s in range(n) for o in range(n) if s != o and rng.random() < 0.4]
        records.append(ImageRecord(100 + i, 331, 97, (TRAIN, TEST, VALIDATION if marked else TRAIN)[i % 3], boxes,
                                   rng.integers(1, 4, n), np.array(pairs, dtype=int).reshape(-1, 3),
                                   [tuple(rng.integers(1, 3, int(rng.integers(0, 3))).tolist()) for _ in range(n)],
                                   {"file_name": f"a/{i}.JPG", "source_id": f"é{i}", "coco_url": ["x"]}))  # fmt: skip
    records[4].extra["file_name"] = "../up.jpg"
    records[5].extra["file_name"] = records[8].extra["file_name"] = "twice.jpg"
    folder = tmp_path / "one"
    folder.mkdir()
    write_vg(folder, records, vocabulary, num_val_images=None if marked else 3)
    fill_placeholders(folder)
    report = export_coco(folder, tmp_path / "coco")
    assert report.attributes and not report.without_picture
    tally = convert_coco(tmp_path / "coco", tmp_path / "two")
    same_arrays(folder, tmp_path / "two")
    again = read_vg(tmp_path / "two")
    assert again.vocabulary == vocabulary and not tally.dropped and not tally.merged
    assert [r.extra for r in again.records[4:]] == [r.extra for r in records[4:]]
    content = json.loads((tmp_path / "coco" / "val" / "_annotations.coco.json").read_text())
    assert content["categories"][0] == {"id": 1, "name": "cat"} and len(content["images"]) == (13 if marked else 3)
    content["images"].pop()  # edited by another tool: the marks of the row stay, the order too
    (tmp_path / "coco" / "val" / "_annotations.coco.json").write_text(json.dumps(content))
    convert_coco(tmp_path / "coco", tmp_path / "three", skip_missing=True)
    assert len(read_vg(tmp_path / "three").records) == len(records) - 1


def test_what_the_format_cannot_hold_is_printed(small, tmp_path, capsys):
    (small / "VG_100K" / "13.jpg").unlink()
    assert main(["data", "export-coco", str(small), str(tmp_path / "coco")]) == 0
    said = capsys.readouterr().out
    for line in (
        "train/_annotations.coco.json: 2 images, 3 objects, 3 relations",
        "val/_annotations.coco.json: 1 images, 2 objects, 1 relations",
        "pairs with several predicates: 1; all are written, but SGG-Benchmark draws one",
        "objects with attributes: 1; SGG-Benchmark does not read 'attribute_ids'",
        "images without a picture: 1; SGG-Benchmark leaves them out",
        "not written: what the folder says about its own source",
    ):
        assert line in said.splitlines()
