"""Files of word vectors, each format told from its content and read for the wanted words alone."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import HMLError
from ..files import describe_format, formats, load_torch, why_unreadable
from .vector_fasttext import read_fasttext
from .vector_pickle import read_pickle
from .vector_table import Rows, pick, stacked

WANTED = "a file of word vectors"
KNOWN = (
    "GloVe and word2vec text, word2vec binary (each also gzipped or in a zip), fastText .vec and .bin, "
    "gensim KeyedVectors, a benchmark's glove.*.pt, torchtext's .txt.pt"
)

Table = tuple[str, dict[str, int], np.ndarray]
"""The vectors' name, word -> row, and float32 (words, dim)."""

_CHUNK = 1 << 24
_LONGEST_WORD = 1 << 12
_CONTROL = 9
"""Bytes below a tabulator are in no word, but in most vectors."""
_OPENERS: dict[str, Callable[..., Any]] = {
    formats.GZIP: gzip.open, formats.BZIP2: bz2.open, formats.XZ: lzma.open,
}  # fmt: skip
_NAME_ENDS = re.compile(r"(\.(gz|bz2|xz|zip|pt|txt|vec|bin|kv|wordvectors|pkl))+$")


def read_vectors(path: Path, dim: int | None, words: frozenset[str] | None) -> Table:
    """Read a file of word vectors.

    Args:
        dim: which member of a zip with several to take; not checked otherwise.
        words: keep only these; None keeps all.

    Raises:
        HMLError: none of the formats, or it cannot be read; the file's own format is named.
    """
    try:
        kind = describe_format(path)
        return _read(path, kind, dim, words)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise HMLError(why_unreadable(path, error, WANTED)) from error


def _read(path: Path, kind: str, dim: int | None, words: frozenset[str] | None) -> Table:
    name = vectors_name(path.name)
    if kind in (formats.TORCH, formats.TORCH_LEGACY) or kind == formats.PICKLE and path.suffix == ".pt":
        return (name, *_from_torch(path, kind, words))
    if kind == formats.PICKLE:
        return (name, *read_pickle(path, words))
    if kind == formats.FASTTEXT:
        return (name, *read_fasttext(path, words))
    if kind == formats.ZIP:
        return _from_zip(path, dim, words)
    if kind in _OPENERS:
        with _OPENERS[kind](path, "rb") as file:
            return (name, *_from_stream(file, path, words))
    plain = kind.split(" in ")
    if plain[0] in (formats.TEXT, formats.JSON, formats.UNKNOWN) and not plain[-1].startswith(("UTF-16", "UTF-32")):
        with path.open("rb") as file:
            return (name, *_from_stream(file, path, words))
    raise HMLError(f"{why_unreadable(path, None, WANTED)}; known are {KNOWN}")


def vectors_name(file_name: str) -> str:
    """What a tree's file calls the vectors: the file's name without its endings."""
    return _NAME_ENDS.sub("", file_name) or file_name


# ---- text, and word2vec's binary format ----


def _from_stream(raw: IO[bytes], path: Path, words: frozenset[str] | None) -> Rows:
    with io.BufferedReader(raw, 1 << 20) as file:  # type: ignore[type-var]
        return _rows(file, path, words)


def _rows(file: Any, path: Path, words: frozenset[str] | None) -> Rows:
    first = file.readline(1 << 20).removeprefix(b"\xef\xbb\xbf")
    if first.startswith(b"\xba\x16\x4f\x2f"):
        raise HMLError(f"{path} contains a packed fastText model; unpack it and give the unpacked file")
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, dim = (int(field) for field in fields)
        if not _numbers_at_end(_whole_fields(file.peek(1 << 16))):
            return _table(_binary_rows(file, path, count, dim, words), path, words)
        return _table(_text_rows(file, path, 2, dim, count, words), path, words)
    # The first row decides the length; words may themselves hold blanks (GloVe 840B).
    dim = _numbers_at_end(fields)
    if dim < 1:
        raise HMLError(f"{path} line 1 is not a 'word number number ...' row, so it has none of these formats: {KNOWN}")
    rows = _text_rows(_with_first(first, file), path, 1, dim, None, words)
    return _table(rows, path, words)


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _whole_fields(sample: bytes) -> list[bytes]:
    """The fields of the first line of a sample, without one that the sample may cut."""
    line, end, _ = sample.partition(b"\n")
    return line.split() if end else line.split()[:-1]


def _numbers_at_end(fields: Sequence[bytes]) -> int:
    """How many numbers a row 'word number ...' ends with; 0 for a row of word2vec's binary format. NaN is a number."""
    count = 0
    for field in reversed(fields[1:]):
        try:
            float(field)
        except ValueError:
            break
        count += 1
    return count


