"""What a dataset folder holds, counted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from .layout import TEST, TRAIN, VALIDATION, Vocabulary
from .reader import RawVG
from .splits import validation_size
from .stored_rows import corners_inside, rows_to_images, stored_corners


@dataclass
class Report:
    """What a correct dataset folder holds; dictionaries by split have the keys "train" and "test".

    They also have "val" if the file marks validation images by split 1; ``validation`` is the size of the validation
    split, those with relations or the first of the training split. ``warnings`` are sentences on what is allowed, but
    probably not what was meant.
    """

    folder: str
    object_classes: int
    predicates: int
    images: dict[str, int]
    with_relations: dict[str, int]
    validation: int
    objects: dict[str, int]
    relations: dict[str, int]
    pairs_with_several_predicates: int
    zero_shot_triplets: int
    zero_shot_relations: int
    overhanging_boxes: int
    objects_per_image: float
    relations_per_image: float
    predicate_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    has_attributes: bool = True
    about: str = ""
    source: dict = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The report as lines for a terminal."""

        marked = "val" in self.images
        parts = ("train", "val", "test") if marked else ("train", "test")

        def each(counts: dict[str, int]) -> str:
            return " ".join(f"{counts[part]:>9,}" for part in parts)

        columns = " ".join(f"{part:>9}" for part in parts)
        lines = [f"{self.folder}: no error, but {len(self.warnings)} warning(s)" if self.warnings else
                 f"{self.folder}: correct"]  # fmt: skip
        lines += [f"warning: {line}" for line in self.warnings]
        lines += [self.about] if self.about else []
        lines += [
            f"{self.object_classes} object classes, {self.predicates} predicates",
            f"{'':28}{columns}",
            f"{'images':28}{each(self.images)}",
            f"{'images with relations':28}{each(self.with_relations)}",
            f"{'objects':28}{each(self.objects)}",
            f"{'relations':28}{each(self.relations)}",
            self._validation_line(),
            f"per image with relations: {self.objects_per_image:.1f} objects, {self.relations_per_image:.1f} relations",
            f"pairs with several predicates: {self.pairs_with_several_predicates:,}",
            f"zero-shot: {self.zero_shot_triplets:,} test triplets ({self.zero_shot_relations:,} relations)"
            " never occur in the training split",
            f"boxes that reach beyond the picture and are clipped: {self.overhanging_boxes:,}",
        ]
        lines += [] if self.has_attributes else ["attributes: not in the file; every object is read as having none"]
        lines += [f"source: {line}" for line in self.source.get("lines", [])]
        lines.append(f"{'predicate':28}{columns}")
        ranked = sorted(self.predicate_counts.items(), key=lambda item: -item[1]["train"])
        lines += [f"{name:28}{each(counts)}" for name, counts in ranked]
        unseen = [name for name, counts in ranked if not counts["train"]]
        lines += [f"without a training instance: {', '.join(unseen)}"] if unseen else []
        return "\n".join(lines)

    def _validation_line(self) -> str:
        if "val" not in self.images:
            return f"validation: the first {self.validation:,} training images with relations"
        return (
            f"validation: the {self.validation:,} images with split 1 that have relations"
            " (Scene-Graph-Benchmark.pytorch itself does not use them and validates on the first training images)"
        )


def count_vg(raw: RawVG, vocabulary: Vocabulary) -> Report:
    """Count a checked dataset folder."""
    split, first_rel = raw["split"], raw["img_to_first_rel"]
    box_image = rows_to_images(raw["img_to_first_box"], raw["img_to_last_box"], len(raw["labels"]))
    rel_image = rows_to_images(first_rel, raw["img_to_last_rel"], len(raw["predicates"]))
    labels, predicates = raw["labels"][:, 0].astype(np.int64), raw["predicates"][:, 0].astype(np.int64)
    pairs = raw["relationships"].astype(np.int64)
    n, p = len(vocabulary.objects) + 1, len(vocabulary.predicates) + 1
    triplet = (labels[pairs[:, 0]] * n + labels[pairs[:, 1]]) * p + predicates if len(labels) else predicates
    of = {"train": TRAIN, "val": VALIDATION, "test": TEST}
    if not (split == VALIDATION).any():
        del of["val"]
    in_split = {k: (rel_image >= 0) & (split[rel_image] == v) for k, v in of.items()}
    per_split = {k: np.bincount(predicates[mask], minlength=p) for k, mask in in_split.items()}
    unseen = ~np.isin(triplet[in_split["test"]], triplet[in_split["train"]])
    used = rel_image >= 0
    distinct = np.unique(np.column_stack([pairs, predicates])[used], axis=0)
    _, predicates_of_pair = np.unique(distinct[:, :2], axis=0, return_counts=True)
    objects = {k: (box_image >= 0) & (split[box_image] == v) for k, v in of.items()}
    width, height = (np.array([e[key] for e in raw.images], dtype=np.float64) for key in ("width", "height"))
    inside = corners_inside(raw["boxes_1024"], box_image, width, height)
    # Rounding to the stored scale may push a corner two units out; that is not worth a word.
    overhang = (np.abs(inside - stored_corners(raw["boxes_1024"])) > 2).any(1) & (box_image >= 0)
    has_relations = np.isin(split, list(of.values())) & (first_rel >= 0)
    with_relations = {k: int((has_relations & (split == v)).sum()) for k, v in of.items()}
    stored = raw.attrs.get("num_val_images")
    images = max(int(has_relations.sum()), 1)
    source = raw.attrs.get("source")
    return Report(
        folder=str(raw.folder),
        object_classes=n - 1,
        predicates=p - 1,
        images={k: int((split == v).sum()) for k, v in of.items()},
        with_relations=with_relations,
        validation=with_relations["val"]
        if "val" in of
        else validation_size(with_relations["train"], None if stored is None else int(stored)),
        objects={k: int(mask.sum()) for k, mask in objects.items()},
        relations={k: int(mask.sum()) for k, mask in in_split.items()},
        pairs_with_several_predicates=int((predicates_of_pair > 1).sum()),
        zero_shot_triplets=len(np.unique(triplet[in_split["test"]][unseen])),
        zero_shot_relations=int(unseen.sum()),
        overhanging_boxes=int(overhang.sum()),
        objects_per_image=float(((box_image >= 0) & has_relations[box_image]).sum()) / images,
        relations_per_image=float(used.sum()) / images,
        predicate_counts={
            name: {k: int(per_split[k][i]) for k in of} for i, name in enumerate(vocabulary.predicates, 1)
        },
        has_attributes=raw.has_attributes,
        about=str(raw.attrs.get("about", "")),
        source=json.loads(source) if isinstance(source, str) else {},
    )
