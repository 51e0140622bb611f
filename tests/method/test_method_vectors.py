"""Word vector files: every format gives the same vectors, and a bad file gives one clear sentence."""

from __future__ import annotations

import gzip
import logging
import pickle
import zipfile

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method import vector_cache
from maskrcnn_benchmark_hml.method.clustering import cluster_predicates
from maskrcnn_benchmark_hml.method.vectors import (
    WordVectors,
    embed_phrase,
    find_vectors,
    load_vectors,
    phrase_words,
    words_to_read,
)

WORDS = ["on", "sitting", "of", "zürich"]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5


def write(path, kind):
    vectors = KeyedVectors(3)
    vectors.add_vectors(WORDS, MATRIX)
    if kind == "word2vec text":
        vectors.save_word2vec_format(str(path), binary=False)
    elif kind == "word2vec binary":
        vectors.save_word2vec_format(str(path), binary=True)
    elif kind.startswith("gensim"):
        vectors.save(str(path), sep_limit=0 if "two files" in kind else 10 << 20)
    elif kind == "torchtext":
        torch.save((WORDS, {word: i for i, word in enumerate(WORDS)}, torch.from_numpy(MATRIX), 3), path)
    elif kind == "pickled dict":
        path.write_bytes(pickle.dumps(dict(zip(WORDS, MATRIX))))
    elif kind == "word2vec binary.gz":
        vectors.save_word2vec_format(str(path), binary=True)  # gensim compresses by the ending
        assert path.read_bytes()[:2] == b"\x1f\x8b"
    elif kind.startswith(("glove", "fasttext")):
        text = "".join(f"{word} {' '.join(map(str, row.tolist()))} \n" for word, row in zip(WORDS, MATRIX))
        text = (f"4 3\n{text}" if kind == "fasttext .vec" else text.replace(" \n", "\n")).encode()
        text = text.replace(b" ", b"\t") if kind == "glove, tabs" else text
        text = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") if kind == "glove, from Windows" else text
        if kind == "glove.zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("glove.6B.2d.txt", "on 1 2\n")
                archive.writestr("glove.6B.3d.txt", text)
        else:
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
    "glove, tabs": "tabs.txt",
    "glove, from Windows": "windows.txt",
    "glove.zip": "glove.6B.zip",
    "word2vec binary.gz": "v.bin.gz",
    "fasttext .vec": "crawl.vec",
    "torchtext": "glove.6B.3d.txt.pt",
    "gensim KeyedVectors": "v.kv",
    "gensim KeyedVectors, two files": "v.wordvectors",
    "pickled dict": "v.pkl",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(tmp_path, kind):
    seen = []
    path = write(tmp_path / KINDS[kind], kind)
    vectors = load_vectors(path, dim=3, progress=seen.append)
    name = "glove.6B.3d" if "glove.6B" in KINDS[kind] else KINDS[kind].split(".")[0]
    assert (len(vectors), vectors.dim, vectors.name) == (4, 3, name)
    chosen = load_vectors(path, dim=3, words=["zürich", "absent", "of"])
    assert len(chosen) == 2 and np.array_equal(chosen["zürich"], MATRIX[3]) and np.array_equal(chosen["of"], MATRIX[2])
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
        (b"", "v.txt", "is empty"),
        (b"on 1 2 3\nof 1 2\n", "v.txt", "line 2 is no"),
        (b"on 1 2 3\nof 1 2 x\n", "v.txt", "line 2 has .*x.* where a number must be"),
        (b"2 3\non 1 2 3\n", "v.vec", "cut short: it holds 1 of the 2 words"),
        (b"2 3\non " + bytes(12) + b"of " + bytes(9), "v.bin", "cut short: it holds 1 of the 2 words"),
        (gzip.compress(b"on 1 2 3\n" * 999, mtime=0)[:-9], "v.txt.gz", "a gzip file and cut short"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "v.h5", "is an HDF5 file, not a file of word vectors; .*known are"),
        (b"<html>", "v.vec", "is an HTML page"),
        ("on 1 2 3\n".encode("utf-16"), "v.txt", "is text in UTF-16, not in UTF-8"),
        (b"some prose, not vectors\n", "v.txt", "line 1 is not a 'word number number ...' row"),
        (pickle.dumps(print), "v.kv", "names builtins.print, which is not loaded"),
        (pickle.dumps([1]), "v.kv", "pickle, but not of gensim's KeyedVectors"),
        (pickle.dumps({"on": MATRIX[0]})[:-20], "v.pkl", "is cut short"),
        (b"\xba\x16\x4f\x2f\x0c\0\0\0" + bytes(84) + b"\1" + bytes(40), "v.ftz", "is a compressed fastText model"),
        (b"\xba\x16\x4f\x2f\x0c\0\0\0" + bytes(40), "v.bin", "a fastText model and cut short"),
        (b"on 1 nan 3\n", "v.txt", "inf or NaN"),
        (b"PK\x03\x04 torn", "glove.pt", "cut short"),
        (b"on 1 2 3 4\n", "v.txt", "length 4, not 3"),
    ],
)
def test_bad_files_are_named(tmp_path, content, name, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HMLError, match=words):
        load_vectors(path, dim=3)


