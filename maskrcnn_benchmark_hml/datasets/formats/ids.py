"""Ids as whole numbers for arrays, equal exactly when the ids are equal as text; and the rows that ids stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from .source import id_text


class IdCodes:
    """One number for each id: its own where its text is a plain number, else a negative one."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._without = 0

    def code(self, value: Any, what: str) -> int:
        """The number of an id; HMLError: it is neither a number nor a text."""
        if type(value) is int and 0 <= value < 1 << 62:
            return value
        text = id_text(value, what)
        if text.isascii() and text.isdigit() and len(text) < 19 and str(int(text)) == text:
            return int(text)
        return self._texts.setdefault(text, -1 - len(self._texts))

    def none(self) -> int:
        """A number for an entry without an id: like that of no other."""
        self._without += 1
        return -(1 << 62) - self._without


def rows_of(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """For each code its position in ``table``, whose codes are distinct; -1 where it is not there."""
    if not len(table):
        return np.full(len(codes), -1, dtype=np.int64)
    order = np.argsort(table, kind="stable")
    at = np.minimum(np.searchsorted(table[order], codes), len(table) - 1)
    return np.where(table[order[at]] == codes, order[at], -1)
