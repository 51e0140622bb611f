"""fastText's own binary models, read for the wanted words alone."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import HMLError
from .vector_table import Rows, stacked


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def read_fasttext(path: Path, words: frozenset[str] | None) -> Rows:
    """A fastText model: a word's vector is the mean of its own row and of its character n-grams' rows.

    A wanted word that the model does not know has the mean of its n-grams, as fastText gives it.
    """
    from gensim.models.fasttext import ft_ngram_hashes

    cut = HMLError(f"{path} is a fastText model and cut short; write or copy it again")
    with _mapped(path) as content:
        if len(content) < 14 * 4 + 8 + 28:
            raise cut
        version, _, *arguments = struct.unpack_from("<14i", content)[1:]
        bucket, low, high = arguments[7:10]
        at = 14 * 4 + 8
        size, known, labels, _, pruned = struct.unpack_from("<3i2q", content, at)
        at += struct.calcsize("<3i2q")
        if version not in (11, 12) or labels:
            raise HMLError(f"{path} is a fastText classifier or of version {version}; use a model of word vectors")
        vocabulary: dict[str, int] = {}
        for row in range(size):
            end = content.find(b"\0", at)
            if end < 0:
                raise cut
            word = content[at:end].decode("utf-8", errors="replace")
            if words is None or word in words:
                vocabulary[word] = row
            at = end + 10  # the end mark, int64 count, int8 type
        at += 8 * max(pruned, 0)
        if len(content) < at + 17:
            raise cut
        quantised, rows, width = struct.unpack_from("<?2q", content, at)
        at += struct.calcsize("<?2q")
    if quantised:
        raise HMLError(f"{path} is a compressed fastText model (.ftz); use its .bin, or its .vec")
    if path.stat().st_size < at + 4 * rows * width:
        raise cut
    table = np.memmap(path, "<f4", "r", at, (rows, width))
    vectors: dict[str, np.ndarray] = {}
    for word in vocabulary if words is None else sorted(words):
        grams = [known + gram for gram in ft_ngram_hashes(word, low, high, bucket)] if high > 0 and bucket > 0 else []
        of_word = [vocabulary[word], *grams] if word in vocabulary else grams
        if of_word:
            vectors[word] = table[of_word].astype(np.float32).mean(0)
    return stacked(vectors, path, words)
