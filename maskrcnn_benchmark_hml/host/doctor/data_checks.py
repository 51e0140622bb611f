"""Where a checkout looks for Visual Genome, what is there, and the three causes of ``assert len(fns) == 108073``."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...datasets.format import check_vg
from ...datasets.layout import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME
from ...datasets.pictures import instead_of, present_ids
from ...datasets.reader import listed_images, read_names
from ...errors import HMLError
from ...files import open_h5, read_json
from .finding import BREAKS, HANDLED, OK, PARTLY, Finding, some
from .head_checks import PREDICTORS
from .hook_point_checks import BUILD, SCRIPT
from .source import PACKAGE, Absent, Source

CATALOG = f"{PACKAGE}/config/paths_catalog.py"
MOTIFS = f"{PACKAGE}/modeling/roi_heads/relation_head/model_motifs.py"
_PATH = re.compile(
    r"^/(home|mnt|data\w*|media|root|share|users|Users|workspace)/|^(\./)?datasets/\w|/datasets/.*\.(json|h5|pkl|npy)$"
)
#: Visual Genome's numbers of object, predicate and attribute classes, background included, by their settings.
VG_NUMBERS = {"MODEL.ROI_BOX_HEAD.NUM_CLASSES": 151, "MODEL.ROI_RELATION_HEAD.NUM_CLASSES": 51,
              "MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES": 201}  # fmt: skip
_KEYS = ("roidb_file", "dict_file", "image_file", "img_dir")


@dataclass(frozen=True)
class Places:
    """The four places of a dataset: annotations, names, the list of images, the pictures' folder."""

    roidb_file: Path
    dict_file: Path
    image_file: Path
    img_dir: Path


def folder_places(folder: Path) -> Places:
    """The places inside a dataset folder (docs/data.md)."""
    return Places(folder / H5_NAME, folder / DICTS_NAME, folder / IMAGES_NAME, folder / PHOTOS_NAME)


def catalog_places(source: Source) -> Places:
    """The places that a checkout's catalog gives for Visual Genome (with attributes, if it has that).

    Raises:
        Absent: the catalog has no such entry, or computes its paths.
    """
    catalog = source.find(CATALOG, "DatasetCatalog")
    known: dict[str, str] = {}
    entries: dict[str, ast.expr] = {}
    for node in (*source.tree(CATALOG).body, *getattr(catalog, "body", [])):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _text(node.value, known)
            if value is not None:
                known[node.targets[0].id] = value
            if isinstance(node.value, ast.Dict):
                entries = _items(node.value, known)
    if "DATA_DIR" not in known:
        raise Absent(f"{CATALOG} gives no plain DATA_DIR")
    chosen = [name for name in entries if "VG" in name]  # IETrans: 50VG_stanford_...
    for name in sorted(chosen, key=lambda n: ("attribute" not in n, not n.startswith("VG"), n)):
        entry = entries[name]
        if isinstance(entry, ast.Dict):
            values = {key: _text(value, known) for key, value in _items(entry, known).items()}
            if all(values.get(key) for key in _KEYS):
                base = source.root / known["DATA_DIR"]
                return Places(*(base / str(values[key]) for key in _KEYS))
    raise Absent(f"{CATALOG} gives no plain paths for Visual Genome")


def _items(node: ast.Dict, known: dict[str, str]) -> dict[str, ast.expr]:
    """A dict literal's values by those of its keys that are strings."""
    pairs = ((_text(key, known), value) for key, value in zip(node.keys, node.values) if key is not None)
    return {key: value for key, value in pairs if key is not None}


def _text(node: ast.expr, known: dict[str, str]) -> str | None:
    """A string made of literals, earlier names, ``+`` and ``os.path.join``; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_text(node.left, known), _text(node.right, known)]
        return None if None in parts else "".join(str(part) for part in parts)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.path.join":
        parts = [_text(argument, known) for argument in node.args]
        return None if None in parts else os.path.join(*(str(part) for part in parts))
    return None


def check_data(source: Source, data: str | None) -> Iterator[Finding]:
    """The dataset's state: found or not, the three causes, and for a folder given with ``--data`` everything else."""
    try:
        places = folder_places(Path(data)) if data is not None else catalog_places(source)
    except Absent as error:
        yield Finding("dataset", BREAKS, f"{error}; give --data DIR, here and to hml run")
        return
    absent = [path for path in (places.roidb_file, places.dict_file, places.image_file, places.img_dir)
              if not path.exists()]
    if absent:
        remedy = "docs/data.md lists the files of a dataset folder" if data is not None else (
            f"give --data DIR, here and to hml run, or correct DATA_DIR in {CATALOG}")
        yield Finding("dataset", BREAKS, f"{absent[0]} does not exist; {remedy}")
        return
    yield Finding("dataset", OK, f"annotations {places.roidb_file}, pictures {places.img_dir}")
    yield from three_causes(places)
    yield from asserted_numbers(source, places)
    if data is not None:
        try:
            held = check_vg(data)
            for line in held.warnings:
                yield Finding("dataset folder", PARTLY, line)
            yield Finding("dataset folder", OK, f"correct: {sum(held.images.values()):,} images, {held.predicates} "
                          f"predicates, {held.relations['train']:,} relations to train on")
        except HMLError as error:
            yield Finding("dataset folder", BREAKS, str(error))


