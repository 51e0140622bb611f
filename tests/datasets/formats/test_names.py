"""Names are cleaned, replaced by aliases, counted and selected."""

from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark_hml.datasets.formats.names import (
    NONE,
    Names,
    clean_name,
    given_names,
    read_aliases,
    select,
)
from maskrcnn_benchmark_hml.errors import HMLError


@pytest.mark.parametrize(("text", "name"), [
    (" ON  top of ", "on top of"), ("T-Shirt's", "tshirts"), ("caf\u00e9", "cafe"), ("5\u00a2", "5cent"), ("...", ""),
    ("\u00bd pizza\u2122", "half pizzatm"), ("\u6a39", ""),
])
def test_clean_name(text, name):
    assert clean_name(text) == name


def test_texts_of_one_name_have_one_index():
    names = Names(clean_name, {"men": "man"})
    assert [names.index(text) for text in ("Man", "shoe", "MEN", "man.", "men", "!", "", None, 3)] == [
        0, 1, 0, 0, 0, NONE, NONE, NONE, NONE]
    assert names.names == ["man", "shoe"]
    assert names.replaced == 2, "MEN and men, each spelling once"


def test_aliases_follow_earlier_lines_and_later_ones_win(tmp_path):
    path = tmp_path / "alias.txt"
    path.write_text("near,Next to,by\r\nnext to,beside \non,by\n\nman,man,\n,nothing\n")
    assert read_aliases(path) == {"next to": "near", "beside": "near", "by": "on"}
    assert read_aliases(None) == {}
    with pytest.raises(HMLError, match="does not exist"):
        read_aliases(tmp_path / "no.txt")


@pytest.mark.parametrize(("name", "content"), [
    ("a.txt", "cat\n\n hat \nmat\n"),
    ("a.json", '["cat", "hat", "mat"]'),
    ("a.json", '["__background__", "cat", "hat", "mat"]'),
    ("a.json", '{"ind_to_classes": ["__background__", "cat", "hat", "mat"], "ind_to_predicates": ["on"]}'),
    ("a.json", '{"label_to_idx": {"mat": 3, "cat": 1, "hat": 2}}'),
    ("a.json", '{"idx_to_label": {"10": "mat", "2": "hat", "1": "cat"}}'),
])
def test_names_of_a_file(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert given_names(str(tmp_path / name), "objects") == ["cat", "hat", "mat"]


@pytest.mark.parametrize(("content", "says"), [
    ('["a", "a"]', "names 'a' twice"),
    ("[]", "has no names"),
    ('["a", 3]', "has the name 3"),
    ('["__background__", ""]', "has the name ''"),
    ('{"classes": ["a"]}', "has none of the keys"),
    ('{"objects": {"a": "b"}}', "does not map names to numbers"),
    ('{"objects": 3}', "holds no list of names"),
])
def test_wrong_files_of_names_are_named(tmp_path, content, says):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(HMLError, match=says):
        given_names(str(path), "objects")


def test_a_number_or_a_file():
    assert given_names("150", "objects") == 150
    with pytest.raises(HMLError, match="--objects is 0"):
        given_names("0", "objects")
    with pytest.raises(HMLError, match="--predicates is 'many', which is neither a number nor a file"):
        given_names("many", "predicates")


def test_the_most_frequent_names_ties_by_the_alphabet():
    names, counts = ["z", "b", "a", "c", "never"], [5, 2, 2, 2, 0]
    assert select(names, counts, 3) == (["a", "b", "z"], [])
    assert select(names, counts, 99) == (["a", "b", "c", "z"], [])
    assert select(names, counts, ["z", "never", "new", "a"]) == (["z", "never", "new", "a"], ["never", "new"])


def test_json_of_a_dataset_folder(tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"predicate_to_idx": {"on": 1, "wearing": 2}, "label_to_idx": {"cat": 1}}))
    assert given_names(str(path), "predicates") == ["on", "wearing"]
