"""What a converter found, kept, merged and dropped, each with its reason and the first example."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..layout import TEST, TRAIN, VALIDATION

KINDS = ("images", "objects", "relations")
_SPLITS = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}


@dataclass
class _Count:
    number: int = 0
    first: str = ""

    def add(self, number: int, example: str) -> None:
        self.number += number
        self.first = self.first or example


@dataclass
class Tally:
    """Counts by kind (``images``, ``objects``, ``relations``) and reason; what was found must be accounted for.

    A format counts what its source holds (:meth:`find`) and what it leaves out itself (:meth:`drop`, :meth:`merge`);
    ``write_source`` counts the rest.
    """

    found: Counter = field(default_factory=Counter)
    kept: Counter = field(default_factory=Counter)
    splits: Counter = field(default_factory=Counter)
    with_relations: int = 0
    dropped: dict[tuple[str, str], _Count] = field(default_factory=dict)
    merged: dict[tuple[str, str], _Count] = field(default_factory=dict)
    noted: dict[str, _Count] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def find(self, kind: str, number: int = 1) -> None:
        """So many more are in the source."""
        self.found[kind] += number

    def drop(self, kind: str, reason: str, number: int = 1, example: str = "") -> None:
        """So many are left out, for a reason that completes "dropped 3 objects: "."""
        if number:
            self.dropped.setdefault((kind, reason), _Count()).add(number, example)

    def merge(self, kind: str, reason: str, number: int = 1, example: str = "") -> None:
        """So many are the same as one that is kept, for a reason that completes "merged 3 relations: "."""
        if number:
            self.merged.setdefault((kind, reason), _Count()).add(number, example)

    def note(self, what: str, number: int = 1, example: str = "") -> None:
        """So many are kept, but changed or doubtful; ``what`` names them, e.g. "boxes that were clipped"."""
        if number:
            self.noted.setdefault(what, _Count()).add(number, example)

    def say(self, remark: str) -> None:
        """A sentence about the source as a whole, e.g. which convention was assumed."""
        if remark not in self.remarks:
            self.remarks.append(remark)

    def unaccounted(self) -> dict[str, int]:
        """Of each kind what was found, less what was kept, merged and dropped; empty when all is accounted for."""
        left = Counter(self.found)
        left.subtract(self.kept)
        for counts in (self.dropped, self.merged):
            for (kind, _), count in counts.items():
                left[kind] -= count.number
        return {kind: number for kind, number in left.items() if number}

    def lines(self) -> list[str]:
        """The report as sentences, stored in the h5 file and shown by ``hml data check`` too."""
        splits = ", ".join(f"{self.splits[split]:,} {name}" for split, name in _SPLITS.items() if self.splits[split])
        out = [*self.remarks, f"found {_listed(self.found)}"]
        out.append(f"kept {_listed(self.kept)}; images: {splits or 'none'}; {self.with_relations:,} with relations")
        for word, counts in (("dropped", self.dropped), ("merged", self.merged)):
            out += [
                f"{word} {_amount(kind, count.number)}: {reason}{_first(count)}"
                for (kind, reason), count in sorted(counts.items(), key=lambda item: KINDS.index(item[0][0]))
            ]
        return [*out, *(f"{what}: {count.number:,}{_first(count)}" for what, count in self.noted.items())]


def _listed(counts: Counter) -> str:
    return ", ".join(_amount(kind, counts[kind]) for kind in KINDS)


def _amount(kind: str, number: int) -> str:
    return f"{number:,} {kind if number != 1 else kind[:-1]}"


def _first(count: _Count) -> str:
    return f" (the first: {count.first})" if count.first else ""
