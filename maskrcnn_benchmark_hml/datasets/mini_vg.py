"""mini-VG: a synthetic dataset with Visual Genome's vocabulary, long tail and mixed granularity.

It is made up, from a seed, to exercise training in minutes; docs/mini-vg.md states the process. Nothing measured on
it says anything about photographs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import HMLError
from .layout import PHOTOS_NAME, TEST, TRAIN, ImageRecord, Vocabulary, new_dataset_folder
from .mini_vg_draw import Box, Colour, Item, class_colour, colour_name, draw_scene
from .mini_vg_grammar import (
    ANCHOR_SIZE,
    DEFAULT_IMAGES,
    FINE_RATE,
    POOL_SKEW,
    POOLS,
    RARE_SHARE,
    RULES,
    SECOND_ANNOTATOR,
    Rule,
)
from .writer import write_vg

SMALLEST = 45
RELATIONS_PER_IMAGE = 7.0
FEWEST_IN_TEST = 6
"""Annotations of every predicate in a test split of 100 or more images, so that its recall means something."""
FIRST_IMAGE_ID = 10001
ABOUT = "mini-VG: synthetic scenes drawn from a seed; not photographs and not people's annotations"

_SIZES = ((160, 128), (160, 120), (144, 128))
_VOCABULARY_FILE = Path(__file__).with_name("vg150_vocabulary.json")


@dataclass(frozen=True)
class Token:
    """One relation to be put into a scene: how it looks, and whether the annotator says the fine name."""

    rule: Rule
    fine: bool


def vg150_vocabulary() -> Vocabulary:
    """The names of Visual Genome's 150/50 split, in its order."""
    names = json.loads(_VOCABULARY_FILE.read_text(encoding="utf-8"))
    return Vocabulary(tuple(names["objects"]), tuple(names["predicates"]), tuple(names["attributes"]))


def vg150_train_counts() -> dict[str, int]:
    """How often each predicate is annotated in Visual Genome's training split."""
    names = json.loads(_VOCABULARY_FILE.read_text(encoding="utf-8"))
    return dict(zip(names["predicates"], names["train_counts"]))


def make_mini_vg(out: Path | str, images: int = DEFAULT_IMAGES, seed: int = 0, *, force: bool = False) -> Path:
    """Make the dataset; the same ``images`` and ``seed`` give the same bytes.

    Args:
        out: folder to create, see :func:`~maskrcnn_benchmark_hml.datasets.layout.new_dataset_folder`.
        images: in all; 2/9 are the test split and 1/9 the validation split (first of the training split).
        seed: of everything random.
        force: replace a folder that is not empty.

    Raises:
        HMLError: too few images, a negative seed, or ``out`` is not free.
    """
    if images < SMALLEST:
        raise HMLError(f"mini-VG needs at least {SMALLEST} images to show all 50 predicates; got --images {images}")
    if seed < 0:
        raise HMLError(f"the seed must be 0 or more; got --seed {seed}")
    vocabulary = vg150_vocabulary()
    n_test, n_val = round(images * 2 / 9), round(images / 9)
    with new_dataset_folder(out, force) as folder:
        (folder / PHOTOS_NAME).mkdir()
        records: list[ImageRecord] = []
        with tqdm(total=images, desc="drawing mini-VG", unit="image", disable=None) as progress:
            parts = (("val", n_val, TRAIN), ("train", images - n_test - n_val, TRAIN), ("test", n_test, TEST))
            for part, count, split in parts:
                rng = random.Random(f"mini-vg {seed} {part}")
                for clusters in deal_tokens(count, rng, FEWEST_IN_TEST if split == TEST and count >= 100 else 1):
                    record, items = compose_scene(clusters, FIRST_IMAGE_ID + len(records), split, vocabulary, rng)
                    picture = draw_scene((record.width, record.height), _background(rng), items)
                    picture.save(folder / PHOTOS_NAME / record.photo_name(), quality=90, subsampling=0)
                    records.append(record)
                    progress.update()
        write_vg(folder, records, vocabulary, num_val_images=n_val, about=f"{ABOUT}; images {images}, seed {seed}")
    return Path(out)


