"""Writes the page. Everything that comes from files of runs passes the template's escaping."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ... import __version__
from ...files import write_text
from ..runs import Run
from . import charts, result_tables, run_tables
from .runs import PageRun, read_runs
from .scenes import Scenes, scenes
from .tradeoff import tradeoffs
from .words import listed

_FILES = Path(__file__).resolve().parent / "files"


def write_page(path: str | Path, runs: Sequence[Run], *, k: int = 50, title: str = "", pictures: int = 3) -> None:
    """Write the page of these runs, as ``load_runs`` gives them.

    Args:
        k: K of the recall per predicate, in predictions per image.
        title: heading of the page; empty: one that says how many runs there are.
        pictures: at most so many pictures with scene graphs.

    Raises:
        HMLError: a damaged file of a run, or the page cannot be written.
    """
    write_text(path, page(runs, k=k, title=title, pictures=pictures), "report")


def page(runs: Sequence[Run], *, k: int = 50, title: str = "", pictures: int = 3) -> str:
    """The page as text; the same files of the runs give the same text. See ``write_page``."""
    read = read_runs(runs)
    count = f"{len(runs)} runs" if len(runs) > 1 else f"the run {read[0].name}"
    files = FileSystemLoader(_FILES)
    environment = Environment(loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    script = (_FILES / "sort.js").read_text("utf-8")
    return environment.get_template("page.html.j2").render(
        title=title or f"Report of {count}",
        version=__version__,
        style=Markup((_FILES / "style.css").read_text("utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        k=k,
        names=[run.name for run in read],
        **_content(read, k, scenes(read, pictures)),
    )


def _content(runs: Sequence[PageRun], k: int, drawn: Scenes) -> dict[str, Any]:
    merged, without_merged = result_tables.merged_tables(runs, k)
    differ, same = run_tables.settings_tables(runs)
    return {
        "notes": [note for run in runs for note in run.run.notes],
        "runs": run_tables.runs_table(runs),
        "settings": differ,
        "same_settings": same,
        "without_settings": listed([run.name for run in runs if not run.settings]),
        "metrics": result_tables.metrics_table(runs),
        "layers": result_tables.layers_table(runs),
        "predicates": list(result_tables.predicates_tables(runs, k)),
        "tradeoffs": tradeoffs(runs),
        "merged": merged,
        "without_merged": without_merged,
        "charts": charts.charts(runs),
        "lines": [run.name for run in charts.drawn_runs(runs)],
        "curves_notes": charts.curves_note(runs),
        "training": run_tables.training_table(runs),
        "importance": run_tables.importance_table(runs),
        "trees": run_tables.tree_tables(runs),
        "scenes": drawn,
    }
