"""The page's charts: how the losses, the learning rate and the validation went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .chart import STYLES, Chart, Line
from .runs import PageRun
from .training_log import LOSS, MEMORY, RATE, SECONDS, is_share
from .words import listed

#: More words for the quantities of the log.
TITLES = {
    LOSS: "loss, all terms but MR",
    "loss_rel": "loss_rel (predicates)",
    "loss_refine_obj": "loss_refine_obj (object labels)",
    "loss_cr": "loss_cr (Concept Reconstruction, CR)",
    "loss_mr": "loss_mr (Model Reconstruction, MR)",
    RATE: "learning rate",
    SECONDS: "seconds per iteration",
    MEMORY: "peak memory, MiB",
}


def drawn_runs(runs: Sequence[PageRun]) -> list[PageRun]:
    """The runs whose curves are drawn: the first ones with a training log, as many as can be told apart."""
    return [run for run in runs if run.log is not None][:STYLES]


def curves_note(runs: Sequence[PageRun]) -> list[str]:
    """Sentences on curves that are missing."""
    logs = [run for run in runs if run.log is not None]
    without = [run.name for run in runs if run.log is None]
    said = []
    if without:
        names = f"{listed(without)} {'has' if len(without) == 1 else 'have'}"
        said.append(f"{'No run has' if not logs else names} training curves: there is no metrics.jsonl in the folder. "
                    "Trainings of this version write it.")  # fmt: skip
    if len(logs) > STYLES:
        said.append(f"The charts show the first {STYLES} of {len(logs)} runs in the order of the command; the table "
                    "has all of them.")  # fmt: skip
    for run in logs:
        if run.log is not None and run.log.damaged:
            said.append(f"{run.name}: {run.log.damaged} of the lines of metrics.jsonl are damaged and left out.")
    return said


def charts(runs: Sequence[PageRun]) -> list[Chart]:
    """One chart for each quantity that any of the drawn runs logged: losses first, then validation, rate and time."""
    drawn = drawn_runs(runs)
    terms = dict.fromkeys(term for run in drawn if run.log for term in run.log.terms)
    metrics = dict.fromkeys(metric for run in drawn if run.log for metric in run.log.validation)
    wanted: list[tuple[str, str, bool]] = [(name, TITLES.get(name, name), False) for name in (LOSS, *terms)]
    wanted += [(name, f"validation {name}{', percent' if is_share(name) else ''}", True) for name in metrics]
    wanted += [(name, TITLES[name], False) for name in (RATE, SECONDS, MEMORY)]
    made: list[Chart] = []
    for name, title, validation in wanted:
        lines = [line for at, run in enumerate(drawn) if (line := _line(run, at, name, validation)).segments]
        if lines:
            made.append(Chart(f"chart-{len(made) + 1}", title, lines, marks=validation))
    return made


def _line(run: PageRun, style: int, name: str, validation: bool) -> Line:
    if run.log is None:
        return Line(run.name, style, [])
    curves: Mapping[str, Any] = run.log.validation if validation else run.log.training
    segments = run.log.segments(curves.get(name, {}))
    factor = 100 if validation and is_share(name) else 1
    return Line(run.name, style, [[(x, factor * y) for x, y in segment] for segment in segments])