def _text_rows(
    lines: Iterator[bytes], path: Path, start: int, dim: int, count: int | None, words: frozenset[str] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """(word, vector) of the wanted rows; of a row that is not wanted no more than its first word is looked at."""
    heads = None if words is None else {word.split(" ")[0].encode() for word in words}
    number, line, tabs = start - 1, b"", False
    for number, line in enumerate(lines, start):
        if number == start:
            tabs = b"\t" in line
        if tabs:
            line = line.replace(b"\t", b" ")
        if heads is None or line[: line.find(b" ")] in heads:
            yield _text_row(line, path, number, dim)
    if line:
        _text_row(line, path, number, dim)  # the last row is whole
    if count is not None and number - start + 1 < count:
        raise HMLError(
            f"{path} is cut short: it holds {number - start + 1} of the {count} words that its first line states"
        )


def _text_row(line: bytes, path: Path, number: int, dim: int) -> tuple[str, np.ndarray]:
    fields = line.rstrip().rsplit(b" ", dim)
    if len(fields) != dim + 1:
        raise HMLError(f"{path} line {number} is no 'word number number ...' row of length {dim}: it is cut or damaged")
    try:
        return fields[0].decode("utf-8", errors="replace"), np.array(fields[1:], dtype=np.float32)
    except ValueError as error:
        raise HMLError(f"{path} line {number} has {str(error).split(': ')[-1]} where a number must be") from error


def _binary_rows(
    file: IO[bytes], path: Path, count: int, dim: int, words: frozenset[str] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """(word, vector) of the wanted rows 'word<blank><dim float32, little-endian>', each with or without a line end."""
    wanted = None if words is None else {word.encode() for word in words}
    buffer, at, width, lines = b"", 0, 4 * dim, False
    for number in range(count):
        if len(buffer) - at < width + _LONGEST_WORD:
            buffer, at = buffer[at:] + file.read(_CHUNK), 0
        if not number:
            end = _word_end(buffer, at, width, True)
            lines = buffer[end + 1 + width : end + 2 + width] == b"\n"
        end = _word_end(buffer, at, width, lines)
        if end < 0 or end + 1 + width > len(buffer):
            raise HMLError(f"{path} is cut short: it holds {number} of the {count} words that its first line states")
        word = buffer[at:end].lstrip(b"\n")
        if word and min(word) < _CONTROL:
            raise HMLError(
                f"word {number} of {path} is no text: the file is damaged, or a word before it holds a blank, which "
                "this binary format cannot express; save the vectors as text (save_word2vec_format, binary=False)"
            )
        if wanted is None or word in wanted:
            yield word.decode("utf-8", errors="replace"), np.frombuffer(buffer, "<f4", dim, end + 1).astype(np.float32)
        at = end + 1 + width


def _word_end(buffer: bytes, at: int, width: int, lines: bool) -> int:
    """Where the word that begins at ``at`` ends: at its first blank or, if rows end lines, at the blank before a vector
    that a line end follows, so that a word may hold blanks. -1: there is no blank.
    """
    first = end = buffer.find(b" ", at)
    if not lines or buffer[end + 1 + width : end + 2 + width] in (b"\n", b""):
        return first
    while end >= 0 and buffer[end + 1 + width : end + 2 + width] != b"\n":
        end = buffer.find(b" ", end + 1, at + _LONGEST_WORD)
    word = buffer[at:end].lstrip(b"\n")
    return first if end < 0 or min(word) < 32 or "\ufffd" in word.decode("utf-8", errors="replace") else end


def _table(rows: Iterator[tuple[str, np.ndarray]], path: Path, words: frozenset[str] | None) -> Rows:
    """The first row of every word, as one matrix."""
    kept: dict[str, np.ndarray] = {}
    for word, row in rows:
        if words is None or word in words:
            kept.setdefault(word, row)
    return stacked(kept, path, words)


# ---- other containers ----


def _from_torch(path: Path, kind: str, words: frozenset[str] | None) -> Rows:
    """(dict word -> row, tensor, dim) of the benchmarks, or torchtext's (words, dict word -> row, tensor, dim)."""
    try:
        content = load_torch(path, mmap=kind == formats.TORCH)
    except HMLError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise HMLError(why_unreadable(path, error, "a torch file")) from error
    parts = list(content) if isinstance(content, (tuple, list)) else []
    if len(parts) == 4 and isinstance(parts[0], (list, tuple)):
        parts = parts[1:]
    if len(parts) != 3 or not isinstance(parts[0], dict):
        raise HMLError(
            f"{path} is no saved (word -> row, tensor, dim) tuple, nor torchtext's (words, word -> row, tensor, dim); "
            f"known are {KNOWN}"
        )
    return pick(parts[0], parts[1], path, words)


def _from_zip(path: Path, dim: int | None, words: frozenset[str] | None) -> Table:
    """The only member, or the one whose name has the length (glove.6B.zip: ``glove.6B.200d.txt``)."""
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith((".txt", ".vec", ".bin"))]
        members = [name for name in members if not name.startswith("__MACOSX")]
        fitting = [name for name in members if f".{dim}d." in name] or members
        if len(fitting) != 1:
            raise HMLError(
                f"{path} holds {len(members)} files of vectors ({', '.join(members)}); unpack the wanted one "
                "(unzip ZIP MEMBER) and name it"
            )
        try:
            with archive.open(fitting[0]) as file:
                index, matrix = _from_stream(file, Path(f"{path}/{fitting[0]}"), words)
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or a compression that Python lacks
            raise HMLError(f"{path} cannot be unpacked here ({error}); unpack it and name the member") from error
    return vectors_name(Path(fitting[0]).name), index, matrix
