"""What all converters share: what is left out, counts, image ids, pictures, large JSON files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.datasets.format import TEST, TRAIN, Vocabulary, check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.formats import stream
from maskrcnn_benchmark_hml.datasets.formats.photos import PhotoFolder, measure_photo
from maskrcnn_benchmark_hml.datasets.formats.source import (
    Source,
    SourceImage,
    id_text,
    split_by_share,
    validation_images,
    write_source,
)
from maskrcnn_benchmark_hml.datasets.placeholder import fill_placeholders
from maskrcnn_benchmark_hml.errors import HMLError

NAMES = Vocabulary(("man", "hat"), ("on", "wears"), ("red", *(f"a{i}" for i in range(11))))


def image(source_id="7", boxes=((0, 0, 9, 9), (1, 1, 5, 5)), relations=((0, 1, 2),), split=TRAIN, **further):
    labels = np.arange(len(boxes)) % 2 + 1
    return SourceImage(source_id, f"{source_id}.jpg", 100, 80, split, np.array(boxes, float), labels,
                       np.array(relations).reshape(-1, 3), **further)  # fmt: skip


def source(*images, **further):
    made = Source("made up", NAMES, images, **further)
    made.tally.find("images", len(images))
    made.tally.find("objects", sum(len(i.labels) for i in images))
    made.tally.find("relations", sum(len(i.relations) for i in images))
    return made


def with_photos(folder, *names, size=(100, 80), **options):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (9, 90, 9)).save(folder / name, **options)
    return folder


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_what_cannot_be_kept_is_counted_with_its_reason(tmp_path):
    boxes = [(-5, -5, 20, 20), (90, 70, 130, 90), (100, 10, 120, 30), (5, 5, 5, 9), (np.nan, 0, 5, 5), (1, 1, 4, 4),
             (99.99, 3, 100, 9)]  # fmt: skip
    relations = [(0, 1, 1), (0, 1, 1), (0, 1, 2), (0, 2, 1), (3, 4, 1), (1, 1, 1), (5, 0, 2), (1, 6, 1)]
    one = image(boxes=boxes, relations=relations, dropped={5: "its class is not known"},
                attributes=[(1,), tuple(range(1, 13)), (), (), (), (), ()])  # fmt: skip
    tally = write_source(source(one, image("8", split=TEST)), tmp_path / "out")
    data = read_vg(tmp_path / "out")
    assert data.records[0].relations.tolist() == [[0, 1, 1], [0, 1, 2]] and len(data.records[0].labels) == 2
    assert data.records[0].attributes == [(1,), tuple(range(1, 11))]
    np.testing.assert_allclose(data.records[0].boxes, [[0, 0, 20, 20], [90, 70, 100, 80]], atol=0.1)
    lines = tally.lines()
    for line in (
        "found 2 images, 9 objects, 9 relations",
        "kept 2 images, 4 objects, 3 relations; images: 1 training, 1 test; 2 with relations",
        "dropped 4 objects: the box covers nothing of the picture (the first: image 7)",
        "dropped 1 object: its class is not known (the first: image 7)",
        "dropped 4 relations: the subject or object was dropped (the first: image 7)",
        "dropped 1 relation: subject and object are the same object (the first: image 7)",
        "merged 1 relation: exact repetitions (the first: image 7)",
        "boxes that reach over the picture's edge and are clipped: 2 (the first: image 7)",
        "objects with more than 10 attributes, which keep the first ones: 1 (the first: image 7)",
    ):
        assert line in lines
    fill_placeholders(tmp_path / "out")
    assert check_vg(tmp_path / "out", open_pictures=True).source["lines"] == lines


def test_a_lost_relation_is_an_error(tmp_path):
    made = source(image())
    made.tally.find("relations", 1)
    with pytest.raises(AssertionError, match="'relations': 1"):
        write_source(made, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_image_ids_are_the_sources_where_they_can_be(tmp_path):
    ids = ["7", "0007", "1592", "abc", "7", "0", "10000001"]
    tally = write_source(source(*(image(i) for i in ids)), tmp_path / "out")
    records = read_vg(tmp_path / "out").records
    assert [r.image_id for r in records] == [7, *range(10_000_001, 10_000_007)]
    assert [r.extra["source_id"] for r in records] == ids and records[3].extra["file_name"] == "abc.jpg"
    assert any("with a new image_id" in line and "keeps it): 6 (" in line for line in tally.lines())
    assert id_text(12, "x") == id_text("12", "x") == id_text(12.0, "x") == "12"
    for wrong in (None, True, 1.5, [], ""):
        with pytest.raises(HMLError, match="x has the id"):
            id_text(wrong, "x")


def test_pictures_are_found_linked_and_measured(tmp_path):
    photos = with_photos(tmp_path / "photos", "a/7.jpg", "8.jpg")
    with_photos(photos, "9.png")
    made = source(image("7"), image("8"), image("9"))
    write_source(made, tmp_path / "out", photos=photos)
    assert (tmp_path / "out" / "VG_100K" / "7.jpg").samefile(photos / "a" / "7.jpg")
    assert Image.open(tmp_path / "out" / "VG_100K" / "9.jpg").format == "JPEG"
    check_vg(tmp_path / "out", open_pictures=True)
    with pytest.raises(HMLError, match="10.jpg of image 10 is not in .*--skip-missing"):
        write_source(source(image("10")), tmp_path / "other", photos=photos)
    tally = write_source(source(image("10"), image("7")), tmp_path / "other", photos=photos, skip_missing=True)
    assert "dropped 1 image: their picture is missing (the first: 10.jpg)" in tally.lines()
    assert "dropped 2 objects: of images that were dropped because their picture is missing" in tally.lines()
    unknown = image("8")
    unknown.width = 0
    write_source(source(unknown), tmp_path / "measured", photos=photos)
    assert read_vg(tmp_path / "measured").records[0].width == 100
    with pytest.raises(HMLError, match="image 8 .* has no size; give the pictures"):
        write_source(source(unknown), tmp_path / "third")
    with pytest.raises(HMLError, match="no picture folder"):
        write_source(source(image()), tmp_path / "third", photos=tmp_path / "none")
    assert not (tmp_path / "third").exists()


def test_names_of_pictures_are_matched_by_place_then_name_then_stem(tmp_path):
    photos = with_photos(tmp_path / "p", "train/1.jpg", "test/1.jpg", "test/2.jpg", "cat.v2.png")
    folder = PhotoFolder(photos)
    assert folder.find("test/1.jpg") == photos / "test" / "1.jpg"
    assert folder.find("/coco/train/1.jpg") == photos / "train" / "1.jpg"
    assert folder.find("2") == folder.find("x.jpg", "2.gif") == photos / "test" / "2.jpg"
    assert folder.find("cat.v2") == folder.find("cat.v2.jpg") == photos / "cat.v2.png"
    assert folder.find("3.jpg") is None
    with pytest.raises(HMLError, match="two pictures in .* fit 1.jpg: t.*; remove or rename one"):
        folder.find("1.jpg")


def test_turned_pictures(tmp_path):
    photos = with_photos(tmp_path / "p", "side.jpg", "over.jpg", size=(100, 80), exif=turned(6))
    with_photos(photos, "over.jpg", size=(100, 80), exif=turned(3))
    side, over = photos / "side.jpg", photos / "over.jpg"
    assert measure_photo(side, (80, 100), False) == ((80, 100), True)
    assert measure_photo(side, (100, 80), True) == ((100, 80), False)
    assert measure_photo(side, None, True) == ((80, 100), True)
    assert [measure_photo(over, (100, 80), t)[1] for t in (True, False)] == [True, False]
    with pytest.raises(HMLError, match="is 100x80, but its annotation says 80x100, .*exchanged"):
        measure_photo(over, (80, 100), True)
    shown = image("side")
    shown.width, shown.height = 80, 100
    tally = write_source(source(shown), tmp_path / "out", photos=photos)
    (record,) = read_vg(tmp_path / "out").records
    with Image.open(tmp_path / "out" / "VG_100K" / record.photo_name()) as picture:
        assert picture.size == (80, 100) and not picture.getexif().get(0x0112)
    assert "pictures that are stored turned by their EXIF orientation: 1 (the first: side.jpg)" in tally.lines()


def test_fractions_and_shares(tmp_path):
    half = image(boxes=[(0, 0, 0.5, 0.5), (0.25, 0.5, 1, 1)], fractions=True)
    write_source(source(half, validation=0.5), tmp_path / "out")
    data = read_vg(tmp_path / "out")
    np.testing.assert_allclose(data.records[0].boxes, [[0, 0, 50, 40], [25, 40, 100, 80]], atol=0.1)
    assert data.num_val_images == 1
    assert [validation_images(*a) for a in ((None, 9), (0.05, 9), (0.5, 9), (1000, 9), (0.05, 0))] == [None, 1, 5, 9, 0]
    splits = split_by_share(10, 0.2)
    assert (splits == TEST).sum() == 2 and (splits == split_by_share(10, 0.2)).all()


def test_large_files_are_read_entry_by_entry(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": [1.5, {"b": 2}], "c": {"d": "\u00e9", "1": []}}).encode())
    assert list(stream.items(file, "a")) == [1.5, {"b": 2}] and list(stream.items(file, "none")) == []
    assert dict(stream.members(file, "c")) == {"d": "é", "1": []} == stream.value(file, "c")
    assert stream.value(file, "none") is None and not stream.is_list(file)
    file.write_text(" [1, [2]]")
    assert stream.is_list(file) and list(stream.items(file)) == [1, [2]]
    for text, says in (
        ('[{"a": 1}, {"a"', "is cut short"), ("[1, }]", r"is not valid JSON at character 5 \(Expecting value\)"),
        (" ", "is cut short"), ("", "is empty"), ("[1 2]", "at character 4"), ("hello", "at character 1 "),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(HMLError, match=says):
            list(stream.items(file))
    with pytest.raises(HMLError, match="does not exist"):
        list(stream.items(tmp_path / "no.json"))


@pytest.mark.parametrize("step", [1, 2, 7, 64])
def test_values_are_whole_where_the_window_ends(step, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_READ", step)
    content = {"big": {"x": [1, {"y": "z" * 100}]}, "n": 12345678, "last": "ü",
               "a": [10, -2.5e3, True, None, "é\\\"]", [], {}, [[3]]], "b": [{"id": 1, "": {"a": [1]}}]}  # fmt: skip
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + " \n", encoding="utf-8")
    assert list(stream.items(file, "a")) == content["a"] and list(stream.items(file, "b")) == content["b"]
    assert list(stream.sections(file)) == [*(("a", e) for e in content["a"]), ("b", content["b"][0])]
    assert dict(stream.members(file)) == content and dict(stream.members(file, "big")) == content["big"]
    assert stream.value(file, "big.x") == content["big"]["x"] and stream.value(file, "last") == "ü"
