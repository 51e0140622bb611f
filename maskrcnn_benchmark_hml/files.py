"""Reads and writes files: atomic writes, JSON, digests, locks; and why a file cannot be read, in one sentence.

A final file is written through :func:`written_aside` and nothing else, so a reader finds the old file or the new one,
whole, whatever interrupts the writer. An error names the file, the reason and the remedy. Standard library only, but
for h5py, torch and filelock where one is needed.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import file_formats as formats
from .errors import HMLError
from .file_faults import why_unreadable
from .file_formats import cut_short, describe_format

if TYPE_CHECKING:
    import h5py

__all__ = [
    "ASIDE", "aside_of", "check_place", "cut_short", "describe_format", "file_digest", "formats", "inherited_lock",
    "one_at_a_time", "open_h5", "put_in_place", "read_json", "remove_left_over", "save_torch", "why_unreadable",
    "write_json", "write_text", "written_aside",
]

ASIDE = ".part"
"""Last part of the name of a file or folder that is not whole yet."""


def aside_of(path: Path) -> Path:
    """Where this process writes ``path`` until it is whole: hidden, in the same folder, so that a rename is enough."""
    return path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")


@contextmanager
def written_aside(path: str | Path, what: str = "file") -> Iterator[Path]:
    """Yield a path to write to; on leaving it becomes ``path``, or is removed if something was raised.

    Args:
        path: the file's place; missing folders are made.
        what: what the file is, for the error's sentence.

    Raises:
        HMLError: the place cannot be written.
    """
    path = Path(path)
    aside = aside_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            put_in_place(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise HMLError(f"the {what} {path} cannot be written ({error.strerror or error}); choose another place") \
            from error


def put_in_place(aside: Path, path: Path) -> None:
    """Flush ``aside`` to disk, then give it the name ``path`` in one step."""
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


def remove_left_over(path: Path) -> None:
    """Remove what processes that no longer exist left beside ``path`` while they wrote it."""
    for aside in path.parent.glob(f".{glob.escape(path.name)}.*{ASIDE}"):
        if not _runs(aside.name[: -len(ASIDE)].rpartition(".")[2]):
            shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    """Whether another process with this id exists; what this process begins, it begins anew."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def check_place(path: str | Path, option: str) -> None:
    """HMLError if no folder can be made at ``path``, because it or a folder above it is a file."""
    path = Path(path)
    file = next((place for place in (path, *path.parents) if place.is_file()), None)
    if file is not None:
        raise HMLError(f"{option} is {path}, but {file} is a file; name a folder")


def write_text(path: str | Path, text: str, what: str = "file") -> None:
    """Write a text file in UTF-8; HMLError as for :func:`written_aside`."""
    with written_aside(path, what) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any, what: str = "file", **options: Any) -> None:
    """Write a JSON file; ``options`` are those of ``json.dumps``."""
    write_text(path, json.dumps(content, **options) + "\n", what)


def save_torch(content: Any, path: str | Path, what: str = "file") -> None:
    """Write ``content`` by ``torch.save``; the file's bytes do not depend on its name."""
    import torch

    remove_left_over(Path(path))  # such files are large
    with written_aside(path, what) as aside, aside.open("wb") as file:
        torch.save(content, file)


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file, computed once as long as the file is not written again.

    Raises:
        HMLError: there is no such file.
    """
    if not path.is_file():
        raise HMLError(f"there is no file {path}; correct the path")
    return _file_digest(str(path), path.stat().st_mtime_ns)


@functools.cache
def _file_digest(path: str, _modified: int) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.digest()


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Inside, no other process of this machine is inside with the same lock file; waits until then.

    Raises:
        OSError: the lock file cannot be written, or its file system has no locks.
    """
    import filelock

    try:
        lock = filelock.FileLock(path)
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def inherited_lock(path: Path) -> Iterator[int]:
    """Hold a lock file; the descriptor can be given to a child, and the lock is held as long as either process lives.

    filelock cannot do that: its descriptor is private, and it unlocks for the child as well.

    Raises:
        BlockingIOError: another process holds it.
    """
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def open_h5(path: str | Path) -> Iterator[h5py.File]:
    """The HDF5 file, open for reading; HMLError (:func:`why_unreadable`) where it or something in it cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise HMLError(why_unreadable(path, error, formats.HDF5)) from error


def read_json(path: str | Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises:
        HMLError: :func:`why_unreadable`.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, or no such encoding
        raise HMLError(why_unreadable(path, error, "a JSON file")) from error
