"""Files are written beside their place, then moved there: whoever reads finds the old file or the new one, whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import HMLError


@contextmanager
def written_aside(path: str | Path, what: str) -> Iterator[Path]:
    """Yield a path to write to; on leaving it becomes ``path``, or vanishes if something was raised.

    Args:
        path: the file's place; missing folders are made.
        what: what the file is, for the error's sentence.

    Raises:
        HMLError: the place cannot be written.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise HMLError(f"the {what} {path} cannot be written ({error.strerror}); choose another place") from error
