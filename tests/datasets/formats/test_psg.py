"""PSG's own JSON: a sample with every oddity, counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import TEST, TRAIN, Vocabulary, check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.formats.psg import convert_psg
from maskrcnn_benchmark_hml.datasets.placeholder import fill_placeholders
from maskrcnn_benchmark_hml.errors import HMLError


def segment(category, box, **further):
    return {"bbox": box, "bbox_mode": 0, "category_id": category, **further}


def entry(number, *segments, relations=(), **further):
    return {"file_name": f"val2017/{number:012}.jpg", "image_id": str(number), "coco_image_id": str(number + 500),
            "height": 60, "width": 80, "pan_seg_file_name": f"panoptic_val2017/{number}.png",
            "annotations": list(segments), "relations": [list(r) for r in relations],
            "segments_info": [{"id": 7, "category_id": s["category_id"], "iscrowd": int(s["category_id"] == 1),
                               "isthing": 1, "area": 9} for s in segments], **further}  # fmt: skip


def psg(*entries, test=(3,)):
    return {"data": list(entries), "thing_classes": ["person", "dog"],
            "stuff_classes": ["sky-other-merged", "wall-stuff"], "predicate_classes": ["over", "on"],
            "test_image_ids": list(test)}  # fmt: skip


def sample():
    sky, dog = segment(2, [0, 0, 80, 20.5]), segment(1, [5, 5, 20, 20])
    return psg(
        entry(1, segment(0, [10, 10, 30, 60]), sky, dog, segment(3, [9, 9, 9, 30]),
              relations=[(1, 0, 0), (1, 0, 0), (1, 0, 1), (2, 2, 1), (0, 3, 1), (0, 4, 1)]),
        entry(2, sky, dog, segment(0, [5, 6, 7, 8], bbox_mode=1), relations=[(1, 0, 1)]),
        entry(3, sky, dog, relations=[(0, 1, 0)]),  # the id of a test image as a number, here as text
        entry(4, dog),
        test=(3, "99"),
    )  # fmt: skip


def test_every_oddity_is_kept_or_counted(tmp_path):
    file = tmp_path / "psg.json"
    file.write_text(json.dumps(sample()))
    tally = convert_psg(file, tmp_path / "out")
    data = read_vg(tmp_path / "out")
    assert data.vocabulary == Vocabulary(("person", "dog", "sky-other-merged", "wall-stuff"), ("over", "on"))
    assert [r.split for r in data.records] == [TRAIN, TRAIN, TEST, TRAIN] and data.num_val_images == 1
    one, two, _, without = data.records
    assert one.labels.tolist() == [1, 3, 2] and one.relations.tolist() == [[1, 0, 1], [1, 0, 2]]
    np.testing.assert_allclose(one.boxes, [[10, 10, 30, 60], [0, 0, 80, 20.5], [5, 5, 20, 20]], atol=0.1)
    np.testing.assert_allclose(two.boxes[2], [5, 6, 12, 14], atol=0.1)
    assert not len(without.relations)
    assert one.extra == {"source_id": "1", "file_name": "val2017/000000000001.jpg", "coco_image_id": "501",
                         "pan_seg_file_name": "panoptic_val2017/1.png"}  # fmt: skip
    lines = tally.lines()
    for line in (
        "found 4 images, 10 objects, 8 relations",
        "kept 4 images, 9 objects, 4 relations; images: 3 training, 1 test; 3 with relations",
        "dropped 1 object: the box covers nothing of the picture (the first: image 1)",
        "dropped 1 relation: their subject or object is no segment of the image (the first: image 1)",
        "dropped 1 relation: the subject or object was dropped (the first: image 1)",
        "dropped 1 relation: subject and object are the same object (the first: image 1)",
        "merged 1 relation: exact repetitions (the first: image 1)",
        "segments marked as a crowd (iscrowd), which stay: 4 (the first: val2017/000000000001.jpg)",
        "test_image_ids that are no image of the file: 1 (the first: 99)",
    ):
        assert line in lines, lines
    fill_placeholders(tmp_path / "out")
    assert check_vg(tmp_path / "out", open_pictures=True).source["lines"] == lines


def test_names_are_stripped_unless_two_become_one(tmp_path, capsys):
    file = tmp_path / "psg.json"
    content = sample()
    file.write_text(json.dumps(content))
    assert main(["data", "convert-psg", str(file), str(tmp_path / "out"), "--strip-names"]) == 0
    assert read_vg(tmp_path / "out").vocabulary.objects == ("person", "dog", "sky", "wall")
    assert capsys.readouterr().out.splitlines()[-1] == f"next: hml data placeholders {tmp_path / 'out'}"
    content["stuff_classes"][1] = "dog-other"
    file.write_text(json.dumps(content))
    with pytest.raises(HMLError, match="--strip-names gives 'dog' and 'dog-other' one name"):
        convert_psg(file, tmp_path / "other", strip_names=True)


@pytest.mark.parametrize(("change", "says"), [
    (lambda c: c["data"][0].update(relations=[3, 4]), r"entry 0 .* without subject and object \(psg_cls_basic"),
    (lambda c: c["data"][0].pop("annotations"), "entry 0 of 'data' .* has no file_name or no annotations"),
    (lambda c: c["data"][0]["annotations"][0].pop("bbox"), "cannot be read .'bbox'.; an annotation has bbox and cat"),
    (lambda c: c["data"][1].update(relations=[[1, 2]]), "entry 1 of 'data' .* cannot be read"),
    (lambda c: c["data"][1]["segments_info"].pop(), "has 3 annotations but 2 segments; they must pair up"),
    (lambda c: c["data"][1]["annotations"][0].update(category_id=4), "image 1 has a category_id outside 0..3"),
    (lambda c: c["data"][1].update(relations=[[0, 1, 2]]), "image 2 has a predicate outside 0..1"),
    (lambda c: c.pop("predicate_classes"), "is not PSG's file: it must have data, thing_classes"),
    (lambda c: c["data"][1].update(image_id=None), "an image of .* has the id None"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(change, says, tmp_path):
    content = sample()
    change(content)
    (tmp_path / "psg.json").write_text(json.dumps(content))
    with pytest.raises(HMLError, match=says):
        convert_psg(tmp_path / "psg.json", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["psg.json"]
