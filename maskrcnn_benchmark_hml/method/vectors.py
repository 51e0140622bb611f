"""Word vectors and the phrase embedding DWE of eq. 1."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import HMLError
from .vector_cache import read_once_per_machine
from .vector_files import KNOWN, read_vectors

_CHUNK = 1 << 22
_JOINTS = re.compile("[_-]+")


class WordVectors:
    """Word -> vector table, read-only.

    Args:
        name: what the tree's file calls these vectors, usually the file's name without its ending.
        digest: SHA-256 of the file, hexadecimal, or what computes it when it is first asked for.
        index: word -> row.
        matrix: float32 (words, dim).
    """

    def __init__(self, name: str, digest: str | Callable[[], str], index: dict[str, int], matrix: np.ndarray) -> None:
        self.name = name
        self._digest = digest
        self._index = index
        self._matrix = matrix

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hexadecimal; computed once, when it is first asked for."""
        if not isinstance(self._digest, str):
            self._digest = self._digest()
        return self._digest

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


def random_vector(word: str, dim: int) -> torch.Tensor:
    """(dim,) numbers from N(0, 1), float32, the same for a word always: for use where no vectors are given."""
    return torch.randn(dim, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))


def words_to_read(names: Iterable[str]) -> set[str]:
    """Every word that the phrases may be made of, in each spelling that :func:`phrase_words` tries."""
    return {word for name in names for given in name.split() for spelling in _spellings(given) for word in spelling}


def phrase_words(vectors: WordVectors, text: str, skip_words: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The words whose vectors make up a phrase, and its words without a vector; skipped words are in neither.

    A word without a vector is tried in small letters, then split at ``_`` and ``-``, then both: ``Parked_on`` as
    ``parked on``.
    """
    found: list[str] = []
    unknown: list[str] = []
    for given in text.split():
        if given in skip_words:
            continue
        spellings = [[word for word in spelling if word not in skip_words] for spelling in _spellings(given)]
        known = [spelling for spelling in spellings if all(word in vectors for word in spelling)]
        if known:
            found += known[0]
        else:  # the parts without a vector, or the whole word if no part has one
            without = [word for word in spellings[-1] if word not in vectors]
            unknown += without if len(without) < len(spellings[-1]) else [given]
    return found, unknown


def _spellings(word: str) -> list[list[str]]:
    parts = [part for part in _JOINTS.split(word) if part]
    tried = [[word], [word.lower()], parts, [part.lower() for part in parts]]
    return [spelling for at, spelling in enumerate(tried) if spelling and spelling not in tried[:at]]


def embed_phrase(vectors: WordVectors, text: str, skip_words: Collection[str] = ()) -> np.ndarray:
    """DWE (eq. 1): the mean of the vectors of a phrase's words, not normalised.

    Args:
        vectors: the word vectors.
        text: words separated by blanks, e.g. ``"sitting on"``; other spellings are those of :func:`phrase_words`.
        skip_words: words left out of the mean, e.g. ``of`` and ``to``, which word2vec GoogleNews lacks.

    Returns:
        float64 (dim,).

    Raises:
        HMLError: a word without vector that is not skipped, or a phrase of which nothing is left.
    """
    words, unknown = phrase_words(vectors, text, skip_words)
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
    progress: Callable[[int], Any] | None = None,
) -> WordVectors:
    """Read a file of word vectors; the format is recognised from the content (``vector_files.KNOWN``).

    No format runs code from the file. With ``words`` a large file is read once per machine: what was found of it is
    kept in the temporary folder, for other processes and later runs.

    Args:
        path: the file.
        dim: expected length of the vectors; None accepts any. A zip with several files is read for this length.
        words: keep only these; None keeps all, which for a large file takes gigabytes.
        progress: called with the number of bytes that the digest, then computed at once, has just taken in.

    Raises:
        HMLError: no such file, wrong dim, or a content that is none of the formats or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise HMLError(f"the word vectors {path} do not exist; give a file of one of these: {KNOWN}")
    if words is None:
        name, index, matrix = read_vectors(path, dim, None)
    else:
        name, index, matrix = read_once_per_machine(path, dim, frozenset(words), read_vectors)
    if dim is not None and matrix.shape[1] != dim:
        raise HMLError(f"{path} holds vectors of length {matrix.shape[1]}, not {dim}; correct the length or the file")
    if not np.isfinite(matrix).all():
        bad = next(word for word, row in index.items() if not np.isfinite(matrix[row]).all())
        raise HMLError(f"{path} holds inf or NaN (first in {bad!r}); use vectors without")
    vectors = WordVectors(name, lambda: _file_digest(path, progress), index, matrix)
    if progress is not None:
        vectors.digest  # noqa: B018  now, while the caller shows the progress
    return vectors


def find_vectors(place: str | Path, wv_type: str, dim: int) -> Path:
    """The file of word vectors that a benchmark's ``GLOVE_DIR`` names: the file itself, or the one in that folder.

    Args:
        wv_type, dim: the file's name, e.g. ``glove.6B`` and 200.

    Raises:
        HMLError: the folder has none of the names; files that may be word vectors are named.
    """
    folder = Path(place).expanduser()
    if folder.is_file():
        return folder
    stem = f"{wv_type}.{dim}d"
    names = [f"{stem}.pt", f"{stem}.txt", f"{stem}.txt.pt", f"{stem}.txt.gz", f"{stem}.zip", f"{wv_type}.zip"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    endings = (".txt", ".vec", ".bin", ".kv", ".wordvectors", ".pt", ".gz", ".zip")
    others = sorted(p.name for p in folder.iterdir() if p.name.endswith(endings)) if folder.is_dir() else []
    hint = f"it has {', '.join(others[:4])}: name the file itself in GLOVE_DIR; or " if others else ""
    raise HMLError(
        f"no word vectors of length {dim} in GLOVE_DIR {str(place)!r} (looked for {', '.join(names)}); {hint}set "
        'GLOVE_DIR to a folder or file that has them, or to "" for random embeddings; nothing is downloaded'
    )


def _file_digest(path: Path, progress: Callable[[int], Any] | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress is not None:
                progress(len(chunk))
    return digest.hexdigest()
