"""Large csv files, row after row, with a progress bar over the file's bytes; every cell is a text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from ...errors import HMLError
from ...files import why_unreadable


def csv_rows(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The rows of a csv file with a header line: the named columns as texts, in this order; "" for an optional one.

    Raises:
        HMLError: the file cannot be read, a needed column is missing, or a row is too short; the line is named.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file, _bar(path) as bar:
            lines = csv.reader(_counted(file, bar))
            header = [name.strip() for name in next(lines, [])]
            missing = [name for name in needed if name not in header]
            if missing:
                raise HMLError(f"{path} has no column {missing[0]}; its first line must name the columns "
                               f"{', '.join(needed)}")  # fmt: skip
            places = [header.index(name) if name in header else -1 for name in (*needed, *optional)]
            longest = max(places)
            for row in lines:
                if len(row) > longest:
                    yield [row[place] if place >= 0 else "" for place in places]
                elif row:
                    raise HMLError(f"line {lines.line_num} of {path} has {len(row)} columns, its first line has "
                                   f"{len(header)}; the file may be cut short")  # fmt: skip
    except (OSError, UnicodeError, csv.Error) as error:
        raise HMLError(why_unreadable(path, error, "a text file")) from error


def _bar(path: Path) -> tqdm:
    size = path.stat().st_size
    return tqdm(desc=f"reading {path.name}", total=size, unit="B", unit_scale=True, disable=None, mininterval=0.5)


def _counted(lines: Iterator[str], bar: tqdm) -> Iterator[str]:
    for line in lines:
        bar.update(len(line))
        yield line
