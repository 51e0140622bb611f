"""BoxList, the operations on it, image batches."""

from __future__ import annotations

import pytest
import torch
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList
from maskrcnn_benchmark.structures.boxlist_ops import (
    boxlist_intersection,
    boxlist_iou,
    boxlist_nms,
    boxlist_union,
    cat_boxlist,
    remove_small_boxes,
)
from maskrcnn_benchmark.structures.image_list import to_image_list


def boxes(n=5, size=(100, 80), mode="xyxy"):
    low = torch.randint(0, 40, (n, 2))
    result = BoxList(torch.cat((low, low + torch.randint(1, 35, (n, 2))), 1), size, "xyxy")
    result.add_field("labels", torch.arange(n))
    result.add_field("relation", torch.arange(n * n).reshape(n, n), is_triplet=True)
    return result.convert(mode)


def pixels(box):
    """Set of the pixels of an inclusive box."""
    x1, y1, x2, y2 = (int(v) for v in box)
    return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}


def test_iou_area_and_union_count_pixels():
    one, two = boxes(4), boxes(3)
    iou = boxlist_iou(one, two)
    for i in range(4):
        assert one.area()[i] == len(pixels(one.bbox[i])) == one.convert("xywh").area()[i]
        for j in range(3):
            a, b = pixels(one.bbox[i]), pixels(two.bbox[j])
            assert iou[i, j].item() == pytest.approx(len(a & b) / len(a | b))
    union = boxlist_union(one[:3], two).bbox
    assert (union[:, :2] <= two.bbox[:, :2]).all() and (union[:, 2:] >= one.bbox[:3, 2:]).all()


def test_intersection_is_zero_without_extent():
    one = BoxList([[0, 0, 10, 10], [0, 0, 4, 4]], (20, 20))
    two = BoxList([[5, 6, 15, 15], [4, 0, 9, 9]], (20, 20))
    assert boxlist_intersection(one, two).bbox.tolist() == [[5, 6, 10, 10], [0, 0, 0, 0]]


def test_selection_takes_rows_and_columns_of_triplet_fields():
    five = boxes()
    for item in (torch.tensor([3, 1]), torch.tensor([False, True, False, True, True]), slice(1, 3)):
        part = five[item]
        labels = part.get_field("labels")
        assert torch.equal(part.get_field("relation"), labels[:, None] * 5 + labels)
        assert torch.equal(part.bbox, five.bbox[labels])


def test_modes_convert_back_and_keep_triplet_fields():
    one = boxes()
    there = one.convert("xywh")
    assert there.triplet_extra_fields == ["relation"] and torch.equal(there.convert("xyxy").bbox, one.bbox)
    assert one.convert("xyxy") is one


@pytest.mark.parametrize("mode", ["xyxy", "xywh"])
def test_resize_keeps_fields_and_scales(mode):
    one = boxes(mode=mode)
    same_ratio, other = one.resize((200, 160)), one.resize((50, 80))
    assert torch.equal(same_ratio.bbox, one.bbox * 2)
    assert torch.allclose(other.convert("xyxy").bbox, one.convert("xyxy").bbox * torch.tensor([0.5, 1, 0.5, 1]))
    assert other.mode == mode and other.triplet_extra_fields == ["relation"]


def test_mirroring():
    one = boxes()
    twice = one.transpose(FLIP_LEFT_RIGHT).transpose(FLIP_LEFT_RIGHT)
    assert torch.equal(twice.bbox, one.bbox)
    assert one.transpose(FLIP_LEFT_RIGHT).bbox[0, 0] == 99 - one.bbox[0, 2]
    assert one.transpose(FLIP_TOP_BOTTOM).bbox[0, 1] == 80 - one.bbox[0, 3]
    with pytest.raises(ValueError, match="FLIP_LEFT_RIGHT"):
        one.transpose(5)


def test_clip_and_crop():
    one = BoxList([[-5, 2, 300, 40], [120, 90, 130, 95]], (100, 80))
    one.add_field("relation", torch.ones(2, 2), is_triplet=True)
    kept = one.clip_to_image(remove_empty=True)
    assert kept.bbox.tolist() == [[0, 2, 99, 40]] and kept.get_field("relation").shape == (1, 1)
    assert one.bbox[1].tolist() == [99, 79, 99, 79]  # in place
    assert kept.crop((10, 0, 60, 30)).bbox.tolist() == [[0, 2, 50, 30]]


def test_nms_against_loops():
    for _ in range(20):
        n = 30
        low = torch.randint(0, 30, (n, 2)).float()
        one = BoxList(torch.cat((low, low + torch.randint(1, 30, (n, 2))), 1), (100, 100))
        one.add_field("scores", torch.rand(n))
        iou, alive = boxlist_iou(one, one), []
        for i in one.get_field("scores").argsort(descending=True).tolist():
            if all(iou[i, j] <= 0.3987 for j in alive):
                alive.append(i)
        kept, index = boxlist_nms(one, 0.3987)
        assert index.tolist() == sorted(alive) and torch.equal(kept.bbox, one.bbox[index])
    assert len(boxlist_nms(one, 0.4, max_proposals=2)[0]) == 2
    assert len(boxlist_nms(one[:0], 0.4)[0]) == 0
    assert len(boxlist_nms(one, 0.0)[0]) == n


def test_small_boxes_go():
    one = BoxList([[0, 0, 4, 4], [0, 0, 3, 9]], (20, 20))
    assert len(remove_small_boxes(one, 5)) == 1


def test_concatenation_is_block_diagonal():
    one, two = boxes(2), boxes(3)
    both = cat_boxlist([one, two])
    matrix = both.get_field("relation")
    assert torch.equal(matrix[:2, :2], one.get_field("relation"))
    assert torch.equal(matrix[2:, 2:], two.get_field("relation"))
    assert not matrix[:2, 2:].any() and both.triplet_extra_fields == ["relation"]
    with pytest.raises(ValueError, match="cannot be joined"):
        cat_boxlist([one, two.copy()])


def test_wrong_shapes_and_missing_fields():
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        BoxList([[1, 2, 3]], (10, 10))
    with pytest.raises(ValueError, match="xyxy or xywh"):
        BoxList([[1, 2, 3, 4]], (10, 10), "cxcywh")
    with pytest.raises(KeyError, match="scores"):
        boxes().copy_with_fields(["labels", "scores"])
    assert boxes().copy_with_fields(["labels", "scores"], skip_missing=True).fields() == ["labels"]
    with pytest.raises(ValueError, match="image sizes"):
        boxlist_iou(boxes(), boxes(size=(7, 7)))


@pytest.mark.skipif(not hasattr(torch.serialization, "add_safe_globals"), reason="torch < 2.4 reads plain types only")
def test_boxes_survive_a_safe_load(tmp_path):
    torch.save([boxes()], tmp_path / "boxes")
    (back,) = torch.load(tmp_path / "boxes", weights_only=True)
    assert back.fields() == ["labels", "relation"] and len(back) == 5


def test_images_are_padded_on_the_right_and_below():
    images = [torch.ones(3, 10, 20), torch.full((3, 15, 8), 2.0)]
    batch = to_image_list(images, 16)
    assert batch.tensors.shape == (2, 3, 16, 32)
    assert batch.tensors.sum() == 3 * (200 + 240) and batch.tensors[1, 0, 14, 7] == 2
    assert [tuple(size) for size in batch.image_sizes] == [(10, 20), (15, 8)]
    assert to_image_list(batch) is batch
    assert to_image_list(images[0]).tensors.shape == (1, 3, 10, 20)
