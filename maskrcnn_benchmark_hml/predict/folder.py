"""The folder of results of ``hml predict``: a JSON and a drawing for each picture, one JSON of all, and its record.

It belongs to one run's checkpoint and one set of options. A picture whose JSON is there, and whose file and boxes have
not changed since, is finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..files import check_place, one_at_a_time, read_json, remove_left_over, write_json, written_aside
from ..scene_graph import SceneGraph
from .boxes import GivenBoxes
from .pictures import RECORD, Picture

GRAPHS, DRAWINGS, ALL, LOCK = "graphs", "drawings", "scene_graphs.json", "hml_predict.lock"
ALL_FORMAT, VERSION = "hml scene graphs", 1

#: Path below the folder -> what it is; docs/predict.md holds it as a table.
FILES = {
    f"{GRAPHS}/<picture>.json": "the scene graph of one picture",
    f"{DRAWINGS}/<picture>.svg": "its drawing (`.png` with `--draw png`)",
    ALL: "the scene graphs of all pictures",
    RECORD: "run, checkpoint and options that the folder belongs to, and the pictures that failed",
    LOCK: "locked while `hml predict` writes into the folder",
}


class ResultFolder:
    """Results below ``root``. Nothing is written before :meth:`begin`.

    Args:
        run: the OUTPUT_DIR of the run, which may have been moved since.
        bound: what the results depend on besides the pictures; another folder is needed for other values.

    Raises:
        HMLError: ``root`` is a file, or has results of another run or other options, or files of the user with our
            names.
    """

    def __init__(self, root: str | Path, run: Path, bound: dict[str, Any]) -> None:
        self.root, self.run, self.bound = Path(root), str(run.resolve()), bound
        self._places: dict[str, Path] = {}  # place below GRAPHS, without ending, by the picture's real path
        self._taken: set[str] = set()
        check_place(self.root, "--out")
        above = next(folder for folder in (self.root.absolute(), *self.root.absolute().parents) if folder.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            raise HMLError(f"--out is {self.root}, but nothing can be written into {above}; choose another --out")
        record = self.root / RECORD
        if record.is_file():
            self._check_bound(read_json(record))
        elif (self.root / ALL).exists():
            raise HMLError(f"{self.root / ALL} exists and is not of hml predict; choose another --out")

    def _check_bound(self, record: Any) -> None:
        stored = record.get("bound") if isinstance(record, dict) else None
        if not isinstance(stored, dict):
            raise HMLError(f"{self.root / RECORD} is no record of hml predict; choose another --out")
        for key, value in self.bound.items():
            if stored.get(key) != value:
                how = f"of {record.get('run')}" if key == "checkpoint" else f"{stored.get(key)}, now {value}"
                raise HMLError(f"{self.root} has predictions with another {key} ({how}); choose another --out, or "
                               "delete that folder to predict again")  # fmt: skip

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Make the folder ours and keep others out of it.

        Raises:
            HMLError: it cannot be written, or another process writes into it.
        """
        if not (self.root / RECORD).is_file():
            self._write_record({})
        busy = f"another hml predict writes into {self.root}; wait for it, or choose another --out"
        with one_at_a_time(self.root / LOCK, busy):
            yield

    def _place(self, picture: Picture) -> Path:
        """Where a picture's results lie below GRAPHS and DRAWINGS, without their ending; no file of others is there."""
        real = os.path.realpath(picture.path)
        if real not in self._places:
            within = Path(picture.within)
            number = 1
            while True:
                place = within if number == 1 else within.with_name(f"{within.stem}-{number}{within.suffix}")
                if str(place) not in self._taken and self._is_free(place, real):
                    break
                number += 1
            self._places[real] = place
            self._taken.add(str(place))
        return self._places[real]

    def _is_free(self, place: Path, real: str) -> bool:
        graph = self.root / GRAPHS / f"{place}.json"
        if graph.is_file():
            return _source(graph).get("path") == real
        return not graph.exists() and not any((self.root / DRAWINGS / f"{place}{e}").exists() for e in (".svg", ".png"))

    def graph_file(self, picture: Picture) -> Path:
        """The JSON of a picture."""
        return self.root / GRAPHS / f"{self._place(picture)}.json"

    def drawing_file(self, picture: Picture, ending: str) -> Path:
        """The drawing of a picture; ``ending`` with its dot."""
        return self.root / DRAWINGS / f"{self._place(picture)}{ending}"

    def is_finished(self, picture: Picture, boxes: GivenBoxes | None) -> bool:
        """Whether the graph of a picture is stored, and neither the picture nor its boxes have changed since."""
        file = self.graph_file(picture)
        return file.is_file() and os.path.exists(picture.path) and _source(file) == source_of(picture, boxes)

    def read(self, picture: Picture) -> SceneGraph:
        """The stored graph of a picture; HMLError if it is damaged."""
        file = self.graph_file(picture)
        try:
            return SceneGraph.from_json(read_json(file))
        except HMLError as error:
            raise HMLError(f"{file}: {error}; delete it to predict it again") from error

    def store(self, picture: Picture, boxes: GivenBoxes | None, graph: SceneGraph) -> None:
        """Write the JSON of a picture."""
        content = {**graph.to_json(), "source": source_of(picture, boxes)}
        write_json(self.graph_file(picture), content, "scene graph", allow_nan=False)

    def finish(self, pictures: Iterable[Picture], failed: dict[str, str]) -> Path:
        """Write the JSON of all: these pictures in order, then others that the folder has; and the record.

        Returns:
            The JSON of all.
        """
        remove_left_over(self.root / ALL)
        pictures = list(pictures)
        files = [self.graph_file(picture) for picture in pictures if picture.name not in failed]
        mine = {self.graph_file(picture) for picture in pictures}
        others = (file for file in sorted((self.root / GRAPHS).rglob("*.json")) if file not in mine and _source(file))
        with written_aside(self.root / ALL, "scene graphs") as aside, aside.open("w", encoding="utf-8") as out:
            out.write(json.dumps({"format": ALL_FORMAT, "version": VERSION})[:-1] + ', "graphs": [')
            between = "\n"
            for file in (*files, *others):
                content = {key: value for key, value in read_json(file).items() if key != "source"}
                out.write(between + json.dumps(content, allow_nan=False))
                between = ",\n"
            out.write("\n]}\n")
        self._write_record(failed)
        return self.root / ALL

    def _write_record(self, failed: dict[str, str]) -> None:
        write_json(self.root / RECORD, {"run": self.run, "bound": self.bound, "failed": failed}, "record", indent=1)


def _source(file: Path) -> dict[str, Any]:
    """What a JSON below GRAPHS was made of; empty if it is none of ours."""
    try:
        content = read_json(file)
    except HMLError:  # a file of the user: it stays, and the result gets another name
        return {}
    source = content.get("source") if isinstance(content, dict) else None
    return source if isinstance(source, dict) else {}


def source_of(picture: Picture, boxes: GivenBoxes | None) -> dict[str, Any]:
    """What a result depends on: the picture's place, length and time, and a digest of its boxes."""
    status = os.stat(picture.path)
    digest = None
    if boxes is not None:
        digest = hashlib.sha256(boxes.boxes.tobytes() + json.dumps(boxes.labels).encode()).hexdigest()[:16]
    return {"path": os.path.realpath(picture.path), "bytes": status.st_size, "modified": status.st_mtime_ns,
            "boxes": digest}  # fmt: skip