def token_shares() -> dict[str, tuple[float, float]]:
    """Per predicate the shares of scenes (annotated by its own name, annotated by its coarse partner's).

    Fine predicates are annotated as often as in Visual Genome, but not below ``RARE_SHARE``, and occur
    1/``FINE_RATE`` times as often. A coarse predicate gets what its fine partners leave of its own share.
    """
    counts = vg150_train_counts()
    total = sum(counts.values())
    share = {name: count / total for name, count in counts.items()}
    shares = {}
    hidden: dict[str, float] = dict.fromkeys(share, 0.0)
    for rule in RULES:
        if rule.coarse:
            named = max(share[rule.predicate], RARE_SHARE)
            unnamed = named * (1 / FINE_RATE - 1)
            shares[rule.predicate] = (named, unnamed)
            hidden[rule.coarse] += unnamed
    for rule in RULES:
        if not rule.coarse:
            own = share[rule.predicate]
            shares[rule.predicate] = (max(own - hidden[rule.predicate], 0.35 * own), 0.0)
    whole = sum(map(sum, shares.values()))
    return {name: (a / whole, b / whole) for name, (a, b) in shares.items()}


def deal_tokens(images: int, rng: random.Random, fewest: int = 1) -> list[list[tuple[str, list[Token]]]]:
    """Exact quotas of relations, dealt to ``images`` scenes as clusters (anchor pool, relations of that anchor).

    Every predicate is annotated by its own name at least ``fewest`` times.
    """
    budget = round(images * RELATIONS_PER_IMAGE)
    by_name = {rule.predicate: rule for rule in RULES}
    by_pool: dict[str, list[Token]] = {pool: [] for pool in ANCHOR_SIZE}
    for name, (named, unnamed) in sorted(token_shares().items()):
        for fine, share in ((True, named), (False, unnamed)):
            for _ in range(max(fewest if fine else 0, round(share * budget))):
                by_pool[_pick(list(by_name[name].pairs), rng)].append(Token(by_name[name], fine))
    clusters: list[tuple[str, list[Token]]] = []
    for pool, tokens in by_pool.items():
        rng.shuffle(tokens)
        while tokens:
            take = 2 + int(rng.random() * 3)
            clusters.append((pool, tokens[:take]))
            tokens = tokens[take:]
    rng.shuffle(clusters)
    return [clusters[i::images] for i in range(images)]


def compose_scene(
    clusters: list[tuple[str, list[Token]]], image_id: int, split: int, vocabulary: Vocabulary, rng: random.Random
) -> tuple[ImageRecord, list[Item]]:
    """Place anchors and satellites; return the annotation and what to draw, back to front."""
    width, height = _SIZES[int(rng.random() * len(_SIZES))]
    placed: list[tuple[str, Box, str, int]] = []  # class, box, cue, layer of drawing
    relations: list[tuple[int, int, int]] = []
    anchors: list[Box] = []
    for pool, tokens in clusters:
        box = _place_anchor(pool, (width, height), anchors, rng)
        anchors.append(box)
        anchor = len(placed)
        satellites: list[Box] = []
        placed.append((_pick(POOLS[pool], rng), box, "", 1))
        for token in tokens:
            rule = token.rule
            name = _pick(POOLS[_pick(rule.pairs[pool].split("|"), rng, flat=True)], rng)
            around = _place_satellite(rule, box, (width, height), satellites, rng)
            satellites.append(around)
            layer = 0 if rule.behind else 3 if rule.cue in ("veil", "tiles") else 2
            placed.append((name, around, rule.cue, layer))
            pair = (len(placed) - 1, anchor) if rule.subject == "satellite" else (anchor, len(placed) - 1)
            own = vocabulary.predicate_index(rule.predicate)
            coarse = vocabulary.predicate_index(rule.coarse or rule.predicate)
            relations.append((*pair, own if token.fine else coarse))
            if token.fine and coarse != own and rng.random() < SECOND_ANNOTATOR:
                relations.append((*pair, coarse))
    labels = [vocabulary.object_index(name) for name, *_ in placed]
    items = [
        Item(name, box, class_colour(label, 2 * rng.random() - 1), cue)
        for label, (name, box, cue, _) in zip(labels, placed)
    ]
    attributes: list[tuple[int, ...]] = [(vocabulary.attributes.index(colour_name(item.colour)) + 1,) for item in items]
    record = ImageRecord(
        image_id, width, height, split,
        boxes=np.array([box for _, box, _, _ in placed]),
        labels=np.array(labels),
        relations=np.array(relations, dtype=np.int64).reshape(-1, 3),
        attributes=attributes,
    )  # fmt: skip
    order = sorted(range(len(items)), key=lambda i: placed[i][3])
    return record, [items[i] for i in order]


