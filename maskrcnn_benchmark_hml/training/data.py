"""A stage's view over a built VGDataset: which labels, images and batches the stage sees.

The dataset object is edited, never constructed: constructors differ between forks, these attributes do not. Relations
are rows ``(subject box, object box, predicate)`` of ``dataset.relationships[image]``; index 0 is the background.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import HMLError
from .seeding import derive_seed, seeded
from .stages import Stage

_log = logging.getLogger("maskrcnn_benchmark.hml")
_PER_IMAGE = ("relationships", "gt_boxes", "gt_classes", "gt_attributes", "filenames", "img_info")


@dataclass(frozen=True)
class StageData:
    """What a stage keeps: counts for the log, the provenance and eq. 4.

    Attributes:
        images, relations: kept images (repeats of oversampling included) and relations of the stage's labels.
        images_before, relations_before: before the stage's filter.
        counts: n_i per class, int64 (C,); ``counts[0]`` is the number of background pairs sampled in one epoch.
    """

    images: int
    relations: int
    images_before: int
    relations_before: int
    counts: np.ndarray

    def describe(self) -> str:
        return (
            f"keeps {self.images} of {self.images_before} images and {self.relations} of "
            f"{self.relations_before} relations as labels"
        )


def stage_relations(relations: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Reduce each pair that has a predicate of the stage to those predicates; other pairs stay as they are.

    Hosts pick one random predicate of a pair with several; without this a stage would lose labels to other stages.
    Pairs annotated only with other stages' predicates stay in the matrix, so they are never background material.

    Args:
        relations: (R, 3) subject, object, predicate.
        labels: boolean (C,), True for the stage's classes.
    """
    if len(relations) == 0:
        return relations
    ours = labels[relations[:, 2]]
    width = int(relations[:, :2].max()) + 1
    pair = relations[:, 0].astype(np.int64) * width + relations[:, 1]
    return relations[ours | ~np.isin(pair, pair[ours])]


def label_counts(dataset, num_classes: int) -> np.ndarray:
    """Relations of a host's training dataset by predicate, int64 (C,); entry 0 is 0.

    These are the labels that training sees: validation images are not in the dataset, and relations whose boxes do not
    touch only where the host trains on them (with detected boxes, REQUIRE_BOX_OVERLAP leaves them out). A pair with
    several predicates counts for each. Everything that depends on how frequent a predicate is counts here.

    Raises:
        HMLError: a predicate index is out of range.
    """
    labels = np.concatenate([np.asarray(r).reshape(-1, 3)[:, 2] for r in dataset.relationships] or [np.zeros(0, int)])
    if labels.size and (labels.max() >= num_classes or labels.min() < 1):
        raise HMLError(
            f"the dataset has predicate index {int(labels.max())} but the model has {num_classes} classes "
            "(MODEL.ROI_RELATION_HEAD.NUM_CLASSES); make the two agree"
        )
    return np.bincount(labels, minlength=num_classes)


def select_images(dataset, stage: Stage, counts: np.ndarray, hml, names: Sequence[str] = ()) -> np.ndarray:
    """Indices of the images a stage trains on, in dataset order, repeated where oversampling asks for it.

    Args:
        counts: (C,), from :func:`label_counts`.
        names: of the classes, for the message.

    Raises:
        HMLError: there is none.
    """
    ranks = np.zeros(len(counts), np.int64)
    ranks[1 + np.argsort(-counts[1:], kind="stable")] = np.arange(1, len(counts))
    labels = stage.label_mask(len(counts))
    keep = []
    for at, relations in enumerate(dataset.relationships):
        predicates = np.asarray(relations)[:, 2] if len(relations) else np.zeros(0, int)
        hit = labels[predicates]
        if not hit.any() or stage.policy == "pure_images" and not hit.all():
            continue
        repeats = 1
        if stage.repeats:
            bound = np.searchsorted(hml.STAGES.OVERSAMPLE_RANKS, ranks[predicates].max())
            repeats = stage.repeats[min(bound, len(stage.repeats) - 1)]
        keep += [at] * repeats
    if not keep:
        which = f" ({', '.join(names[i] for i in stage.labels[:3])}, ...)" if names else ""
        what = "has only relations of its predicates" if stage.policy == "pure_images" else "has one of its predicates"
        raise HMLError(
            f"{stage.title()} is empty: no training image {what}{which}, as the label policy {stage.policy!r} "
            "requires; use a tree made for this dataset (hml tree --help) or another policy (HML.STAGES.LABELS)"
        )
    return np.asarray(keep, dtype=np.int64)


