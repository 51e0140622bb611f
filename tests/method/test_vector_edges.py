"""Edges of the readers of word vectors: buffers' ends, files cut anywhere, empty choices, what is kept and where."""

from __future__ import annotations

import logging
import pickle
import stat
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method import vector_cache, vector_files, vector_pickle
from maskrcnn_benchmark_hml.method.vector_cache import read_once_per_machine
from maskrcnn_benchmark_hml.method.vector_table import check_not_empty, pick
from maskrcnn_benchmark_hml.method.vectors import load_vectors

BLANK_INSIDE = np.frombuffer(b"    \n\n\n\n \n \n", "<f4")  # a vector whose bytes are blanks and line ends


def binary(words: list[str], rows: np.ndarray, end: bytes = b"\n") -> bytes:
    head = f"{len(words)} {rows.shape[1]}\n".encode()
    return head + b"".join(word.encode() + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, rows))


# ---- word2vec's binary format ----


@pytest.mark.parametrize("chunk", [1, 7, 20, 21, 22, 64, 1000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_rows_may_lie_anywhere_in_the_buffer(tmp_path, monkeypatch, chunk, end):
    monkeypatch.setattr(vector_files, "_CHUNK", chunk + 28)  # a buffer holds one row and its longest word at least
    monkeypatch.setattr(vector_files, "_LONGEST_WORD", 16)
    words = [f"w{i}" * (1 + i % 4) for i in range(40)]
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    path = tmp_path / "v.bin"
    path.write_bytes(binary(words, rows, end))
    vectors = load_vectors(path)
    assert len(vectors) == 40 and all(np.array_equal(vectors[word], row) for word, row in zip(words, rows))


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_binary_file_cut_anywhere_in_its_rows_is_named(tmp_path, end):
    words, rows = ["on", "near", "of"], np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    whole, path = binary(words, rows, end), tmp_path / "v.bin"
    starts = [4 + sum(len(word) + 13 + len(end) for word in words[:i]) for i in range(4)]
    last = len(whole) - len(end)  # the last line end may lack
    path.write_bytes(whole[:last])
    assert len(load_vectors(path)) == 3
    for length in range(starts[1], last):
        path.write_bytes(whole[:length])
        read = sum(start + len(word) + 13 <= length for word, start in zip(words, starts))
        with pytest.raises(HMLError, match=f"cut short: it holds {read} of the 3 words that its first line states"):
            load_vectors(path)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_an_empty_word_in_a_binary_file_is_no_cut(tmp_path, end):
    rows = np.float32([[1, 2, 3], [4, 5, 6]])
    for words in (["", "on"], ["on", ""]):
        (tmp_path / "v.bin").write_bytes(binary(words, rows, end))
        vectors = load_vectors(tmp_path / "v.bin")
        assert len(vectors) == 2 and np.array_equal(vectors["on"], rows[words.index("on")])


def test_vectors_whose_bytes_are_blanks_and_line_ends(tmp_path):
    path = tmp_path / "v.bin"
    rows = np.stack([np.float32([1, 2, 3]), BLANK_INSIDE, np.float32([4, 5, 6])])
    path.write_bytes(binary(["on", "near", "of"], rows))
    vectors = load_vectors(path)
    assert [word for word in ("on", "near", "of") if word in vectors] == ["on", "near", "of"]
    assert np.array_equal(vectors["near"], BLANK_INSIDE) and np.array_equal(vectors["of"], rows[2])


def test_more_rows_than_the_first_line_states_are_left_unread(tmp_path):
    path = tmp_path / "v.bin"
    rows = np.float32([[1, 2, 3], [4, 5, 6]])
    path.write_bytes(binary(["on", "of"], rows).replace(b"2 3\n", b"1 3\n", 1))
    assert len(load_vectors(path)) == 1
    (tmp_path / "v.vec").write_text("2 3\non 1 2 3\nof 4 5 6\nat 7 8 9\n")
    assert len(load_vectors(tmp_path / "v.vec")) == 3  # text has all its lines


def test_bytes_that_are_no_utf8_stand_for_something(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"on 1 2 3\n\xff\xfe 4 5 6\n")
    assert load_vectors(tmp_path / "v.txt")["\ufffd\ufffd"].tolist() == [4, 5, 6]


# ---- text ----


def test_a_long_first_row_is_text_all_the_same(tmp_path):
    row = " ".join(f"{value:.8f}" for value in np.linspace(-1, 1, 20000))  # more than the reader looks ahead
    (tmp_path / "v.vec").write_text(f"1 20000\non {row}\n")
    assert load_vectors(tmp_path / "v.vec").dim == 20000


def test_rows_of_tabs_are_chosen_by_their_word(tmp_path):
    (tmp_path / "v.txt").write_text("on\t1\t2\nof\t3\t4\nin front\t5\t6\n")
    chosen = load_vectors(tmp_path / "v.txt", words=["of", "in front", "in"])
    assert len(chosen) == 2 and chosen["of"].tolist() == [3, 4] and chosen["in front"].tolist() == [5, 6]


# ---- zip ----


def test_one_member_is_taken_whatever_its_name_and_system_files_are_left(tmp_path):
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.md", "text")
        archive.writestr("__MACOSX/mine.vec", "junk")
        archive.writestr("folder/mine.vec", "on 1 2 3\n")
    vectors = load_vectors(path, 3)
    assert vectors.name == "mine" and vectors["on"].tolist() == [1, 2, 3]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.md", "text")
    with pytest.raises(HMLError, match="holds 0 files of vectors"):
        load_vectors(path, 3)


def test_a_zip_that_python_cannot_unpack_is_named(tmp_path):
    path = tmp_path / "v.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("v.txt", "on 1 2 3\n")
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # set the bit that says: encrypted
        content[content.find(signature) + flags] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(HMLError, match=r"cannot be unpacked here \(.*encrypted.*\); unpack it and name the member"):
        load_vectors(path, 3)


# ---- torch and pickle ----


def test_torch_files_with_lists_and_with_other_contents(tmp_path):
    path, table = tmp_path / "v.pt", torch.arange(6.0).reshape(2, 3)
    for content in ([{"on": 1, "of": 0}, table, 3], (("of", "on"), {"on": 1, "of": 0}, table, 3),
                    (["of", "on"], {"on": 1, "of": 0}, table.double(), 3)):  # fmt: skip
        torch.save(content, path)
        vectors = load_vectors(path)
        assert vectors["on"].tolist() == [3, 4, 5] and vectors["on"].dtype == np.float32
    for content in (({"on": 0}, table), ([], table, 3), (1, {"on": 0}, table, 3), table, ({}, {"on": 0}, table, 3)):
        torch.save(content, path)
        with pytest.raises(HMLError, match="is no saved .word -> row, tensor, dim. tuple"):
            load_vectors(path)


def test_pickled_dictionaries(tmp_path):
    path = tmp_path / "v.pkl"

    def read(content, words=None):
        path.write_bytes(pickle.dumps(content))
        return load_vectors(path, words=words)

    rows = {"on": np.float32([1, 2]), "of": np.float32([3, 4]), "long": np.float32([1, 2, 3])}
    with pytest.raises(HMLError, match=r"vectors of different lengths \(\[2, 3\]\); save those of one length"):
        read(rows)
    assert read(rows, ["on", "of"])["of"].tolist() == [3, 4]  # the wanted ones have one length
    assert len(read(rows, ["long"])) == 1
    for content in ({"on": [1, 2]}, {"on": np.zeros((1, 2))}, {"on": rows["on"], "of": 3}, rows["on"], [rows["on"]]):
        with pytest.raises(HMLError, match="is a pickle, but not of gensim's KeyedVectors"):
            read(content)
    with pytest.raises(HMLError, match="holds no vector; use other vectors"):
        read({})
    with pytest.raises(HMLError, match=r"has none of the 1 words asked for \(near\)"):
        read(rows, ["near"])


def gensim_state(tmp_path, monkeypatch, **state):
    """Read a pickle of gensim whose object has these attributes."""
    monkeypatch.setattr(vector_pickle, "load_pickle", lambda path, classes: SimpleNamespace(**state))
    return vector_pickle.read_pickle(tmp_path / "v.kv", None)


def test_every_layout_of_gensim(tmp_path, monkeypatch):
    table, entries = np.float32([[1, 2], [3, 4]]), {w: SimpleNamespace(index=i) for i, w in enumerate(("on", "of"))}
    for state in ({"key_to_index": {"on": 0, "of": 1}, "vectors": table}, {"vocab": entries, "syn0": table},
                  {"vocab": entries, "vectors": table}):  # fmt: skip
        index, matrix = gensim_state(tmp_path, monkeypatch, **state)
        assert index == {"on": 0, "of": 1} and np.array_equal(matrix, table)
    with pytest.raises(HMLError, match="does not fit its words"):
        gensim_state(tmp_path, monkeypatch, vocab={"on": SimpleNamespace(count=3)}, vectors=table)
    with pytest.raises(HMLError, match="is a pickle, but not of gensim's KeyedVectors"):
        gensim_state(tmp_path, monkeypatch, vocab=["on"], vectors=table)
    with pytest.raises(HMLError, match="holds fastText's vectors in gensim's own form"):
        gensim_state(tmp_path, monkeypatch, key_to_index={"on": 0}, vectors_vocab=None)
    np.save(tmp_path / "v.kv.syn0.npy", table)
    index, matrix = gensim_state(tmp_path, monkeypatch, key_to_index={"on": 1}, vectors=None)
    assert np.array_equal(matrix, table[1:])
    (tmp_path / "v.kv.vectors.npy").write_bytes(b"\x93NUMPY torn")
    with pytest.raises(HMLError, match="v.kv.vectors.npy"):
        gensim_state(tmp_path, monkeypatch, key_to_index={"on": 1})


# ---- fastText ----


def fasttext(words, rows, *, bucket=0, low=0, high=0, version=12, labels=0, pruned=-1, quantised=False) -> bytes:
    arguments = [0] * 11
    arguments[7:10] = bucket, low, high
    head = struct.pack("<14id", 793712314, version, rows.shape[1], *arguments, 0.0)
    head += struct.pack("<3i2q", len(words), len(words) - labels, labels, 9, pruned)
    vocabulary = b"".join(word.encode() + b"\0" + struct.pack("<qb", 5, 0) for word in words)
    vocabulary += bytes(8 * max(pruned, 0))
    return head + vocabulary + struct.pack("<?2q", quantised, *rows.shape) + rows.astype("<f4").tobytes()


def test_a_fasttext_model_without_ngrams_cut_anywhere_and_pruned(tmp_path):
    path, rows = tmp_path / "m.bin", np.float32([[1, 2, 3], [4, 5, 6]])
    for pruned in (-1, 0, 2):
        whole = fasttext(["on", "of"], rows, pruned=pruned)
        path.write_bytes(whole)
        vectors = load_vectors(path)
        assert len(vectors) == 2 and vectors["on"].tolist() == [1, 2, 3] and vectors["of"].tolist() == [4, 5, 6]
        assert len(load_vectors(path, words=["of", "near"])) == 1
        for length in range(8, len(whole)) if pruned == 2 else (len(whole) - 1,):
            path.write_bytes(whole[:length])
            with pytest.raises(HMLError, match="m.bin is a fastText model and cut short; write or copy it again"):
                load_vectors(path)
    path.write_bytes(whole)
    with pytest.raises(HMLError, match=r"has none of the 1 words asked for \(near\)"):
        load_vectors(path, words=["near"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": 1}, "is a fastText classifier or of version 12"),
        ({"version": 10}, "is a fastText classifier or of version 10"),
        ({"version": 13}, "is a fastText classifier or of version 13"),
        ({"quantised": True}, "is a compressed fastText model"),
    ],
)
def test_other_fasttext_models_are_named(tmp_path, change, words):
    (tmp_path / "m.bin").write_bytes(fasttext(["on", "of"], np.float32([[1, 2, 3], [4, 5, 6]]), **change))
    with pytest.raises(HMLError, match=words):
        load_vectors(tmp_path / "m.bin")


def test_fasttext_version_11_and_ngrams_without_buckets(tmp_path):
    rows = np.float32([[1, 2, 3], [4, 5, 6]])
    for change in ({"version": 11}, {"bucket": 0, "low": 1, "high": 3}, {"bucket": 5, "low": 0, "high": 0}):
        (tmp_path / "m.bin").write_bytes(fasttext(["on", "of"], rows, **change))
        assert load_vectors(tmp_path / "m.bin")["of"].tolist() == [4, 5, 6]


# ---- the table ----


def test_the_table_fits_its_words(tmp_path):
    table = np.arange(6.0).reshape(2, 3)
    index, rows = pick({"on": 1, "of": 0}, table, tmp_path, frozenset({"on", "at"}))
    assert index == {"on": 0} and rows.tolist() == [[3, 4, 5]] and rows.dtype == np.float32
    for index, matrix in (({"on": 2}, table), ({"on": -1}, table), ({"on": 1.0}, table), ({"on": 0}, table[0]),
                          ({"on": 0}, None), ({"on": 0}, table[:0]), ({"on": 0, "of": 2}, table)):  # fmt: skip
        with pytest.raises(HMLError, match="does not fit its words: it is damaged or belongs to another file"):
            pick(index, matrix, tmp_path, None)


def test_no_more_than_ten_words_are_listed(tmp_path):
    for number, end in ((1, r"w10\)"), (10, r"w19\)"), (11, r"w19, \.\.\.\)")):
        words = frozenset(f"w{10 + i}" for i in range(number))
        with pytest.raises(HMLError, match=f"none of the {number} words asked for \\(w10.*{end}; use" if number > 1
                           else f"none of the 1 words asked for \\({end}; use"):  # fmt: skip
            check_not_empty([], tmp_path, words)
    for words in (None, frozenset()):
        with pytest.raises(HMLError, match="holds no vector"):
            check_not_empty([], tmp_path, words)


# ---- what is kept for other processes ----


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The temporary folder, and a reader that counts how often it is called; a file of 10 bytes is large."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(vector_cache, "LARGE", 10)
    monkeypatch.setattr(vector_cache.tempfile, "gettempdir", lambda: str(folder))
    calls = []

    def read(path, dim, words):
        calls.append((path, dim, words))
        return "name", {"of": 1, "on": 0}, np.float32([[1, 2], [3, 4]])

    return folder, calls, read


def same(table) -> bool:
    name, index, matrix = table
    return name == "name" and index == {"on": 0, "of": 1} and np.array_equal(matrix, np.float32([[1, 2], [3, 4]]))


def test_only_a_large_file_is_kept_and_for_this_user_alone(tmp_path, kept):
    folder, calls, read = kept
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(9))
    large.write_bytes(bytes(10))
    words = frozenset({"on", "of"})
    for _ in range(2):
        assert same(read_once_per_machine(small, 2, words, read))
    assert len(calls) == 2 and not list(folder.iterdir())
    for _ in range(3):
        assert same(read_once_per_machine(large, 2, words, read))
    assert calls[2:] == [(large, 2, words)]
    (own,) = folder.iterdir()
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    read_once_per_machine(large, 3, words, read)
    read_once_per_machine(large, 2, frozenset({"on"}), read)
    assert len(calls) == 5  # another length or other words are read anew


def test_a_folder_of_somebody_else_is_not_used(tmp_path, kept, monkeypatch, caplog):
    folder, calls, read = kept
    large = tmp_path / "large"
    large.write_bytes(bytes(10))
    caplog.set_level(logging.INFO)
    own = vector_cache._own_folder()
    for mode in (0o720, 0o702):
        own.chmod(mode)
        assert same(read_once_per_machine(large, 2, frozenset({"on"}), read))
        assert "belongs to somebody else" in caplog.text and not list(own.iterdir())
        caplog.clear()
    own.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o700)
    own.symlink_to(tmp_path / "elsewhere")
    assert same(read_once_per_machine(large, 2, frozenset({"on"}), read))
    assert "belongs to somebody else" in caplog.text and not list(own.iterdir())
    own.unlink()
    own.mkdir(0o700)
    monkeypatch.setattr(vector_cache.os, "getuid", lambda: own.stat().st_uid + 1)
    (folder / f"hml-vectors-{own.stat().st_uid + 1}").mkdir(0o700)
    assert same(read_once_per_machine(large, 2, frozenset({"on"}), read))
    assert len(calls) == 4
