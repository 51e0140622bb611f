"""Reads and writes files: atomic writes, JSON, digests, locks; and why a file cannot be read, in one sentence.

A final file is written through :func:`written_aside` and nothing else, so a reader finds the old file or the new one,
whole, whatever interrupts the writer. An error names the file, the reason and the remedy. Standard library only, but
for h5py, torch and filelock where one is needed.
"""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import file_formats as formats
from .errors import HMLError
from .file_faults import why_unreadable, why_unwritable, write_error
from .file_formats import cut_short, describe_format

if TYPE_CHECKING:
    import h5py

__all__ = [
    "ASIDE", "aside_of", "check_place", "content_digest", "cut_short", "damaged_entry", "describe_format",
    "file_digest", "formats", "load_pickle", "load_torch", "naming", "one_at_a_time", "open_h5", "put_in_place",
    "read_json", "remove_left_over", "sampled_digest", "save_torch", "tensor_bytes", "why_unreadable",
    "why_unwritable", "write_error", "write_json", "write_text", "written_aside",
]

ASIDE = ".part"
"""Last part of the name of a file or folder that is not whole yet."""


def aside_of(path: Path) -> Path:
    """Where this process writes ``path`` until it is whole: hidden, in the same folder, so that a rename is enough."""
    return path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")


@contextmanager
def written_aside(path: str | Path, what: str = "file", needed: int = 0) -> Iterator[Path]:
    """Yield a path to write to; on leaving it becomes ``path``, or is removed if something was raised.

    Args:
        path: the file's place; missing folders are made.
        what: what the file is, for the error's sentence.
        needed: bytes that it takes, as far as known, for the sentence on a full disk.

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
    except (OSError, RuntimeError) as error:  # torch.save makes a RuntimeError of a full disk
        if (failed := write_error(error)) is None:
            raise
        raise HMLError(why_unwritable(path, what, failed, needed)) from error


def put_in_place(aside: Path, path: Path) -> None:
    """Flush ``aside`` to disk, then give it the name ``path`` in one step."""
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


def remove_left_over(path: Path) -> None:
    """Remove what processes that no longer exist left beside ``path`` while they wrote it; ``folder / "*"``: all."""
    name = path.name if path.name == "*" else glob.escape(path.name)
    for aside in path.parent.glob(f".{name}.*{ASIDE}"):
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
    with written_aside(path, what, tensor_bytes(content)) as aside, aside.open("wb") as file:
        torch.save(content, file)


def load_torch(path: str | Path, **options: Any) -> Any:
    """The content of a file of ``torch.save``, on the CPU; nothing that the file names is run.

    Args:
        options: for :func:`.unpickling.load_torch`, e.g. ``mmap=True``.

    Raises:
        HMLError: the file names something that is not data (``unpickling.Refused``).
        Others: those of ``torch.load``.
    """
    from .unpickling import load_torch as load

    return load(str(path), **options)  # torch 2.1 maps files that are named by a string alone


def load_pickle(path: str | Path, **options: Any) -> Any:
    """As :func:`load_torch` for a file of ``pickle``."""
    from .unpickling import load_pickle as load

    with open(path, "rb") as file:
        return load(file, **options)


def tensor_bytes(content: Any) -> int:
    """Bytes of the tensors in nested containers."""
    if isinstance(content, Mapping):
        content = content.values()
    elif not isinstance(content, (list, tuple)):
        return getattr(content, "nbytes", 0)
    return sum(map(tensor_bytes, content))


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


def content_digest(path: Path, otherwise: Callable[[Path], str] | None = None) -> str:
    """A digest of a torch file by its table of contents: name, size and CRC-32 of every entry, made by torch.save.

    It reads no tensor, so it costs nothing at a save. :func:`damaged_entry` compares the entries with their CRC-32.
    Files without such a table (older formats) get that of ``otherwise``, else their SHA-256.
    """
    if not _has_checksums(path):
        return otherwise(path) if otherwise else f"sha256:{file_digest(path).hex()}"
    with zipfile.ZipFile(path) as archive:
        table = [(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()]
    return f"entries:{hashlib.sha256(json.dumps(table).encode()).hexdigest()}"


def sampled_digest(path: Path, blocks: int = 64, size: int = 1 << 16) -> str:
    """A digest of a large input file by its length and evenly spaced blocks, 4 MB in all."""
    length = path.stat().st_size
    sha = hashlib.sha256(str(length).encode())
    with open(path, "rb") as file:
        for k in range(blocks):
            file.seek(max(0, length - size) * k // (blocks - 1))
            sha.update(file.read(size))
    return f"sampled:{sha.hexdigest()}"


def damaged_entry(path: Path) -> str:
    """The first entry of a torch file whose bytes are not those that were written, "" if all are; torch.load does not
    look. The file is read once (about 1 s per GB) as long as it is not written again."""
    return _damaged_entry(str(path), path.stat().st_mtime_ns) if _has_checksums(path) else ""


@functools.cache
def _damaged_entry(path: str, _modified: int) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() or ""
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        return str(error)


def _has_checksums(path: Path) -> bool:
    import torch

    switched_on = getattr(torch.serialization, "get_crc32_options", lambda: True)  # torch >= 2.6: can be switched off
    return zipfile.is_zipfile(path) and switched_on()


@contextmanager
def one_at_a_time(path: Path, busy: str = "", seconds: float = 0.0) -> Iterator[None]:
    """Inside, no other process of this machine is inside with the same lock file; waits until then.

    Args:
        busy: the error after ``seconds`` of waiting; without it there is no end to the waiting.

    Raises:
        HMLError: ``busy``, another process is inside.
        OSError: the lock file cannot be written, or its file system has no locks.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=seconds if busy else -1)
    except filelock.Timeout:
        raise HMLError(busy) from None
    except NotImplementedError as error:
        raise OSError(errno.ENOLCK, str(error)) from error
    try:
        yield
    finally:
        lock.release()


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


@contextmanager
def naming(path: str | Path, what: str) -> Iterator[None]:
    """A write that fails within is an HMLError that names ``path`` and says what it is."""
    try:
        yield
    except OSError as error:
        raise HMLError(why_unwritable(Path(path), what, error)) from error


class LineFile:
    """A text file that grows by lines. Each is written at once, so only a process that is killed leaves part of one.

    Args:
        path: the file; its folder exists.
        what: what it is, for the error's sentence.

    Raises:
        HMLError: here or in ``write``: the file cannot be written.
    """

    def __init__(self, path: Path, what: str = "file") -> None:
        self.path, self.what = path, what
        with naming(path, what):
            self._file = open(path, "ab", buffering=0)

    def write(self, text: str) -> None:
        """Append text that ends a line."""
        with naming(self.path, self.what):
            self._file.write(text.encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
