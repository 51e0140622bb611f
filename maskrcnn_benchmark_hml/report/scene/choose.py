"""Which pictures of a test are drawn, and whether runs were tested on the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from ...errors import HMLError
from .compare import difference
from .results import Results

CHANGED = 8
"""Pictures drawn, unless they are named or counted."""


def check_same_test(runs: Sequence[Results]) -> None:
    """HMLError if runs have other pictures or class names than the first."""
    first = runs[0]
    for other in runs[1:]:
        if len(first.ids) != len(other.ids) or set(first.ids) != set(other.ids):
            difference_ = f"{len(first.ids)} pictures and {len(other.ids)}"
            only = sorted(set(first.ids) ^ set(other.ids))
            raise HMLError(
                f"{first.path} and {other.path} have results for different pictures ({difference_}"
                f"{f'; {only[0]} is in one alone' if only else ''}); give runs that were tested on the same data"
            )
        if _sizes(first) != _sizes(other):
            raise HMLError(
                f"{first.path} and {other.path} have pictures of the same names in different sizes; give runs that "
                "were tested on the same data"
            )
        for what, names, others in (
            ("object", first.objects, other.objects),
            ("predicate", first.predicates, other.predicates),
        ):
            if names and others and names != others:
                raise HMLError(
                    f"{first.path} and {other.path} have different {what} classes; give runs that were tested on the "
                    "same data"
                )


def _sizes(run: Results) -> dict[str, tuple[int, int]]:
    return dict(zip(run.ids, run.sizes))


def named(runs: Sequence[Results], wanted: Sequence[str]) -> list[str]:
    """The ids of pictures that the user named by id or by file name.

    Raises:
        HMLError: a name that no picture has.
    """
    known = {**{file.name: id_ for id_, file in zip(runs[0].ids, runs[0].files) if file is not None},
             **{id_: id_ for id_ in runs[0].ids}}  # fmt: skip
    unknown = [name for name in wanted if name not in known]
    if unknown:
        ids = runs[0].ids
        raise HMLError(
            f"{runs[0].path} has no picture {', '.join(unknown)}; it has {len(ids)}, the first are {', '.join(ids[:3])}"
        )
    return list(dict.fromkeys(known[name] for name in wanted))


def most_changed(runs: Sequence[Results], count: int, top: int) -> list[str]:
    """The pictures with the most differences: relations whose pair has another predicate in another run.

    The ``top`` relations of each run count. The picture with the most first; pictures without any are left
    out; among equals the order of the test decides.
    """
    numbers = []
    order = [{id_: at for at, id_ in enumerate(run.ids)} for run in runs]
    for id_ in tqdm(runs[0].ids, "comparing", unit="picture", disable=None):
        numbers.append(difference([run.predicted(at[id_]) for run, at in zip(runs, order)], top))
    best = sorted(range(len(numbers)), key=lambda at: -numbers[at])[:count]
    return [runs[0].ids[at] for at in best if numbers[at]]


def evenly_spaced(run: Results, count: int) -> list[str]:
    """``count`` pictures at equal distances in the order of the test, so that nobody chose them."""
    total = len(run.ids)
    return [run.ids[at * total // min(count, total)] for at in range(min(count, total))]
