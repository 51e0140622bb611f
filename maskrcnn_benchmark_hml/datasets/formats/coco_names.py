"""The names of a COCO file: which of its ids is the background, if any, and in which order the classes stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import HMLError
from .ids import IdCodes
from .tally import Tally

_BACKGROUND = ("__background__", "background")


@dataclass(frozen=True)
class Names:
    """Names by class: class ``i + 1`` has ``names[i]`` and the id ``codes[i]``."""

    names: tuple[str, ...]
    codes: np.ndarray


class NameList:
    """The lists of one kind in all files of a source."""

    def __init__(self, kind: str, first: int) -> None:
        """Args: kind: the key in the file. first: the id of a list's first plain string, if that is no background."""
        self.kind, self._first = kind, first
        self._names: dict[int, str] = {}

    def add(self, entries: Any, path: Any, codes: IdCodes) -> None:
        """The list of one more file; HMLError: it is no list of names, or gives an id another name."""
        if entries is None:
            return
        if not isinstance(entries, list):
            raise HMLError(f"{self.kind!r} in {path} is no list; give a list of objects with id and name")
        texts = bool(entries) and all(isinstance(entry, str) for entry in entries)
        first = 0 if texts and entries[0].lower() in _BACKGROUND else self._first
        for i, entry in enumerate(entries):
            what = f"entry {i} of {self.kind!r} in {path}"
            name, value = (entry, first + i) if texts else (_part(entry, "name"), _part(entry, "id"))
            if not isinstance(name, str) or value is None:
                raise HMLError(f"{what} is {entry!r}; it must have an id and a name")
            code = codes.code(value, what)
            if self._names.setdefault(code, name) != name:
                raise HMLError(f"{what} calls the id {value} {name!r}, elsewhere it is {self._names[code]!r}")

    def decide(self, used: np.ndarray, tally: Tally) -> Names:
        """The classes by id.

        Args:
            used: the ids that occur. They tell whether an id 0 without the background's name is a class.
        """
        names = dict(self._names)
        zero = names.get(0)
        if zero is not None and zero.lower() in _BACKGROUND:
            del names[0]
            tally.say(f"{self.kind}: id 0 is {zero!r}, the background; it is left out")
        elif zero is not None and not (used == 0).any():
            del names[0]
            tally.say(f"{self.kind}: id 0, {zero!r}, occurs nowhere and is left out")
        elif zero is not None:
            tally.say(f"{self.kind}: the ids are taken to count from 0 without a background, because id 0 ({zero!r}) "
                      "occurs")  # fmt: skip
        order = sorted(names) if min(names, default=0) >= 0 else list(names)
        return Names(tuple(names[code] for code in order), np.array(order, dtype=np.int64))


def _part(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None