def _pick(names: Sequence[str], rng: random.Random, flat: bool = False) -> str:
    """One of ``names``; earlier ones more often, as in Visual Genome, unless ``flat``."""
    weights = [1.0 if flat else 1.0 / (1 + i) ** POOL_SKEW for i in range(len(names))]
    return rng.choices(names, weights)[0]


def _between(limits: tuple[float, float], rng: random.Random) -> float:
    return limits[0] + (limits[1] - limits[0]) * rng.random()


def _place_anchor(pool: str, size: tuple[int, int], others: list[Box], rng: random.Random) -> Box:
    """A box for an anchor, away from the rim and, of a few tries, the one that overlaps the others least."""
    width, height = size
    best, least = (0.0, 0.0, float(width), float(height)), float("inf")
    for _ in range(12):
        w, h = _between(ANCHOR_SIZE[pool][0], rng) * width, _between(ANCHOR_SIZE[pool][1], rng) * height
        x1 = _between((0.06 * width, 0.94 * width - w), rng)
        y1 = _between((0.10 * height, 0.90 * height - h), rng)
        box = (float(round(x1)), float(round(y1)), float(round(x1 + w)), float(round(y1 + h)))
        cost = sum(_intersection(box, other) for other in others)
        if cost < least:
            best, least = box, cost
    return best


def _place_satellite(
    rule: Rule, anchor: Box, size: tuple[int, int], others: list[Box], rng: random.Random
) -> Box:
    """A box that obeys the rule; of a few tries the one that is cut least by the rim and hides its siblings least."""
    x, y, w, h = anchor[0], anchor[1], anchor[2] - anchor[0], anchor[3] - anchor[1]
    best, least = anchor, float("inf")
    for _ in range(10):
        u = _between(rule.u, rng)
        u = u if rng.random() < 0.5 else 1 - u
        cx, cy = x + u * w, y + _between(rule.v, rng) * h
        sw, sh = max(_between(rule.w, rng) * w, 5), max(_between(rule.h, rng) * h, 5)
        whole = (cx - sw / 2, cy - sh / 2, cx + sw / 2, cy + sh / 2)
        x1, y1, x2, y2 = (float(round(min(max(c, 0), size[i % 2]))) for i, c in enumerate(whole))
        box = (x1, y1, x2, y2)
        visible = (box[2] - box[0]) * (box[3] - box[1])
        if box[2] - box[0] < 3 or box[3] - box[1] < 3 or _intersection(box, anchor) <= 0:
            continue
        cost = 3 * (sw * sh - visible) + sum(_intersection(box, other) for other in others)
        if cost < least:
            best, least = box, cost
    return best


def _intersection(a: Sequence[float], b: Sequence[float]) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def _background(rng: random.Random) -> tuple[Colour, Colour]:
    sky_red, sky_green, sky_blue = (int(150 + 60 * rng.random()) for _ in range(3))
    red, green, blue = (int(90 + 60 * rng.random()) for _ in range(3))
    return (sky_red, sky_green, sky_blue), (red, green, blue)
