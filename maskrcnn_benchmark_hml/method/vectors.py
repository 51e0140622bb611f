"""Word vectors and the phrase embedding DWE of eq. 1."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from gensim import utils
from gensim.models import KeyedVectors

from ..errors import HMLError

_CHUNK = 1 << 22


class WordVectors:
    """Word -> vector table, read-only.

    Args:
        name: what the tree's file calls these vectors, usually the file's name without its ending.
        digest: SHA-256 of the file, hexadecimal.
        index: word -> row.
        matrix: float32 (words, dim).
    """

    def __init__(self, name: str, digest: str, index: dict[str, int], matrix: np.ndarray) -> None:
        self.name = name
        self.digest = digest
        self._index = index
        self._matrix = matrix

    @property
    def dim(self) -> int:
        """Length of each vector."""
        return int(self._matrix.shape[1])

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, word: object) -> bool:
        return word in self._index

    def __getitem__(self, word: str) -> np.ndarray:
        """The float32 vector (dim,) of a word; HMLError if there is none."""
        if word not in self._index:
            raise HMLError(f"the word {word!r} has no vector in {self.name}; use other vectors or skip the word")
        return self._matrix[self._index[word]]


def embed_phrase(vectors: WordVectors, text: str, skip_words: Collection[str] = ()) -> np.ndarray:
    """DWE (eq. 1): the mean of the vectors of a phrase's words, not normalised.

    Args:
        vectors: the word vectors.
        text: words separated by blanks, e.g. ``"sitting on"``.
        skip_words: words left out of the mean, e.g. ``of`` and ``to``, which word2vec GoogleNews lacks.

    Returns:
        float64 (dim,).

    Raises:
        HMLError: a word without vector that is not skipped, or a phrase of which nothing is left.
    """
    words = [word for word in text.split() if word not in skip_words]
    unknown = [word for word in words if word not in vectors]
    if unknown:
        raise HMLError(
            f"predicate {text!r} has words without a vector in {vectors.name}: {', '.join(map(repr, unknown))}; "
            f"skip them (--skip-words {' '.join(unknown)}) or use vectors that have them"
        )
    if not words:
        raise HMLError(f"predicate {text!r} has no vector in {vectors.name}: all its words are skipped")
    return np.mean([vectors[word].astype(np.float64) for word in words], axis=0)


def load_vectors(
    path: str | Path,
    dim: int | None = None,
    *,
    words: Iterable[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> WordVectors:
    """Read a file of word vectors; the format is recognised from the content.

    Known formats: word2vec text and binary (a header line "words dim"), GloVe text (no header; words may hold
    blanks, as in GloVe 840B), either of them gzipped, and the benchmark's ``glove.6B.*.pt``, a saved tuple
    (dict word -> row, tensor (words, dim), dim), read without unpickling code.

    Args:
        path: the file.
        dim: expected length of the vectors; None accepts any.
        words: keep only these (GloVe text alone makes use of it, to stay small and quick).
        progress: called with the number of bytes that the digest has just taken in.

    Raises:
        HMLError: no such file, wrong dim, or a content that is none of the formats.
    """
    path = Path(path)
    if not path.is_file():
        raise HMLError(f"the word vectors {path} do not exist; give a word2vec, GloVe or glove.6B.*.pt file")
    try:
        index, matrix = _read(path, None if words is None else frozenset(words))
    except (ValueError, EOFError, OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        if isinstance(error, HMLError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HMLError(f"{path} cannot be read as word vectors ({reason}); fetch the file again") from error
    if dim is not None and matrix.shape[1] != dim:
        raise HMLError(f"{path} holds vectors of length {matrix.shape[1]}, not {dim}; correct the length or the file")
    if not np.isfinite(matrix).all():
        raise HMLError(f"{path} holds inf or NaN; fetch the file again")
    name = Path(path.name.removesuffix(".gz")).stem
    return WordVectors(name, _file_digest(path, progress), index, matrix)


def _file_digest(path: Path, progress: Callable[[int], None] | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress is not None:
                progress(len(chunk))
    return digest.hexdigest()


def _read(path: Path, words: frozenset[str] | None) -> tuple[dict[str, int], np.ndarray]:
    if path.suffix == ".pt":
        return _read_tuple(path)
    with utils.open(path, "rb") as file:
        head = file.readline()
        fields = head.split()
        headed = len(fields) == 2 and all(field.isdigit() for field in fields)
        binary = headed and not _is_text_row(file.read(4096))
    if not headed:
        with utils.open(path, "rb") as file:
            return _read_glove(file, path, words)
    vectors = KeyedVectors.load_word2vec_format(str(path), binary=binary)
    return vectors.key_to_index, vectors.vectors


def _is_text_row(sample: bytes) -> bool:
    """Whether the bytes after a word2vec header are 'word number ...' rather than 'word <raw floats>'."""
    fields = sample.split(b" ", 2)
    try:
        return len(fields) == 3 and np.isfinite(float(fields[1]))
    except ValueError:
        return False


def _read_glove(file: BinaryIO, path: Path, words: frozenset[str] | None) -> tuple[dict[str, int], np.ndarray]:
    index: dict[str, int] = {}
    rows: list[np.ndarray] = []
    dim = 0
    for number, line in enumerate(file, 1):
        fields = line.rstrip().split(b" ")
        # The first row decides the length; later words may themselves hold blanks.
        dim = dim or len(fields) - 1
        if dim < 1 or len(fields) < dim + 1:
            raise HMLError(f"{path} line {number} is no 'word number number ...' row of length {dim}; fetch it again")
        word = b" ".join(fields[:-dim]).decode("utf-8", errors="replace")
        if word in index or (words is not None and word not in words):
            continue
        index[word] = len(rows)
        rows.append(np.array(fields[-dim:], dtype=np.float32))
    if not rows:
        if dim:
            some = ", ".join(sorted(words)[:10]) + (", ..." if len(words) > 10 else "")
            raise HMLError(f"{path} has none of the {len(words)} words asked for ({some}); use other vectors")
        raise HMLError(f"{path} holds no vector; fetch it again")
    return index, np.stack(rows)


def _read_tuple(path: Path) -> tuple[dict[str, int], np.ndarray]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for a damaged or foreign file
        raise HMLError(f"{path} is damaged or no torch file; fetch or build it again") from error
    if not (isinstance(content, (tuple, list)) and len(content) == 3 and isinstance(content[0], dict)):
        raise HMLError(f"{path} is no saved (word -> row, tensor, dim) tuple; use the benchmark's glove.6B.*.pt")
    index, matrix, _ = content
    if not isinstance(matrix, torch.Tensor) or matrix.dim() != 2 or max(index.values(), default=0) >= len(matrix):
        raise HMLError(f"the tensor in {path} does not fit its words; fetch or build it again")
    return index, matrix.to(torch.float32).numpy()