def apply_stage(
    dataset, stage: Stage, num_classes: int, hml, pairs_per_image: int, positive_fraction: float
) -> StageData:
    """Edit a training dataset in place so that it is the stage's view, and count what it keeps.

    Raises:
        HMLError: no image is the stage's, or a predicate index is out of range.
    """
    before = label_counts(dataset, num_classes)
    keep = select_images(dataset, stage, before, hml)
    images_before = len(dataset.relationships)
    for name in _PER_IMAGE:
        column = getattr(dataset, name, None)
        if column is not None and len(column) == images_before:
            setattr(dataset, name, [column[i] for i in keep])
    if hasattr(dataset, "idx_list"):
        dataset.idx_list = list(range(len(keep)))
    if hasattr(dataset, "id_to_img_map"):
        dataset.id_to_img_map = dict(enumerate(range(len(keep))))
    labels = np.ones(num_classes, bool)
    if stage.policy == "only":
        labels = stage.label_mask(num_classes)
        dataset.relationships = [stage_relations(np.asarray(r), labels) for r in dataset.relationships]
    counts = _epoch_counts(dataset, labels, num_classes, pairs_per_image, positive_fraction)
    data = StageData(len(keep), int(counts[1:].sum()), images_before, int(before.sum()), counts)
    _log.info("HML: %s (labels: %s) %s", stage.title(), stage.policy, data.describe())
    return data


