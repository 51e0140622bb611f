"""GLOVE_DIR: a folder, a file, nothing, or a mistake; never a download."""

from __future__ import annotations

import urllib.request
from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark_hml.compat import word_vectors
from maskrcnn_benchmark_hml.compat.word_vectors import load_word_vectors
from maskrcnn_benchmark_hml.errors import HMLError

WORDS = {"man": [1.0, 2.0, 3.0], "dog": [4.0, 5.0, 6.0]}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(urllib.request, "urlretrieve", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def lookup(loaded, word):
    words, rows, _ = loaded
    key = words.get(word, None)
    return None if key is None else rows[key]


def check(loaded):
    vector = torch.zeros(1, 3)
    vector[0] = lookup(loaded, "dog")
    assert vector.tolist() == [[4.0, 5.0, 6.0]]
    assert lookup(loaded, "unicorn") is None
    assert loaded[2] == 3


def test_the_hosts_own_files(tmp_path):
    index = {word: i for i, word in enumerate(WORDS)}
    torch.save((index, torch.tensor(list(WORDS.values())), 3), tmp_path / "glove.6B.3d.pt")
    check(load_word_vectors(str(tmp_path), "glove.6B", 3))
    other = tmp_path / "text"
    other.mkdir()
    (other / "glove.6B.3d.txt").write_text("\n".join(f"{w} {' '.join(map(str, v))}" for w, v in WORDS.items()) + "\n")
    check(load_word_vectors(str(other), "glove.6B", "3d"))


def test_any_gensim_file(tmp_path):
    path = tmp_path / "mine.vec"
    path.write_text("2 3\n" + "\n".join(f"{w} {' '.join(map(str, v))}" for w, v in WORDS.items()) + "\n")
    check(load_word_vectors(str(path), "glove.6B", 3))


def test_empty_means_random(caplog):
    loaded = load_word_vectors("", "glove.6B", 3)
    found = [lookup(loaded, word) for word in ("man", "made-up", "man")]
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
    assert all(row.shape == (3,) and row.dtype == torch.float32 and row.isfinite().all() for row in found)
    assert "man" in loaded[0] and loaded[2] == 3
    assert "random" in caplog.text


def test_nothing_there_is_a_clear_error(tmp_path):
    with pytest.raises(HMLError, match=r"glove\.6B\.200d\.pt.*GLOVE_DIR"):
        load_word_vectors(str(tmp_path), "glove.6B", 200)


def test_a_wrong_length_is_a_clear_error(tmp_path):
    path = tmp_path / "mine.vec"
    path.write_text("1 3\nman 1 2 3\n")
    with pytest.raises(HMLError, match="3"):
        load_word_vectors(str(path), "glove.6B", 200)


def test_only_the_names_asked_for_are_read(tmp_path, monkeypatch):
    """SGB's obj_edge_vectors(names, ...): names and, for those without a vector, their longest word."""
    path = tmp_path / "mine.vec"
    path.write_text("3 3\nman 1 2 3\nstreet 4 5 6\nunused 7 8 9\n")
    asked = []
    load = word_vectors.load_vectors
    monkeypatch.setattr(word_vectors, "load_vectors", lambda *a, words: asked.append(words) or load(*a, words=words))

    def obj_edge_vectors(names, wv_dir, wv_type="glove.6B", wv_dim=300):
        words, rows, _ = module.load_word_vectors(wv_dir, wv_type, wv_dim)
        return [rows[words.get(name) or words.get(max(name.split(" "), key=len))].tolist() for name in names]

    module = SimpleNamespace(obj_edge_vectors=obj_edge_vectors)
    word_vectors.download_free_word_vectors(module)
    assert module.obj_edge_vectors(["man", "street light"], str(path), wv_dim=3) == [[1, 2, 3], [4, 5, 6]]
    assert asked == [{"man", "street", "light", "street light"}]
    module.load_word_vectors(str(path), "glove.6B", 3)  # by a caller that we do not know: all of it
    assert asked[1] is None
