"""Label Studio's JSON export (rectangles and relations on pictures) to a dataset folder.

Coordinates are percent of the picture. One annotation of each task counts. A relation is an arrow between two regions
with labels, its predicates. Only the export "JSON" holds relations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from ...errors import HMLError
from ..layout import Vocabulary
from ..pictures import ENDINGS
from . import stream
from .label_studio_task import OTHER_SHAPE, Picture, Region, read_result
from .photos import PhotoFolder
from .source import Source, SourceImage, id_text, split_by_share, write_source
from .tally import Tally

NOT_ANNOTATED = "their task has no annotation"
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts in front of the name of an uploaded file."""
_EXPORT = "export the project as JSON"


def convert_label_studio(
    src: Path | str,
    out: Path | str,
    *,
    photos: Path,
    image_key: str | None = None,
    annotator: str | None = None,
    test: float = 0.2,
    skip_missing: bool = False,
    force: bool = False,
) -> Tally:
    """Convert an export.

    Args:
        src: the exported JSON file.
        photos: folder with the pictures that were uploaded.
        image_key: key of the task's data that names the picture; needed where several do.
        annotator: use only annotations of this person (id or e-mail).
        test: share of the images for testing, drawn at random.
        skip_missing, force: as for :func:`~.source.write_source`, whose errors and result are those of this function.

    Raises:
        HMLError: the file is another export, a region has no class, or two tasks fit one picture.
    """
    if not 0 <= test < 1:
        raise HMLError(f"--test is {test}; give a share from 0 to below 1")
    tally = Tally()
    pictures = list(_pictures(Path(src), image_key, annotator, tally))
    if not pictures:
        raise HMLError(f"{src} has no annotated task" + (f" of annotator {annotator}" if annotator else ""))
    _require_distinct(pictures, PhotoFolder(photos))
    names = _vocabulary(pictures, src)
    splits = split_by_share(len(pictures), test).tolist()
    images = (_image(picture, split, names) for picture, split in zip(pictures, splits))
    tally.say("classes, predicates and attributes are those that occur, in alphabetical order")
    source = Source("Label Studio export, converted", names, images, tally, len(pictures), turned=True)
    return write_source(source, out, photos=photos, skip_missing=skip_missing, force=force)


def _pictures(src: Path, image_key: str | None, annotator: str | None, tally: Tally) -> Iterator[Picture]:
    if not stream.is_list(src):
        raise HMLError(f"{src} holds no list of tasks, as Label Studio's export does; {_EXPORT}")
    for i, task in enumerate(stream.items(src, progress="reading tasks")):
        if isinstance(task, dict) and "annotations" not in task and ("annotation_id" in task or "annotator" in task):
            raise HMLError(f"{src} is a JSON-MIN export, which holds no relations; export as JSON")
        if not isinstance(task, dict) or not isinstance(task.get("annotations"), list) or "data" not in task:
            raise HMLError(f"task {i} of {src} has no data or no annotations; {_EXPORT}")
        name = id_text(task.get("id"), f"task {i} of {src}")
        values = _values(task["data"], name, image_key)
        tally.find("images", len(values))
        chosen = _choose(task["annotations"], annotator, name, tally)
        if chosen is None:
            tally.drop("images", NOT_ANNOTATED, len(values), f"task {name}")
        else:
            yield from read_result(name, values, chosen.get("result"), tally)


def _values(data: Any, task: str, image_key: str | None) -> list[str]:
    """What names the pictures of a task."""
    data = data if isinstance(data, dict) else {}
    if image_key is not None and image_key not in data:
        raise HMLError(f"task {task} has no {image_key!r} in its data (it has {', '.join(data)}); correct --image-key")
    fitting = [key for key, value in data.items() if _all_pictures(value)]
    if image_key is None and len(fitting) != 1:
        found = f"the keys {', '.join(fitting)} could" if fitting else f"no key of {', '.join(data) or 'nothing'} does"
        raise HMLError(f"which key of the data of task {task} names the picture? {found}; give --image-key KEY")
    value = data[image_key or fitting[0]]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str) and v for v in values):
        raise HMLError(f"task {task}: {image_key or fitting[0]!r} is {str(value)[:60]!r}; it must name a picture")
    return values


