"""The drawings of pictures of one or several runs: what hml draw and the report page show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...scene_graph import SceneGraph
from ..runs import short_paths
from .photos import open_photo
from .primitives import Drawing
from .results import Results
from .scene import TOP, draw_scene


@dataclass(frozen=True)
class DrawnPicture:
    """One picture.

    Attributes:
        id: of the picture.
        graphs: of each run, all relations that were read.
        drawing: of its ``top`` relations.
        without_photo: why the photo is not in it; "" if it is.
    """

    id: str
    graphs: Sequence[SceneGraph]
    drawing: Drawing
    without_photo: str


def draw_runs(
    runs: Sequence[Results], ids: Sequence[str], *, top: int = TOP, photos: Path | None = None
) -> Iterator[DrawnPicture]:
    """Draw pictures of runs that were tested on the same pictures (``choose.check_same_test``).

    Args:
        runs: from ``results.load_results``. ids: of pictures that the runs have.
        top: relations drawn of each run. photos: a folder in which photos are looked for first.
    """
    titles = short_paths([run.path for run in runs]) if len(runs) > 1 else [Path(runs[0].path).absolute().name]
    order = [{id_: at for at, id_ in enumerate(run.ids)} for run in runs]
    for id_ in ids:
        places = [at[id_] for at in order]
        graphs = [run.predicted(at) for run, at in zip(runs, places)]
        annotations = [graph for run, at in zip(runs, places) if (graph := run.annotated(at)) is not None]
        photo, reason = open_photo(
            runs[0].files[places[0]], runs[0].sizes[places[0]], turned=runs[0].turned, folder=photos
        )
        annotated = annotations[0] if annotations else None
        yield DrawnPicture(id_, graphs, draw_scene(graphs, titles, photo, annotated=annotated, top=top), reason)
