"""Open Images' relations: every oddity in a small sample, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.formats.openimages import convert_openimages
from maskrcnn_benchmark_hml.errors import HMLError

HEADER = ("ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel")
MAN, GUITAR, CHAIR, WOODEN, OTHER = "/m/04yx4", "/m/0342h", "/m/01mzpv", "/m/083vt", "/m/0zzz"
A, B, C = "0.1,0.5,0.2,0.6", "0.25,0.75,0.25,0.75", "0,1.02,-0.01,1"
SIZED = {"00031197fb7b015d": (1024, 768), "1234567890123456": (500, 400), "12345678901e2345": (640, 480),
         "000000000000000a": (100, 50), "000000000000000b": (60, 60)}  # fmt: skip
HEX, DIGITS, EXPONENT, ATTRIBUTES, TEST = SIZED
TRAIN = [
    f"{HEX},{MAN},{GUITAR},{A},{B},plays",
    f"{DIGITS},{MAN},{CHAIR},{A},{C},on",
    # The rows of an image need not stand together, and the same numbers may be written otherwise.
    f"{HEX},{MAN},{GUITAR},0.100000,0.50,.2,0.6000000001,{B},holds",
    f"{HEX},{MAN},{GUITAR},{A},{B},plays",
    f"{HEX},{GUITAR},{WOODEN},{B},{B},is",
    f"{HEX},{GUITAR},{WOODEN},{B},{B},is",
    f"{HEX},{GUITAR},{OTHER},{B},{A},is",
    f"{HEX},{MAN},{MAN},{A},{A},at",
    f"{DIGITS},{MAN},{MAN},{A},0.101,0.5,0.2,0.6,interacts_with",
    f"{DIGITS},{MAN},{CHAIR},{A},0.3,,0.2,0.6,on",
    f"{DIGITS},{MAN},{CHAIR},{A},0.4,0.4,0.2,0.6,on",
    f"{DIGITS},{MAN},{CHAIR},{A},{C},",
    f"{EXPONENT},{CHAIR},{MAN},{B},{A},under",
    f"{ATTRIBUTES},{CHAIR},{WOODEN},{A},{A},is",
]
VALIDATION = [f"{TEST},{MAN},{CHAIR},{A},{B},on"]
BOXES = [
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf",
    f"{HEX},xclick,{MAN},1,{A},0,0,0",
    f"{HEX},xclick,{CHAIR},1,0.6,0.7,0.6,0.7,0,0,0",
    f"{HEX},xclick,{CHAIR},1,0.1,0.9,0.1,0.9,0,0,1",
    f"{HEX},xclick,{CHAIR},1,0.1,0.9,0.1,none,0,0,0",
    f"ffffffffffffffff,xclick,{CHAIR},1,0.1,0.9,0.1,0.9,0,0,1",
]


def write(path, lines, header=HEADER):
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "oi"
    folder.mkdir()
    write(folder / "challenge-2019-train-vrd.csv", TRAIN)
    write(folder / "challenge-2019-validation-vrd.csv", VALIDATION)
    classes = [f"{MAN},Man", f"{GUITAR},Guitar", f"{CHAIR},Chair", "/m/1,Horse"]
    write(folder / "challenge-2019-classes-vrd.csv", classes, "")
    write(folder / "challenge-2019-attributes-description.csv", [f"{WOODEN},Wooden"], "LabelName,DisplayName")
    write(folder / "challenge-2019-relationships-description.csv", ["at,at", "interacts_with,interacts with"], "")
    write(folder / "challenge-2019-train-vrd-labels.csv", [f"{HEX},verification,{MAN},1"], "ImageID,Source,LabelName,C")
    write(tmp_path / "sizes.csv", [f"{key},{w},{h}" for key, (w, h) in SIZED.items()], "ImageID,Width,Height")
    return folder


def counts(table):
    return {f"{kind}: {reason}": count.number for (kind, reason), count in table.items()}


def test_every_oddity_is_counted(source, tmp_path):
    tally = convert_openimages(source, tmp_path / "out", sizes=tmp_path / "sizes.csv")
    # HEX: man, guitar. DIGITS: man, chair, second man, the chair of no width. EXPONENT: chair, man. ATTRIBUTES: chair.
    # TEST: man, chair.
    assert tally.found == {"images": 5, "objects": 11, "relations": 11}
    assert tally.kept == {"images": 4, "objects": 9, "relations": 6}
    assert counts(tally.dropped) == {
        "images: without a relation, with attributes only (--attribute-images keeps them)": 1,
        "objects: of images without a relation": 1,
        "objects: the box covers nothing of the picture": 1,
        "relations: without a RelationshipLabel": 1,
        "relations: an end has no label or not four numbers": 1,
        "relations: the subject or object was dropped": 1,
        "relations: subject and object are the same object": 1,
    }
    assert counts(tally.merged) == {"relations: exact repetitions": 1}
    lines = tally.lines()
    for line in (
        'rows "is" (attributes of objects, not relations): 4',
        'rows "is" that repeat another: 1',
        'rows "is" with another second box; the first counts: 1',
        f"pairs of objects of one label that overlap by over 0.95 (kept apart): 1 (the first: image {DIGITS})",
        f"labels without a name in the description files keep their id: {OTHER}",
        "split: there is no test file, so the validation file is for testing",
        "object classes: 3 occur in the files",
    ):
        assert line in lines


def test_what_is_written(source, tmp_path):
    convert_openimages(source, tmp_path / "out", sizes=tmp_path / "sizes.csv", attribute_images=True)
    data = read_vg(tmp_path / "out")
    assert data.vocabulary.objects == ("Chair", "Guitar", "Man")
    assert data.vocabulary.predicates == ("at", "holds", "interacts with", "on", "plays", "under")
    assert data.vocabulary.attributes == (OTHER, "Wooden")
    hex_, digits, exponent, attributes, test = data.records
    assert [r.extra["source_id"] for r in data.records] == list(SIZED)
    assert [r.image_id for r in data.records] == list(range(10000001, 10000006))
    assert [r.split for r in data.records] == [0, 0, 0, 0, 2]
    np.testing.assert_allclose(hex_.boxes, [[102.4, 153.6, 512, 460.8], [256, 192, 768, 576]], atol=0.6)
    np.testing.assert_allclose(digits.boxes[1], [0, 0, 500, 400], atol=0.6)
    assert hex_.labels.tolist() == [3, 2] and hex_.relations.tolist() == [[0, 1, 5], [0, 1, 2]]
    assert hex_.attributes == [(), (2, 1)] and attributes.attributes == [(2,)]
    assert digits.labels.tolist() == [3, 1, 3] and digits.relations.tolist() == [[0, 1, 4], [0, 2, 3]]
    assert exponent.relations.tolist() == [[0, 1, 6]] and test.relations.tolist() == [[0, 1, 4]]


def test_sizes_of_the_pictures_and_all_three_splits(source, tmp_path, capsys):
    write(source / "oidv6-test-annotations-vrd.csv", [f"{ATTRIBUTES},{MAN},{CHAIR},{A},{B},on"])
    write(source / "challenge-2019-train-vrd.csv", [row for row in TRAIN if ATTRIBUTES not in row])
    photos = tmp_path / "photos" / "train_0"
    photos.mkdir(parents=True)
    for image_id, size in SIZED.items():
        Image.new("RGB", size).save(photos / f"{image_id}.jpg")
    out = tmp_path / "out"
    assert main(["data", "convert-openimages", str(source), str(out), "--photos", str(photos.parent)]) == 0
    assert f"next: hml data check {out}" in capsys.readouterr().out
    report = check_vg(out, open_pictures=True)
    assert report.images == {"train": 3, "val": 1, "test": 1} and report.relations == {"train": 5, "val": 1, "test": 1}
    assert [(r.width, r.height) for r in read_vg(out).records] == [
        SIZED[key] for key in (HEX, DIGITS, EXPONENT, TEST, ATTRIBUTES)]


@pytest.mark.parametrize(("group_of", "objects"), [(False, 10), (True, 11)])
def test_objects_that_are_in_no_relation(source, tmp_path, group_of, objects):
    write(source / "challenge-2019-train-vrd-bbox.csv", BOXES[1:], BOXES[0])
    write(source / "challenge-2019-validation-vrd-bbox.csv", [], BOXES[0])
    tally = convert_openimages(source, tmp_path / "out", sizes=tmp_path / "sizes.csv", boxes=True, group_of=group_of)
    assert tally.kept["objects"] == objects and tally.found["objects"] == 14
    lines, name = tally.lines(), "challenge-2019-train-vrd-bbox.csv"
    assert f"objects that only {name} has: {1 + group_of}" in lines
    assert f"rows of {name} that are objects found before: 1" in lines
    assert f"rows of {name} of images without relations, left out: 1" in lines
    dropped = counts(tally.dropped)
    assert dropped["objects: without a label or not four numbers"] == 1
    assert dropped.get("objects: boxes around a group, in no relation (--group-of keeps them)", 0) == 1 - group_of
    assert len(read_vg(tmp_path / "out").records[0].labels) == 3 + group_of


def test_two_ids_of_one_name_stay_two_classes(source, tmp_path):
    write(source / "challenge-2019-classes-vrd.csv", [f"{MAN},Person", f"{GUITAR},Guitar", f"{CHAIR},Person"], "")
    convert_openimages(source, tmp_path / "out", sizes=tmp_path / "sizes.csv")
    assert read_vg(tmp_path / "out").vocabulary.objects == ("Guitar", "Person", f"Person ({CHAIR})")


@pytest.mark.parametrize(("name", "lines", "options", "says"), [
    ("challenge-2019-train-vrd.csv", None, {}, "has no csv file with 'train' and 'vrd' in its name"),
    ("oidv6-train-annotations-vrd.csv", [HEADER], {}, "has two files with the train relations"),
    ("challenge-2019-train-vrd.csv", ["ImageID,LabelName1"], {}, "has no column LabelName2"),
    ("challenge-2019-train-vrd.csv", [HEADER, f"x,{MAN},{MAN},10,200,10,300,{A},on"], {}, "image x has the box 10,"),
    ("challenge-2019-validation-vrd.csv", [HEADER, TRAIN[0]], {}, f"image {HEX} is in the train and in the validation"),
    ("challenge-2019-classes-vrd.csv", ["/m/04yx4"], {}, "line 1 of .* has one column"),
    ("../sizes.csv", ["ImageID,Width,Height", f"{HEX},0,5"], {}, f"image {HEX} has the size 0 x 5"),
    ("../sizes.csv", ["ImageID,Width,Height"], {}, rf"image {HEX} \({HEX}.jpg\) has no size"),
    ("../sizes.csv", ["a"], {"sizes": None}, "do not give the sizes of the pictures; give --photos DIR, or --sizes"),
    ("a.csv", [], {"boxes": True}, "--boxes needs a csv file with 'train' and 'bbox' in its name"),
    ("a.csv", [], {"group_of": True}, "--group-of is about the boxes in no relation"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(source, tmp_path, name, lines, options, says):
    (source / name).unlink() if lines is None else write(source / name, lines, "")
    with pytest.raises(HMLError, match=says) as error:
        convert_openimages(source, tmp_path / "out", **{"sizes": tmp_path / "sizes.csv", **options})
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["oi", "sizes.csv"]


def test_without_descriptions(source, tmp_path):
    for path in [*source.glob("*description*"), *source.glob("*classes*")]:
        path.unlink()
    with pytest.raises(HMLError, match="has no csv file with 'description' or 'classes' in its name"):
        convert_openimages(source, tmp_path / "out", sizes=tmp_path / "sizes.csv")
