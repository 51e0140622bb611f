"""Large JSON files, one entry after another, with a progress bar over the file's bytes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ijson
from tqdm import tqdm

from ...errors import HMLError
from ...files import why_unreadable

_READ = 1 << 18


def items(path: Path | str, key: str = "", progress: str = "") -> Iterator[Any]:
    """The entries of the list at a key of the file's object; without a key those of the file's list.

    Nothing is given where the file has no such key. Only one entry at a time is in memory.

    Args:
        progress: the bar's text; empty: no bar.

    Raises:
        HMLError: the file cannot be read or is not JSON.
    """
    with _open(path, progress) as file:
        yield from ijson.items(file, f"{key}.item" if key else "item", use_float=True, buf_size=_READ)


def members(path: Path | str, key: str = "", progress: str = "") -> Iterator[tuple[str, Any]]:
    """The (key, value) pairs of the file's object, or of the object at a key of it; otherwise as :func:`items`."""
    with _open(path, progress) as file:
        yield from ijson.kvitems(file, key, use_float=True, buf_size=_READ)


def value(path: Path | str, key: str) -> Any:
    """The whole value at a key of the file's object, None where there is none; otherwise as :func:`items`."""
    with _open(path, "") as file:
        return next(iter(ijson.items(file, key, use_float=True, buf_size=_READ)), None)


def is_list(path: Path | str) -> bool:
    """Whether a JSON file holds a list, by its first character; HMLError: it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["
    except OSError as error:
        raise HMLError(why_unreadable(path, error, "a JSON file")) from error


@contextmanager
def _open(path: Path | str, progress: str) -> Iterator[Any]:
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(3) != codecs.BOM_UTF8:
                file.seek(0)
            size = path.stat().st_size
            with tqdm.wrapattr(file, "read", total=size, desc=progress, disable=None if progress else True) as read:
                yield read
    except (OSError, ijson.JSONError, UnicodeDecodeError) as error:
        raise HMLError(why_unreadable(path, error, "a JSON file")) from error
