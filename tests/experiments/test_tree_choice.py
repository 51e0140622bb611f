"""Which tree HML's runs have: shipped, given, clustered or by frequency, for a vocabulary of any size."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments import tree_choice
from maskrcnn_benchmark_hml.experiments.tree_choice import DataTrees, TreeChoice, frequency_boundaries
from maskrcnn_benchmark_hml.method import vectors
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.method.tree_builders import build_frequency_tree

from .conftest import make_data

VECTORS = "on 1 0 0\nof 0 1 0\nparked 1 0.1 0\n"


def trees(tmp_path, counts=(30, 20, 2), **choice) -> DataTrees:
    return DataTrees(TreeChoice(**choice), make_data(tmp_path / "data", counts), tmp_path / "trees")


def used(found: DataTrees, layers: int = 2, profile: str = "paper") -> PredicateTree:
    return PredicateTree.load(found.overrides(layers, profile)["HML.TREE.FILE"])


@pytest.mark.parametrize("predicates, layers, edges", [
    (50, 2, (10,)), (50, 4, (10, 20, 35)), (70, 2, (14,)), (5, 2, (1,)), (5, 3, (1, 4)), (4, 4, (1, 2, 3)), (3, 1, ()),
])  # fmt: skip
def test_the_released_split_at_the_size_of_the_vocabulary(predicates, layers, edges):
    assert frequency_boundaries(predicates, layers) == edges


def test_without_vectors_frequency_decides(tmp_path):
    found = trees(tmp_path)
    assert used(found).layers == {"on": 1, "of": 2, "parked on": 2}
    assert used(found, 3).layers == {"on": 1, "of": 2, "parked on": 3}
    assert "no shipped tree has these predicates: layered by frequency alone; layer 1: 1 pred" in found.describe(2)


def test_with_vectors_meaning_decides(tmp_path, monkeypatch):
    path, digests = tmp_path / "v.txt", []
    path.write_text(VECTORS)
    found = trees(tmp_path, vectors=path)
    digest = vectors._file_digest
    monkeypatch.setattr(vectors, "_file_digest", lambda *args: digests.append(args) or digest(*args))
    assert used(found).layers == {"on": 1, "of": 1, "parked on": 2} and found.kind == "clustered"
    assert "clustered by word vectors" in found.describe(2)
    assert len(digests) == 1  # of a file of GB, for a grid of many runs


def test_a_predicate_that_training_never_shows_makes_no_layer(tmp_path):
    assert used(trees(tmp_path, (30, 20, 0))).layers == {"on": 1, "of": 2, "parked on": 2}
    build_frequency_tree(["on", "of", "parked on"], {"on": 3, "of": 2, "parked on": 1}, boundaries=(2,)).save(
        tmp_path / "tree.json")
    found = DataTrees(TreeChoice(str(tmp_path / "tree.json")), tmp_path / "data", tmp_path / "trees")
    with pytest.raises(HMLError, match=r"layer 2 of the predicate tree \(parked on\) has no relation"):
        found.overrides(2)
    (tmp_path / "few").mkdir()
    with pytest.raises(HMLError, match="1 predicates occur in the training split, too few for 2 layers"):
        trees(tmp_path / "few", (30, 0, 0)).overrides(2)


def test_a_profile_that_builds_its_tree_keeps_it_where_it_fits(tmp_path, monkeypatch):
    found = trees(tmp_path)
    assert used(found, 2, "tuned").num_layers == 2  # its 15 predicates of layer 1 are more than there are
    assert "layered by frequency alone" in found.describe(2, "tuned")
    monkeypatch.setattr(tree_choice, "merge_profile", lambda cfg, profile: cfg.merge_from_list(
        ["HML.TREE.BUILDER", "frequency", "HML.TREE.BOUNDARIES", "(2,)"]))
    assert found.overrides(2, "tuned") == {}
    assert "by frequency, as the profile tuned builds it; layer 1: 2 predicates (on, of)" in found.describe(2, "tuned")
    chosen = DataTrees(TreeChoice("frequency"), tmp_path / "data", tmp_path / "trees")
    assert used(chosen, 2, "tuned").layers["of"] == 2


def test_a_tree_of_another_vocabulary_is_refused(tmp_path):
    build_frequency_tree(["a", "b"], {"a": 2, "b": 1}, boundaries=(1,)).save(tmp_path / "tree.json")
    with pytest.raises(HMLError, match="tree and dataset have different predicates"):
        trees(tmp_path, which=str(tmp_path / "tree.json")).overrides(2)
