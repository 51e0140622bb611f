"""Word vector files: every format gives the same vectors, and a bad file gives one clear sentence."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.vectors import embed_phrase, load_vectors

WORDS = ["on", "sitting", "of", "zürich"]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5


def write(path, kind):
    vectors = KeyedVectors(3)
    vectors.add_vectors(WORDS, MATRIX)
    if kind == "word2vec text":
        vectors.save_word2vec_format(str(path), binary=False)
    elif kind == "word2vec binary":
        vectors.save_word2vec_format(str(path), binary=True)
    elif kind in ("glove", "glove.gz"):
        text = "".join(f"{word} {' '.join(map(str, row.tolist()))}\n" for word, row in zip(WORDS, MATRIX)).encode()
        path.write_bytes(gzip.compress(text) if kind == "glove.gz" else text)
    else:
        torch.save(({word: i for i, word in enumerate(WORDS)}, torch.from_numpy(MATRIX), 3), path)
    return path


KINDS = {
    "word2vec text": "v.vec",
    "word2vec binary": "v.bin",
    "glove": "glove.6B.3d.txt",
    "glove.gz": "glove.6B.3d.txt.gz",
    "benchmark": "glove.6B.3d.pt",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(tmp_path, kind):
    seen = []
    path = write(tmp_path / KINDS[kind], kind)
    vectors = load_vectors(path, dim=3, progress=seen.append)
    assert (len(vectors), vectors.dim, vectors.name) == (4, 3, KINDS[kind].replace(".gz", "").rsplit(".", 1)[0])
    for word, row in zip(WORDS, MATRIX):
        assert np.array_equal(vectors[word], row)
    assert "on" in vectors and "off" not in vectors
    assert sum(seen) == path.stat().st_size and len(vectors.digest) == 64


def test_glove_words_may_hold_blanks_and_can_be_chosen(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("on 1 2\n. . . 3 4\nof 5 6\non 7 8\n")
    assert load_vectors(path)[". . ."].tolist() == [3, 4]
    assert load_vectors(path)["on"].tolist() == [1, 2]
    chosen = load_vectors(path, words=["of"])
    assert len(chosen) == 1 and chosen["of"].tolist() == [5, 6]
    with pytest.raises(HMLError, match="has none of the .* words asked for"):
        load_vectors(path, words=["near"])


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "v.vec", "do not exist"),
        (b"", "v.txt", "holds no vector"),
        (b"on 1 2 3\nof 1 2\n", "v.txt", "line 2 is no"),
        (b"on 1 2 3\nof 1 2 x\n", "v.txt", "cannot be read as word vectors"),
        (b"2 3\non 1 2 3\n", "v.vec", "cannot be read as word vectors"),
        (b"on 1 nan 3\n", "v.txt", "inf or NaN"),
        (b"PK\x03\x04 torn", "glove.pt", "damaged or no torch file"),
        (b"on 1 2 3 4\n", "v.txt", "length 4, not 3"),
    ],
)
def test_bad_files_are_named(tmp_path, content, name, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HMLError, match=words):
        load_vectors(path, dim=3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"on": 1}, "no saved"),
        (({"on": 5}, torch.zeros(2, 3), 3), "does not fit its words"),
        (({"on": 0}, [1, 2, 3], 3), "does not fit its words"),
    ],
)
def test_foreign_torch_files_are_named(tmp_path, content, words):
    torch.save(content, tmp_path / "v.pt")
    with pytest.raises(HMLError, match=words):
        load_vectors(tmp_path / "v.pt")


def test_unknown_words_are_named(tmp_path):
    vectors = load_vectors(write(tmp_path / "v.vec", "word2vec text"))
    with pytest.raises(HMLError, match="'parked up on' has words without a vector in v: 'parked', 'up'; skip"):
        embed_phrase(vectors, "parked up on")
    with pytest.raises(HMLError, match="all its words are skipped"):
        embed_phrase(vectors, "of", skip_words=("of",))
    with pytest.raises(HMLError, match="'parked' has no vector"):
        vectors["parked"]
    assert np.array_equal(embed_phrase(vectors, "parked on", skip_words=("parked",)), vectors["on"])