@pytest.mark.parametrize("header", ["", "4 3\n"])
@pytest.mark.parametrize("bad", ["of 1 2", "of", ""])
def test_a_row_that_is_one_number_short_is_named(tmp_path, header, bad):
    """In the middle of the file or as its last row, whichever words are wanted of it."""
    path, good = tmp_path / "v.txt", "on 1 2 3\nnear 4 5 6\n"
    for text, wanted in (
        (f"{good}{bad}\nunder 1 2 3\n", None),
        (f"{good}{bad} \nunder 1 2 3\n", ["on", "of"] if bad.startswith("of ") else None),
        (f"{good}by 1 2 3\n{bad} \n", None),
        (f"{good}by 1 2 3\n{bad} \n", ["on"]),  # the row is not wanted, but the file is cut
    ):
        path.write_text(header + text)
        line = text.split("\n").index(bad) if f"\n{bad}\n" in text else text.split("\n").index(f"{bad} ")
        with pytest.raises(HMLError, match=f"line {line + 1 + bool(header)} is no .* row of length 3"):
            load_vectors(path, words=wanted)


@pytest.mark.parametrize("header", ["", "2 3\n"])
def test_a_row_with_a_number_too_many_is_no_row_of_the_word(tmp_path, header):
    path = tmp_path / "v.txt"
    path.write_text(f"{header}on 1 2 3\nof 0 1 2 3\n")
    vectors = load_vectors(path)
    assert "of" not in vectors and vectors["of 0"].tolist() == [1, 2, 3]  # a word may hold blanks


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


def test_a_zip_of_several_lengths_asks_which(tmp_path):
    path = write(tmp_path / "glove.6B.zip", "glove.zip")
    assert load_vectors(path, 2)["on"].tolist() == [1, 2]
    with pytest.raises(HMLError, match=r"holds 2 files of vectors \(glove.6B.2d.txt, glove.6B.3d.txt\); unpack the"):
        load_vectors(path)


def test_gensims_second_file_is_missed_by_name(tmp_path):
    path = write(tmp_path / "v.kv", "gensim KeyedVectors, two files")
    (tmp_path / "v.kv.vectors.npy").unlink()
    with pytest.raises(HMLError, match="put v.kv.vectors.npy into the same folder"):
        load_vectors(path)


def test_a_whole_gensim_model_is_converted_with_one_line(tmp_path):
    from gensim.models import Word2Vec

    Word2Vec([["on", "of"]] * 9, vector_size=3, min_count=1, workers=1).save(str(tmp_path / "v.model"))
    with pytest.raises(HMLError, match="save_word2vec_format"):
        load_vectors(tmp_path / "v.model")