def _all_pictures(value: Any) -> bool:
    values = value if isinstance(value, list) and value else [value]
    return all(isinstance(v, str) and PurePosixPath(_place(v)).suffix.lower() in ENDINGS for v in values)


def _place(value: str) -> str:
    """The path in a picture's address: of local storage that behind ``?d=``, else the address's path."""
    parts = urlsplit(value)
    inner = parse_qs(parts.query).get("d")
    return inner[0] if inner else unquote(parts.path)


def _choose(annotations: list, annotator: str | None, task: str, tally: Tally) -> dict | None:
    """The annotation that counts: not cancelled; the ground truth, else the newest."""
    usable = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    tally.note("annotations that were skipped (was_cancelled), which are left out", len(annotations) - len(usable),
               f"task {task}")  # fmt: skip
    if annotator is not None:
        usable = [a for a in usable if annotator in _people(a.get("completed_by"))]
    if not usable:
        return None
    tally.note("further annotations of a task, which are left out; the ground truth counts, else the newest",
               len(usable) - 1, f"task {task}")  # fmt: skip

    def rank(number: int) -> tuple:
        own = usable[number]
        return bool(own.get("ground_truth")), str(own.get("updated_at") or own.get("created_at") or ""), number

    return usable[max(range(len(usable)), key=rank)]


def _people(completed_by: Any) -> set[str]:
    if isinstance(completed_by, dict):
        return {str(completed_by.get(key)) for key in ("id", "email")}
    return {str(completed_by)}


def _file_names(value: str) -> tuple[str, ...]:
    """Names of a picture: as it was uploaded first, then as it is stored."""
    place = PurePosixPath(_place(value).lstrip("/"))
    plain = _UPLOADED.sub("", place.name)
    return (str(place),) if plain == place.name else (str(place), plain)


def _require_distinct(pictures: list[Picture], folder: PhotoFolder) -> None:
    """HMLError: two different addresses lead to one picture, as two uploads of the same name do."""
    seen: dict[Path, Picture] = {}
    for picture in pictures:
        found = folder.find(*_file_names(picture.value))
        other = None if found is None else seen.setdefault(found, picture)
        if other is not None and other.value != picture.value:
            raise HMLError(f"tasks {other.task} and {picture.task} both fit the picture {found}; call the second's "
                           f"{PurePosixPath(_file_names(picture.value)[0]).name}")  # fmt: skip


def _vocabulary(pictures: list[Picture], src: Path | str) -> Vocabulary:
    regions = [region for picture in pictures for region in picture.regions]
    objects = Counter(region.classes[0] for region in regions if region.box)
    predicates = Counter(label for picture in pictures for _, _, label in picture.relations)
    for names, what in ((objects, "rectangle"), (predicates, "relation with a label")):
        if not names:
            raise HMLError(f"{src} has no {what}; a scene graph needs objects and relations with predicates")
    attributes = {name for region in regions if region.box for name in _attributes(region)}
    return Vocabulary(tuple(sorted(objects)), tuple(sorted(predicates)), tuple(sorted(attributes)))


def _attributes(region: Region) -> list[str]:
    return list(dict.fromkeys([*region.classes[1:], *region.attributes]))


def _image(picture: Picture, split: int, names: Vocabulary) -> SourceImage:
    regions = picture.regions
    boxes = [region.box or (0, 0, 0, 0) for region in regions]
    attributes = {name: i for i, name in enumerate(names.attributes, 1)}
    several = picture.item or ""
    name, *further = _file_names(picture.value)
    return SourceImage(
        f"{picture.task}-{several}" if several else picture.task, name, *picture.size, split,
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array([names.object_index(r.classes[0]) if r.box else 0 for r in regions], dtype=np.int64),
        np.array([(s, o, names.predicate_index(p)) for s, o, p in picture.relations], dtype=np.int64).reshape(-1, 3),
        [tuple(attributes[a] for a in _attributes(r) if a in attributes) for r in regions],
        {i: f"{OTHER_SHAPE} ({r.shape})" for i, r in enumerate(regions) if r.box is None},
        tuple(further),
    )  # fmt: skip
