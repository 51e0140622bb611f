"""``VGDataset``: images, boxes, classes and relations of Visual Genome or of a dataset in its format."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, BoxList
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from maskrcnn_benchmark_hml.datasets.own_pictures import own_pictures
from maskrcnn_benchmark_hml.datasets.pictures import open_picture
from maskrcnn_benchmark_hml.datasets.visible import images_with_boxes, leave_out_images, no_overlap
from maskrcnn_benchmark_hml.errors import HMLError

from ..seeding import drawn_from
from .vg_files import BOX_SCALE, Annotations, per_image, read_annotations, read_images, read_vocabulary
from .vg_statistics import statistics

logger = logging.getLogger(__name__)


class VGDataset(Dataset):
    """One split.

    Args:
        split: train, val or test. Validation images are those with split 1 in the file, else the first of its training
            split.
        img_dir, roidb_file, dict_file, image_file: picture folder, annotations, vocabulary, image list.
        transforms: called with (PIL image, target).
        filter_empty_rels: leave out images without a relation; False for training a detector. Training images of which
            too few boxes lie inside the picture (two for relations, one for a detector) are left out, and counted.
        num_im: use only the first images; -1: all.
        num_val_im: size of the validation split at the front of the training split; None: as the file says.
        filter_duplicate_rels: training shows one of a pair's predicates, drawn anew each time.
        filter_non_overlap: training leaves out relations whose boxes do not touch.
        flip_aug: mirror half of the training images (on top of the transforms).
        custom_eval, custom_path: the user's own pictures (a folder, one picture, or a JSON
            list of files) instead of the split.

    Attributes (lists have one entry per image and may be edited together after construction):
        gt_boxes: (n, 4) x1, y1, x2, y2 at scale 1024.
        gt_classes, gt_attributes: (n,) and (n, 10) indices.
        relationships: (r, 3) subject, object, predicate.
        filenames, img_info: picture file; its entry in the image list (``width``, ``height``, ``image_id``).
        split_mask: which of the file's images these are. idx_list: 0 .. len - 1.
        ind_to_classes, ind_to_predicates, ind_to_attributes: names, ``__background__`` first.

    Raises:
        HMLError: a file is missing, cannot be read, or does not fit the others.
    """

    def __init__(
        self,
        split: str,
        img_dir: str,
        roidb_file: str,
        dict_file: str,
        image_file: str,
        transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        filter_empty_rels: bool = True,
        num_im: int = -1,
        num_val_im: int | None = None,
        filter_duplicate_rels: bool = True,
        filter_non_overlap: bool = True,
        flip_aug: bool = False,
        custom_eval: bool = False,
        custom_path: str = "",
    ) -> None:
        if split not in ("train", "val", "test"):
            raise HMLError(f"there is no split {split!r}; use train, val or test")
        training = split == "train"
        self.split = split
        self.img_dir, self.roidb_file, self.dict_file, self.image_file = img_dir, roidb_file, dict_file, image_file
        self.transforms = transforms
        self.flip_aug = flip_aug
        self.filter_empty_rels = filter_empty_rels
        self.filter_non_overlap = filter_non_overlap and training
        self.filter_duplicate_rels = filter_duplicate_rels and training
        self.num_im = num_im
        self.num_val_im = num_val_im
        self.ind_to_classes, self.ind_to_predicates, self.ind_to_attributes = read_vocabulary(dict_file)
        self.categories = dict(enumerate(self.ind_to_classes))
        self.custom_eval = custom_eval
        if custom_eval:
            self.get_custom_imgs(custom_path)
        else:
            self._load()
        self.idx_list = list(range(len(self)))

    def _load(self) -> None:
        data = read_annotations(
            self.roidb_file, self.split, self.num_im, self.num_val_im, self.filter_empty_rels, self.filter_non_overlap
        )
        check_indices(data, self.ind_to_classes, self.ind_to_predicates, self.roidb_file)
        if not data.split_mask.any() and self.filter_non_overlap:
            raise HMLError(no_overlap(self.roidb_file))
        if not data.split_mask.any():
            raise HMLError(f"the {self.split} split of {self.roidb_file} has no image to use; check its array 'split'")
        self.num_val_im = data.num_val_im
        self.split_mask = data.split_mask
        self.gt_boxes = per_image(data.boxes, data.first_box, data.end_box)
        self.gt_classes = per_image(data.labels, data.first_box, data.end_box)
        self.gt_attributes = per_image(data.attributes, data.first_box, data.end_box)
        self.relationships = per_image(data.relations, data.first_rel, data.end_rel)
        self.filenames, self.img_info = read_images(self.img_dir, self.image_file, data.split_mask)
        if self.split == "train":  # a relation needs two boxes, a detector one
            least = 2 if self.filter_empty_rels else 1
            leave_out_images(self, images_with_boxes(self.gt_boxes, self.img_info, least), least, logger)

    def get_custom_imgs(self, path: str) -> None:
        """Lists the user's pictures in ``custom_files`` and their sizes in ``img_info``."""
        files, others = own_pictures(path)
        if others:
            logger.warning("%d entries of %s are no pictures and are left out: %s", len(others), path,
                           ", ".join(others[:10]))  # fmt: skip
        self.custom_files, self.img_info = files, []
        for file in tqdm(files, desc="pictures", disable=None):
            with open_picture(file, load=False) as image:
                self.img_info.append({"width": image.width, "height": image.height})

    def __len__(self) -> int:
        return len(self.custom_files if self.custom_eval else self.filenames)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        """(image, target, index). A ``SeededIndex`` makes every random draw a function of its seed."""
        with drawn_from(getattr(index, "seed", None)):
            index = int(index)
            image, target = self._custom_sample(index) if self.custom_eval else self._sample(index)
            if self.transforms is not None:
                image, target = self.transforms(image, target)
        return image, target, index

    def _custom_sample(self, index: int) -> tuple[Image.Image, Tensor]:
        return open_picture(self.custom_files[index]).convert("RGB"), torch.tensor([-1])

    def _sample(self, index: int) -> tuple[Image.Image, BoxList]:
        image = open_picture(self.filenames[index]).convert("RGB")
        info = self.img_info[index]
        if image.size != (info["width"], info["height"]):
            logger.warning(
                "%s is %d x %d, but the image list says %d x %d; its boxes are scaled by the list",
                self.filenames[index], *image.size, info["width"], info["height"],
            )  # fmt: skip
        flip = self.flip_aug and self.split == "train" and np.random.random() > 0.5
        target = self.get_groundtruth(index, flip_img=flip)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image, target

    def get_img_info(self, index: int) -> dict[str, Any]:
        """The image's entry in the image list, with ``width`` and ``height`` in pixels."""
        return self.img_info[index]

    def get_groundtruth(self, index: int, evaluation: bool = False, flip_img: bool = False) -> BoxList:
        """Boxes in pixels of the original picture, with fields.

        Fields: ``labels`` (n,) and ``attributes`` (n, 10) int64; ``relation`` (n, n) int64, a triplet field, the
        predicate of each subject-object pair or 0; with ``evaluation`` also ``relation_tuple`` (r, 3) int64, *every*
        annotated relation. Boxes are cut to the image; outside evaluation those left without extent are dropped.
        A pair with several predicates shows a random one in training, otherwise the first.
        """
        info = self.get_img_info(index)
        width, height = info["width"], info["height"]
        boxes = torch.from_numpy(self.gt_boxes[index] / BOX_SCALE * max(width, height)).reshape(-1, 4)
        target = BoxList(boxes, (width, height), "xyxy")
        if flip_img:
            target = target.transpose(FLIP_LEFT_RIGHT)
        target.add_field("labels", torch.from_numpy(self.gt_classes[index]).long())
        target.add_field("attributes", torch.from_numpy(self.gt_attributes[index]).long())

        relation = torch.from_numpy(self.relationships[index]).long().reshape(-1, 3)
        shown = relation[one_per_pair(relation, shuffle=self.filter_duplicate_rels)]
        matrix = torch.zeros((len(target), len(target)), dtype=torch.int64)
        matrix[shown[:, 0], shown[:, 1]] = shown[:, 2]
        target.add_field("relation", matrix, is_triplet=True)
        if evaluation:
            target.add_field("relation_tuple", relation.clone())
        return target.clip_to_image(remove_empty=not evaluation)

    def get_statistics(self) -> dict[str, Any]:
        """Counts over the *training* split of this dataset's file, whichever split this is; see ``statistics``.

        Relations of boxes that do not touch are not counted.
        """
        return self.count_statistics(self.roidb_file, self.dict_file, self.num_val_im)

    @staticmethod
    def count_statistics(
        roidb_file: str, dict_file: str, num_val_im: int | None = None, **_: Any
    ) -> dict[str, Any]:
        """``get_statistics`` without a dataset: reads the annotations only. Takes a catalog entry's arguments."""
        classes, predicates, attributes = read_vocabulary(dict_file)
        data = read_annotations(roidb_file, "train", num_val_im=num_val_im, filter_non_overlap=True)
        check_indices(data, classes, predicates, roidb_file)
        counts = statistics(data, len(classes), len(predicates))
        return {**counts, "obj_classes": classes, "rel_classes": predicates, "att_classes": attributes}


def one_per_pair(relation: Tensor, shuffle: bool) -> Tensor:
    """Rows of ``relation`` (r, 3) that leave one row per (subject, object): a random one, or the first."""
    order = torch.from_numpy(np.random.permutation(len(relation))) if shuffle else torch.arange(len(relation))
    pair = (relation[:, 0] * (1 << 31) + relation[:, 1])[order]
    _, first = np.unique(pair.numpy(), return_index=True)
    return order[torch.from_numpy(first)]


def check_indices(data: Annotations, classes: list[str], predicates: list[str], path: str) -> None:
    """HMLError naming the first object class or predicate that the vocabulary does not have."""
    checks = (("object class", data.labels, classes), ("predicate", data.relations[:, 2], predicates))
    for what, values, names in checks:
        wrong = (values < 1) | (values >= len(names))
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise HMLError(f"{path}: {what} {int(values[bad])} (row {bad}) is outside the vocabulary's 1 to "
                           f"{len(names) - 1}; use the vocabulary file that belongs to it")  # fmt: skip