def asserted_numbers(source: Source, places: Places) -> Iterator[Finding]:
    """What the settings must say for this data: a host asserts it without a word."""
    try:
        names = read_names(places.dict_file, "label", "predicate", "attribute")
        predictors = ast.unparse(source.tree(PREDICTORS))
    except (HMLError, Absent) as error:
        yield Finding("data: numbers of classes", BREAKS, str(error))
        return
    given = {key: len(of_kind) + 1 for key, of_kind in zip(VG_NUMBERS, names)}
    if "num_att_cls ==" not in predictors:  # only SGB and some forks assert it
        given.pop("MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES")
    other = " ".join(f"{key} {number}" for key, number in given.items() if number != VG_NUMBERS[key])
    yield Finding("data: numbers of classes", PARTLY if other else OK, other and (
        f"not Visual Genome's, which the usual config files have: give {other}, or the benchmark stops"))
    if "l_batch == 1" in (source.root / MOTIFS).read_text("utf-8") if (source.root / MOTIFS).is_file() else False:
        yield Finding("data: images per test batch", HANDLED, "MOTIFS tests one image per process in SGCls and SGDet; "
                      "hml run refuses a larger TEST.IMS_PER_BATCH at the start")  # fmt: skip


def written_paths(source: Source) -> Iterator[Finding]:
    """Paths that the training script and what it imports hold as literals, besides the catalog."""
    lost, relative, fatal = [], [], False
    for path in sorted(source.files(SCRIPT)):
        try:
            tree = source.tree(path)
        except Absent:
            continue
        for node in ast.walk(tree):
            if path == CATALOG or not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            text = node.value
            if "\n" in text or not _PATH.search(text):
                continue
            place = f"{path.rpartition('/')[2]}:{node.lineno} {text}"
            if not (source.root / text).exists():
                lost.append(place)
                fatal |= path == BUILD
            elif not text.startswith("/"):
                relative.append(place)
    if relative:
        yield Finding("data: relative paths", HANDLED, f"{some(relative, 2)}; start the command in {source.root}")
    if lost:
        state = BREAKS if fatal else PARTLY
        yield Finding("data: paths written in", state, f"{some(lost, 2)} do not exist; what opens them will fail: "
                      "correct them, or link the files there")


def three_causes(places: Places) -> Iterator[Finding]:
    """Images missing, two Visual Genome folders not merged, image_data.json of another dataset or version."""
    try:
        with open_h5(places.roidb_file) as file:
            annotated = len(file["split"])
        usable = [int(entry["image_id"]) for entry in listed_images(read_json(places.image_file), annotated)]
        present = present_ids(places.img_dir)
    except HMLError as error:
        yield Finding("108073: files", BREAKS, str(error))
        return
    except (ValueError, KeyError, TypeError) as error:
        yield Finding("108073: files", BREAKS, f"{places.image_file} lists no image_id for an entry, or "
                      f"{places.roidb_file} has no array 'split' ({error!r}); use files in Visual Genome's format")
        return
    fits = annotated == len(usable)
    yield Finding("108073: image_data.json", OK if fits else BREAKS, "" if fits else (
        f"{places.image_file} lists {len(usable)} images, the annotations cover {annotated}; use the image_data.json "
        "that came with them"
    ))
    missing = [number for number in usable if number not in present]
    second = _other_part(places.img_dir)
    in_second = len(set(missing) & present_ids(second)) if second is not None else 0
    yield Finding("108073: two folders merged", BREAKS if in_second else OK, "" if not in_second else (
        f"{in_second} of the {len(missing)} pictures missing from {places.img_dir} are in {second}; move or link them "
        f"into {places.img_dir.name}"
    ))
    left = len(missing) - in_second
    half = " (about one of Visual Genome's two downloads)" if left > 0.3 * len(usable) > 10_000 else ""
    first = f"; the first is {missing[0]}.jpg" if missing else ""
    other = instead_of(places.img_dir, missing[0]) if missing else None
    remedy = "finish the download, or unpack it again" if other is None else (
        f"{other} is there, but files of its type are not read: convert them to .jpg or .png")
    yield Finding("108073: pictures present", BREAKS if left else OK, "" if not left else (
        f"{left} of {len(usable)} pictures are missing{half}{first}; {remedy}"
    ))


def _other_part(folder: Path) -> Path | None:
    """Visual Genome's other picture folder: beside ``VG_100K``, or inside it where an archive was unpacked there."""
    name = "VG_100K" if folder.name.endswith("_2") else "VG_100K_2"
    candidates = (folder.parent / name, folder / name, folder / "VG_100K", folder.parent / "images2" / name)
    return next((path for path in candidates if path.is_dir() and path != folder), None)
