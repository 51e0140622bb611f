"""Large JSON files, one entry after another, with a progress bar over the file's bytes.

Python's own decoder takes the entries from a window that moves over the file, so that a file is read once and only its
largest entry must fit into memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...errors import HMLError
from ...files import why_unreadable

_READ = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


def items(path: Path | str, key: str = "", progress: str = "") -> Iterator[Any]:
    """The entries of the list at a key of the file's object; without a key those of the file's list.

    Nothing is given where the file has no list there. The file is read to its end.

    Args:
        progress: the bar's text; empty: no bar.

    Raises:
        HMLError: the file cannot be read or is not JSON.
    """
    with _open(path, progress) as window:
        if not key:
            yield from window.entries() if window.next() == "[" else ()
        else:
            yield from (entry for name, entry in window.sections() if name == key)


def sections(path: Path | str, progress: str = "") -> Iterator[tuple[str, Any]]:
    """(key, entry) for every entry of every list of the file's object, in the file's order; else as :func:`items`."""
    with _open(path, progress) as window:
        yield from window.sections()


def members(path: Path | str, key: str = "", progress: str = "") -> Iterator[tuple[str, Any]]:
    """The (key, value) pairs of the file's object, or of the object at a key of it; otherwise as :func:`items`."""
    with _open(path, progress) as window:
        if not key:
            yield from ((name, window.value()) for name in window.keys()) if window.next() == "{" else ()
            return
        for name in window.keys() if window.next() == "{" else ():
            if name == key and window.next() == "{":
                yield from ((inner, window.value()) for inner in window.keys())
            else:
                window.skip()


def value(path: Path | str, key: str) -> Any:
    """The whole value at a key of the file's object, None where there is none; otherwise as :func:`items`.

    Args:
        key: of an object in an object: both keys with a dot between them.
    """
    first, _, rest = key.partition(".")
    with _open(path, "") as window:
        for name in window.keys() if window.next() == "{" else ():
            if name != first:
                window.skip()
                continue
            found = window.value()
            return found if not rest else found.get(rest) if isinstance(found, dict) else None
    return None


def is_list(path: Path | str) -> bool:
    """Whether a JSON file holds a list, by its first character; HMLError: it cannot be read."""
    with _open(path, "") as window:
        return window.next() == "["


class _Window:
    """The part of a file's text from which the next values are taken."""

    def __init__(self, file: Any) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._end, self._step = "", 0, False, _READ
        self._decode = json.JSONDecoder().raw_decode
        self.before = 0  # characters in front of the window

    def _more(self) -> None:
        data = self._file.read(self._step)
        self._end = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, final=self._end)
        self.before += self._at
        self._at = 0

    def next(self) -> str:
        """The next character that is no space, which stays; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or self._end:
                return self._text[self._at : self._at + 1]
            self._more()

    def _take(self, allowed: str) -> str:
        """The next character, which must be one of these."""
        found = self.next()
        if not found or found not in allowed:
            raise json.JSONDecodeError(f"expected {' or '.join(allowed)}", self._text, self._at)
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value."""
        self.next()
        while True:
            try:
                found, end = self._decode(self._text, self._at)
                if end < len(self._text) or self._end:  # else a number may go on behind the window
                    self._at, self._step = end, _READ
                    return found
            except json.JSONDecodeError:
                if self._end:
                    raise
            self._more()
            self._step *= 2  # an entry that is larger than the window is not tried too often

    def entries(self) -> Iterator[Any]:
        """The entries of the next value, a list."""
        self._take("[")
        if self.next() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def keys(self) -> Iterator[str]:
        """The keys of the next value, an object; whoever gets one takes its value."""
        self._take("{")
        if self.next() == "}":
            self._take("}")
            return
        while True:
            name = self.value()
            self._take(":")
            yield str(name)
            if self._take(",}") == "}":
                return

    def skip(self) -> None:
        """Pass over the next value."""
        kind = self.next()
        if kind == "[":
            for _ in self.entries():
                pass
        elif kind == "{":
            for _ in self.keys():
                self.skip()
        else:
            self.value()

    def sections(self) -> Iterator[tuple[str, Any]]:
        """(key, entry) for the lists of the next value, an object."""
        for name in self.keys() if self.next() == "{" else ():
            if self.next() == "[":
                yield from ((name, entry) for entry in self.entries())
            else:
                self.skip()


@contextmanager
def _open(path: Path | str, progress: str) -> Iterator[_Window]:
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            with tqdm.wrapattr(file, "read", total=size, desc=progress, disable=None if progress else True) as read:
                window = _Window(read)
                if not window.next():
                    raise EOFError("empty")
                if window.next() not in "{[":
                    raise json.JSONDecodeError("expected { or [", "", 0)
                yield window
    except (OSError, ValueError, EOFError, RecursionError) as error:
        if isinstance(error, HMLError):
            raise
        sentence = why_unreadable(path, error, "a JSON file")
        if isinstance(error, json.JSONDecodeError) and " is not valid JSON at line" in sentence:
            at = window.before + error.pos + 1
            sentence = f"{path} is not valid JSON at character {at} ({error.msg}); correct it there"
        raise HMLError(sentence) from error