def _epoch_counts(dataset, labels: np.ndarray, num_classes: int, pairs_per_image: int, fraction: float) -> np.ndarray:
    """Relations of the stage's classes, and as entry 0 the pairs that the sampler fills up with background."""
    relations = [np.asarray(rows).reshape(-1, 3) for rows in dataset.relationships]
    image = np.repeat(np.arange(len(relations)), [len(rows) for rows in relations])
    subject, object_, predicate = np.concatenate(relations).astype(np.int64).T
    boxes = np.array([len(rows) for rows in dataset.gt_boxes])
    width = int(max(subject.max(initial=0), object_.max(initial=0))) + 1
    pair = (image * width + subject) * width + object_
    ours = labels[predicate]
    # Pairs of each image, each of them once: one pass over all images, a loop takes half a minute on Visual Genome.
    annotated, positives = (
        np.bincount(np.unique(keys) // width**2, minlength=len(relations)) for keys in (pair, pair[ours])
    )
    background = np.minimum(
        boxes * (boxes - 1) - annotated, pairs_per_image - np.minimum(positives, int(pairs_per_image * fraction))
    )
    counts = np.bincount(predicate[ours], minlength=num_classes)
    counts[0] = np.maximum(background, 0).sum()
    return counts


def draw_stage_rows(
    sampled: tuple, labels: Sequence[int], positives: int | None = None, total: int | None = None
) -> tuple:
    """The stage's rows of what a host's relation sampler returned, without the ignored pairs (policy ``only``).

    Rows whose label is neither background nor one of the stage's go, from the labels (item 1), the pairs (item 2) and
    every further list with one row per pair. One row stays where an image would end empty; its class has weight 0.

    Args:
        sampled: ``(proposals, rel_labels, rel_pair_idxs, rel_binarys, ...)``, lists over images.
        labels: the stage's classes.
        positives, total: most rows per image with a label of the stage, and in all; a larger number is drawn from at
            random. None: all.
    """
    items = list(sampled)
    ours = torch.zeros(1 + max([0, *labels, *(int(t.max()) for t in items[1] if t.numel())]), dtype=torch.bool)
    ours[list(labels)] = True
    keeps = []
    for rel_labels in items[1]:
        keep = _at_most(ours.to(rel_labels.device)[rel_labels.long()], positives)
        keep |= _at_most(rel_labels == 0, None if total is None else total - int(keep.sum()))
        if rel_labels.numel() and not keep.any():
            keep[0] = True
        keeps.append(keep)
    rows = [len(t) for t in items[1]]
    for at, item in enumerate(items):
        per_pair = at in (1, 2) or (
            at > 3
            and isinstance(item, (list, tuple))
            and len(item) == len(rows)
            and all(torch.is_tensor(t) and t.dim() and len(t) == n for t, n in zip(item, rows))
        )
        if per_pair:
            items[at] = [t[keep] for t, keep in zip(item, keeps)]
    return tuple(items)


def _at_most(mask: torch.Tensor, number: int | None) -> torch.Tensor:
    """The mask with at most ``number`` entries True, drawn at random from torch's generator of its device."""
    place = mask.nonzero().flatten()
    if number is None or len(place) <= number:
        return mask
    drawn = torch.zeros_like(mask)
    drawn[place[torch.randperm(len(place), device=mask.device)[:number]]] = True
    return drawn


class SeededItems(Dataset):
    """Serves ``dataset[index]`` for items ``(index, seed)`` with the generators seeded, whatever the worker count."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: tuple[int, int]):
        index, seed = item
        with seeded(seed):
            return self.dataset[index]

    def __getattr__(self, name: str):
        if name == "dataset":  # unpickling in a worker asks before __init__ has run
            raise AttributeError(name)
        return getattr(self.dataset, name)


class StageBatches(Sampler):
    """Batches of one stage as a pure function of (seed, stage, iteration): resumable anywhere, equal for any ranks.

    Each epoch is a fresh permutation; images are grouped by orientation if asked, and a group's leftover is carried
    into the next epoch. A rank takes every ``world``-th item of the global batch. Yields lists of ``(index, seed)``.

    Args:
        groups: group id per image.
        batch: global batch size, divisible by ``world``.
        iterations: total length; ``len()`` returns it, as the hosts' loops expect.
        start: first iteration to yield (0-based).
        stopped: asked at the start; True yields nothing (the stage had already ended early).
    """

    def __init__(
        self, groups: Sequence[int], batch: int, iterations: int, start: int, seed: tuple[int, int], rank: int = 0,
        world: int = 1, stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        if batch % world:
            raise HMLError(f"SOLVER.IMS_PER_BATCH {batch} is not divisible by the number of processes {world}")
        self.groups = np.asarray(groups)
        self.batch, self.iterations, self.start = batch, iterations, start
        self.seed, self.rank, self.world, self.stopped = seed, rank, world, stopped

    def __len__(self) -> int:
        return self.iterations

    def _batches(self) -> Iterator[list[int]]:
        waiting: dict[int, list[int]] = {}
        epoch = 0
        while True:
            order = np.random.default_rng(derive_seed(*self.seed, 1, epoch)).permutation(len(self.groups))
            for index in order.tolist():
                bucket = waiting.setdefault(int(self.groups[index]), [])
                bucket.append(index)
                if len(bucket) == self.batch:
                    yield bucket
                    waiting[int(self.groups[index])] = []
            epoch += 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        if self.stopped():
            return
        for iteration, batch in enumerate(self._batches()):
            if iteration >= self.iterations:
                return
            if iteration >= self.start:
                items = [(index, derive_seed(*self.seed, 2, iteration, at)) for at, index in enumerate(batch)]
                yield items[self.rank :: self.world]


def stage_loader(loader: DataLoader, batches: StageBatches) -> DataLoader:
    """The host's training loader with our batches and seeded items; workers, collation and pinning stay the host's."""
    workers = {}
    if loader.num_workers:
        workers = {"prefetch_factor": loader.prefetch_factor, "persistent_workers": loader.persistent_workers,
                   "multiprocessing_context": loader.multiprocessing_context}
    return DataLoader(
        SeededItems(loader.dataset), batch_sampler=batches, collate_fn=loader.collate_fn,
        num_workers=loader.num_workers, pin_memory=loader.pin_memory, timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn, generator=torch.Generator(), **workers,
    )


def orientation_groups(dataset, enabled: bool) -> list[int]:
    """1 for portrait or square images, 0 for landscape ones (the hosts' ASPECT_RATIO_GROUPING); all 0 if disabled."""
    if not enabled:
        return [0] * len(dataset)
    infos = (dataset.get_img_info(i) for i in range(len(dataset)))
    return [int(info["height"] >= info["width"]) for info in infos]
