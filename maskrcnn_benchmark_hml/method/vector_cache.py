"""A large file of word vectors is read by one process of a machine; the others, and later runs, read what it found."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import HMLError
from ..files import one_at_a_time, written_aside

Table = tuple[str, dict[str, int], np.ndarray]
Reader = Callable[["Path", "int | None", "frozenset[str]"], Table]

LARGE = 64 << 20
"""Bytes from which on a file's wanted rows are kept; a smaller one is read in well under a second."""

logger = logging.getLogger(__name__)


def read_once_per_machine(path: Path, dim: int | None, words: frozenset[str], read: Reader) -> Table:
    """``read(path, dim, words)``, kept in the temporary folder for every process that asks for the same.

    What is kept belongs to the file's path, size and time and to the words; it holds the wanted rows alone (0.2 MB for
    150 classes of 300 numbers). Processes that start together wait for the first. Without a usable temporary folder
    every process reads the file itself.
    """
    status = path.stat()
    if status.st_size < LARGE:
        return read(path, dim, words)
    key = json.dumps([os.path.realpath(path), status.st_size, status.st_mtime_ns, dim, sorted(words)])
    with ExitStack() as stack:
        try:
            kept = _own_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
            stack.enter_context(one_at_a_time(kept.with_suffix(".lock")))
        except OSError as error:
            logger.info("word vectors are not kept for other processes (%s)", error)
            return read(path, dim, words)
        found = _load(kept)
        if found is None:
            found = read(path, dim, words)
            _store(kept, found)
        return found


def _own_folder() -> Path:
    """A folder of the temporary folder that is this user's alone; OSError if it is not."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"hml-vectors-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if hasattr(os, "getuid") and (status.st_uid != user or status.st_mode & 0o022 or folder.is_symlink()):
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def _load(path: Path) -> Table | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            words = json.loads(str(content["words"]))
            return str(content["name"]), {word: i for i, word in enumerate(words)}, content["matrix"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none yet, or not whole: read again
        return None


def _store(path: Path, table: Table) -> None:
    name, index, matrix = table
    words = sorted(index, key=index.__getitem__)
    try:
        with written_aside(path) as aside, aside.open("wb") as file:
            np.savez(file, name=name, words=json.dumps(words), matrix=matrix)
    except HMLError as error:
        logger.info("word vectors are not kept for other processes (%s)", error)