def test_a_pickle_runs_nothing(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    (tmp_path / "v.kv").write_bytes(pickle.dumps({"on": Harm()}))
    with pytest.raises(HMLError, match="v.kv names io.open, which is not loaded because it could run code"):
        load_vectors(tmp_path / "v.kv")
    torch.save(Harm(), tmp_path / "v.pt")
    with pytest.raises(HMLError, match="v.pt names io.open, which is not loaded because it could run code"):
        load_vectors(tmp_path / "v.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("max_n", [4, 0])
def test_fasttext_models_as_gensim_reads_them(tmp_path, max_n):
    from gensim.models import FastText
    from gensim.models.fasttext import load_facebook_vectors, save_facebook_model

    sentences = [["man", "riding", "horse"], ["man", "on", "street"], ["fenêtre", "on", "street"]] * 5
    model = FastText(sentences, vector_size=5, min_count=1, min_n=2, max_n=max_n, bucket=50, workers=1, epochs=2)
    path = tmp_path / "cc.en.5.bin"
    save_facebook_model(model, str(path))
    theirs = load_facebook_vectors(str(path))
    for ours in (load_vectors(path, 5), load_vectors(path, 5, words=[*theirs.key_to_index, "horses"])):
        assert ours.name == "cc.en.5"
        for word in theirs.key_to_index:
            assert np.allclose(ours[word], theirs[word], rtol=0, atol=1e-7)
    if max_n:
        assert np.allclose(ours["horses"], theirs["horses"], rtol=0, atol=1e-7)  # from its n-grams
    else:
        assert "horses" not in ours
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(HMLError, match="cut short"):
        load_vectors(path)


def test_a_large_file_is_read_once_per_machine(tmp_path, monkeypatch, caplog):
    path = write(tmp_path / "v.txt", "glove")
    kept = tmp_path / "tmp"
    kept.mkdir()
    monkeypatch.setattr(vector_cache, "LARGE", 1)
    monkeypatch.setattr(vector_cache.tempfile, "gettempdir", lambda: str(kept))
    first = load_vectors(path, words=["of", "zürich", "absent"])
    content, stamp = path.read_bytes(), path.stat()
    path.write_bytes(b"x" * len(content))  # same size and time: read again, it would be refused
    import os

    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    again = load_vectors(path, words=["zürich", "of", "absent"])
    assert again.name == "v" and len(again) == 2 and np.array_equal(first["zürich"], again["zürich"])
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert load_vectors(path, words=["on"])["on"].tolist() == MATRIX[0].tolist()  # other words, another time
    (folder,) = kept.iterdir()
    for torn in folder.glob("*.npz"):  # a machine that went down while it wrote
        torn.write_bytes(torn.read_bytes()[:100])
    assert load_vectors(path, words=["on"])["on"].tolist() == MATRIX[0].tolist()
    folder.chmod(0o777)  # anybody could have written there: not used
    with caplog.at_level(logging.INFO):
        assert len(load_vectors(path, words=["on"])) == 1
    assert "belongs to somebody else" in caplog.text


def test_the_place_of_the_vectors(tmp_path):
    (tmp_path / "cc.en.300.vec").touch()
    with pytest.raises(HMLError, match=r"it has cc.en.300.vec: name the file itself"):
        find_vectors(tmp_path, "glove.6B", 200)
    for name in ("glove.6B.zip", "glove.6B.200d.txt.pt", "glove.6B.200d.txt", "glove.6B.200d.pt"):
        (tmp_path / name).touch()
        assert find_vectors(tmp_path, "glove.6B", 200).name == name


def word2vec_file(path, kind: str, words: list[str], end: bytes = b"\n"):
    """The words with MATRIX's rows, in word2vec's text or binary format, with or without line ends."""
    rows = list(zip(words, MATRIX))
    head = f"{len(rows)} 3\n".encode()
    if kind == "text":
        path.write_bytes(head + b"".join(f"{w} {' '.join(map(str, row))}\n".encode() for w, row in rows))
    elif kind == "glove":
        path.write_bytes(b"".join(f"{w} {' '.join(map(str, row))}\n".encode() for w, row in rows))
    else:
        path.write_bytes(head + b"".join(w.encode() + b" " + row.astype("<f4").tobytes() + end for w, row in rows))
    return path


BLANKS = ["in spite of", "on", "New York", "zürich"]


@pytest.mark.parametrize("kind", ["text", "glove", "binary"])
def test_words_may_hold_blanks_also_in_the_first_row(tmp_path, kind):
    path = word2vec_file(tmp_path / "v.bin", kind, BLANKS)
    vectors = load_vectors(path, 3)
    assert len(vectors) == 4 and all(np.allclose(vectors[word], row) for word, row in zip(BLANKS, MATRIX))
    chosen = load_vectors(path, 3, words=["on", "New York", "spite"])
    assert len(chosen) == 2 and np.allclose(chosen["on"], MATRIX[1])


def test_blanks_in_a_binary_file_without_line_ends_get_a_remedy_that_helps(tmp_path):
    path = word2vec_file(tmp_path / "v.bin", "binary", ["on", "in", "of", "at"], end=b"")
    assert np.array_equal(load_vectors(path, 3)["at"], MATRIX[3].astype(np.float32))
    path = word2vec_file(tmp_path / "v.bin", "binary", BLANKS, end=b"")
    with pytest.raises(HMLError, match="no text: .* a word before it holds a blank, .*save the vectors as text"):
        load_vectors(path, 3, words=["on"])


SPELLINGS = {
    "parked_on": "parked on", "next-to": "next to", "On": "on", "Interacts_With": "interacts with", "on": "on",
    "New_York": "New_York", "T-shirt": "t-shirt", "hang  from__": "hang from",
}  # fmt: skip


def spelt() -> WordVectors:
    words = ["parked", "on", "next", "to", "interacts", "with", "New_York", "t-shirt", "hang", "from", "New", "York"]
    rows = np.random.default_rng(0).normal(size=(len(words), 4)).astype(np.float32)
    return WordVectors("v", "0", {word: i for i, word in enumerate(words)}, rows)


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spellings_of_a_predicate_have_its_vector(name):
    vectors, words = spelt(), SPELLINGS[name].split()
    assert phrase_words(vectors, name) == (words, [])
    assert np.array_equal(embed_phrase(vectors, name), np.mean([vectors[w].astype(np.float64) for w in words], axis=0))
    assert set(words) <= words_to_read([name])
    assert phrase_words(vectors, name, words) == ([], []), "skipped words are skipped in every spelling"


def test_other_spellings_are_said_and_words_without_a_vector_named(caplog):
    groups = cluster_predicates(["on", "On", "parked_on"], spelt(), 0.99)
    assert groups == [["on", "On"], ["parked_on"]]
    assert "v lacks words as the predicates spell them" in caplog.text
    assert "used instead: 'on' for 'On', 'parked on' for 'parked_on'" in caplog.text
    with pytest.raises(HMLError, match=r"1 word of the predicates has no vector in v: 'lies' of 'Lies_on'; skip it"):
        cluster_predicates(["on", "Lies_on"], spelt(), 0.99)
