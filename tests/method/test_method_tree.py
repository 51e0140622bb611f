"""Predicate trees: builders, the facts about VG150, JSON round trip, and clear errors."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.clustering import cluster_predicates
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.method.tree_builders import VG_ACTIONS, build_clustered_tree, build_frequency_tree
from maskrcnn_benchmark_hml.method.tree_file import read_overrides
from maskrcnn_benchmark_hml.method.vectors import WordVectors, load_vectors
from maskrcnn_benchmark_hml.resources import config_file

VG_GROUPS = """\
on|sitting on|standing on|walking on|laying on|painted on|parked on|mounted on|lying on|growing on|on back of
in|in front of|covered in|flying in|walking in
of|made of|part of
wearing|wears
attached to|belonging to|to
at|looking at
hanging from|from"""

PREDICATES = ("above", "on", "park on", "ride", "sit on")
COUNTS = {"above": 50, "on": 90, "park on": 3, "ride": 20, "sit on": 9}


def toy_vectors() -> WordVectors:
    # Each word has an axis of its own, and "on" outweighs the others.
    names = ["above", "on", "park", "ride", "sit"]
    matrix = np.diag([1.0, 3.0, 1.0, 1.0, 1.0]).astype(np.float32)
    return WordVectors("toy", "d" * 64, {name: i for i, name in enumerate(names)}, matrix)


def toy_tree(**changes) -> PredicateTree:
    settings = {"actions": ("ride",), "threshold": 0.7, **changes}
    return build_clustered_tree(PREDICATES, COUNTS, toy_vectors(), **settings)


def rel_classes(tree: PredicateTree) -> list[str]:
    return ["__background__", *tree.predicates]


# -- VG150 ------------------------------------------------------------------------------------------------------------


def vectors_of(place, file):
    """The word vectors of a file of the shared data, or vectors of these words that have the same dot products.

    The latter come from a table in the tests' own data: the lower triangle of the words' dot products, in its unit.
    """
    if (place / "vectors").is_dir():
        return load_vectors(place / "vectors" / f"{file}.vec")
    table = json.loads((place / f"{file}.json").read_text())
    rows = [row + [0] * (len(table["products"]) - len(row)) for row in table["products"].values()]
    products = np.tril(rows) + np.tril(rows, -1).T
    matrix = np.linalg.cholesky(products * table["unit"]).astype(np.float32)
    return WordVectors(file, "", {word: i for i, word in enumerate(table["products"])}, matrix)


def vg_counts(place):
    """(names, training counts, the counts of VG150's vocabulary file)."""
    if not (place / "vg150").is_dir():
        tree = PredicateTree.load(config_file("trees/vg150_clustered.json"))
        return list(tree.predicates), dict(tree.counts), json.loads((place / "vg150_predicate_count.json").read_text())
    vocabulary = json.loads((place / "vg150" / "VG-SGG-dicts-with-attri.json").read_text())
    names = [vocabulary["idx_to_predicate"][str(i)] for i in range(1, 51)]
    with np.load(place / "vg150" / "vg150_triplets.npz") as file:
        tally = file["fg_train"].sum((0, 1))
    counts = {name: int(tally[i]) for i, name in enumerate(names, 1)}
    merged = counts["wearing"] + counts["wears"]
    counts["wears"] = round(merged * 4810 / (4810 + 47326))
    counts["wearing"] = merged - counts["wears"]
    return names, counts, vocabulary["predicate_count"]


def same_tree(tree, shipped, vectors):
    """Equality with a shipped tree, and with the digest of its vectors where the file itself was read."""
    if vectors.digest:
        assert vectors.digest == shipped.vectors_digest
    assert dataclasses.replace(tree, vectors_digest=shipped.vectors_digest) == shipped


@pytest.mark.parametrize("order", ["training counts", "dict counts"])
def test_vg150_has_the_known_groups(tree_data, order):
    names, counts, dict_counts = vg_counts(tree_data)
    vectors = vectors_of(tree_data, "glove840B_300d_vgwords")
    tree = build_clustered_tree(names, dict_counts if order == "dict counts" else counts, vectors, threshold=0.70)
    expected = {frozenset(line.split("|")) for line in VG_GROUPS.splitlines()}
    assert {frozenset(group) for group in tree.groups if len(group) > 1} == expected
    assert len(tree.groups) == 29


@pytest.mark.parametrize("name", ["vg150_clustered", "vg150_frequency10"])
def test_shipped_vg150_trees_are_reproduced(tree_data, name):
    shipped = PredicateTree.load(config_file(f"trees/{name}.json"))
    names, counts, _ = vg_counts(tree_data)
    vectors = vectors_of(tree_data, "glove840B_300d_vgwords")
    build = {"vg150_clustered": build_clustered_tree, "vg150_frequency10": build_frequency_tree}[name]
    same_tree(build(names, counts, vectors=vectors), shipped, vectors)
    assert shipped.predicates == tuple(names)


def test_shipped_vg150_layers():
    tree = PredicateTree.load(config_file("trees/vg150_clustered.json"))
    assert tree.layer(1)[:6] == ("on", "has", "of", "wearing", "in", "near")
    assert (len(tree.layer(1)), len(tree.layer(2))) == (21, 29)
    assert all(tree.layers[name] == 2 for name in VG_ACTIONS)
    assert tree.coarse_of("parked on") == "on"
    assert tree.layer_indices(1, rel_classes(tree))[:4] == [1, 2, 3, 4]
    frequency = PredicateTree.load(config_file("trees/vg150_frequency10.json"))
    assert set(frequency.layer(1)) == {"on", "has", "of", "wearing", "in", "near", "with", "holding", "behind", "above"}


def test_shipped_vrd_tree(tree_data):
    tree = PredicateTree.load(config_file("trees/vrd.json"))
    if (tree_data / "vrd").is_dir():
        assert list(tree.predicates) == json.loads((tree_data / "vrd" / "predicates.json").read_text())
    assert tree.coarse_of("stand next to") == "next to"
    assert tree.coarse_of("park on") == "on"
    assert tree.layers["hold"] == 2 and tree.layers["wear"] == 1
    vectors = vectors_of(tree_data, "word2vec_googlenews_300d_vgwords")
    again = build_clustered_tree(
        tree.predicates, tree.counts, vectors, threshold=0.65, actions=tree.actions, skip_words=tree.skip_words
    )
    same_tree(again, tree, vectors)


# -- builders ---------------------------------------------------------------------------------------------------------


def test_clustered_tree_layers_by_rank_within_the_group():
    tree = toy_tree()
    assert tree.groups == (("on", "sit on", "park on"), ("above",), ("ride",))
    assert tree.layers == {"above": 1, "on": 1, "park on": 2, "ride": 2, "sit on": 2}
    three = toy_tree(num_layers=3)
    assert three.layers == {"above": 1, "on": 1, "park on": 3, "ride": 3, "sit on": 2}
    assert toy_tree(num_layers=1, actions=()).layer(1) == ("on", "above", "ride", "sit on", "park on")
    assert toy_tree(actions=()).layers["ride"] == 1


def test_an_action_that_shares_its_group_keeps_its_rank():
    assert toy_tree(actions=("on", "ride")).layers["on"] == 1


def test_ties_keep_the_index_order():
    tree = build_clustered_tree(PREDICATES, dict.fromkeys(PREDICATES, 7), toy_vectors())
    assert tree.groups == (("above",), ("on", "park on", "sit on"), ("ride",))


@pytest.mark.parametrize(
    ("overrides", "groups", "layers"),
    [
        ({"sit on": 1}, (("on", "sit on", "park on"), ("above",), ("ride",)), {"sit on": 1, "on": 1}),
        ({"park on": "above"}, (("on", "sit on"), ("above", "park on"), ("ride",)), {"park on": 2}),
        ({"on": "on"}, (("on",), ("above",), ("ride",), ("sit on", "park on")), {"on": 1, "sit on": 1, "park on": 2}),
        ({"on": {"group": "above", "layer": 2}}, (("on", "above"), ("ride",), ("sit on", "park on")), {"on": 2}),
    ],
)
def test_overrides_have_the_last_word(overrides, groups, layers):
    tree = toy_tree(overrides=overrides)
    assert tree.groups == groups
    assert {name: tree.layers[name] for name in layers} == layers


def test_the_order_of_overrides_does_not_matter():
    pairs = [("sit on", "ride"), ("ride", "above"), ("park on", "sit on"), ("on", "on")]
    orders = [dict(order) for order in itertools.permutations(pairs)]
    trees = [toy_tree(overrides=overrides) for overrides in orders]
    assert {tree.groups for tree in trees} == {(("on",), ("above", "ride", "sit on", "park on"))}
    with pytest.raises(HMLError, match="overrides of 'on', 'above' are circular"):
        toy_tree(overrides={"on": "above", "above": "on"})


def test_a_finished_tree_takes_overrides_as_if_built_with_them():
    for overrides in ({"sit on": 1}, {"park on": "above"}, {"on": "on"}, {"on": {"group": "above", "layer": 2}}):
        assert toy_tree().with_overrides(overrides) == toy_tree(overrides=overrides)
        frequent = build_frequency_tree(PREDICATES, COUNTS, boundaries=(2,), vectors=toy_vectors())
        built = build_frequency_tree(PREDICATES, COUNTS, boundaries=(2,), vectors=toy_vectors(), overrides=overrides)
        assert frequent.with_overrides(overrides) == built
    by_hand = dataclasses.replace(toy_tree(), layers={**toy_tree().layers, "above": 2})
    assert by_hand.with_overrides({"sit on": 1}).layers["above"] == 2  # what the file says otherwise stays


def test_equal_directions_join_at_threshold_1():
    for seed in range(100):  # in float64 the cosine similarity of a vector with itself is often not 1
        matrix = np.random.default_rng(seed).normal(size=(2, 7)).astype(np.float32)
        words = WordVectors("toy", "0", {"sit": 0, "on": 1}, matrix)
        order = ["sit on", "on sit", "sit on on sit", "on"]
        assert cluster_predicates(order, words, 1.0) == [order[:3], ["on"]]
    near = WordVectors("toy", "0", {"sit": 0, "on": 1}, np.array([[1, 0], [1, 1e-4]], dtype=np.float32))
    assert len(cluster_predicates(["sit", "on"], near, 1.0)) == 2


def test_frequency_tree():
    tree = build_frequency_tree(PREDICATES, COUNTS, boundaries=(2,))
    assert (tree.layer(1), tree.layer(2)) == (("on", "above"), ("ride", "sit on", "park on"))
    assert tree.coarse_of("sit on") == "sit on"
    assert build_frequency_tree(PREDICATES, COUNTS, boundaries=(1, 3)).layer(2) == ("above", "ride")
    grouped = build_frequency_tree(PREDICATES, COUNTS, boundaries=(2,), vectors=toy_vectors())
    assert grouped.layers == tree.layers and grouped.coarse_of("sit on") == "on"


@pytest.mark.parametrize(("layers", "sizes"), [(2, [10, 40]), (3, [10, 25, 15]), (4, [10, 10, 15, 15]), (1, [50])])
def test_released_splits(layers, sizes):
    names = [f"p{i}" for i in range(50)]
    tree = build_frequency_tree(names, {name: 100 - i for i, name in enumerate(names)}, num_layers=layers)
    assert [len(tree.layer(k)) for k in range(1, layers + 1)] == sizes


# -- file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_a_tree_is_cut_again_as_if_built_so(layers):
    two, three = toy_tree(), toy_tree(num_layers=min(layers, 3))
    assert two.with_layers(min(layers, 3)) == three
    shipped = PredicateTree.load(config_file("trees/vg150_clustered.json")).with_layers(layers)
    assert shipped.num_layers == layers and sum(len(shipped.layer(k)) for k in range(1, layers + 1)) == 50
    if layers > 2:
        assert {"parked on", "flying in"} <= set(shipped.layer(layers)) and "sitting on" in shipped.layer(2)
    if layers > 1:
        assert set(VG_ACTIONS) - {"walking in", "looking at"} <= set(shipped.layer(layers))
    frequency = PredicateTree.load(config_file("trees/vg150_frequency10.json")).with_layers(layers)
    expected = {1: (50,), 2: (10, 40), 3: (10, 25, 15), 4: (10, 10, 15, 15)}[layers]
    assert tuple(len(frequency.layer(k)) for k in range(1, layers + 1)) == expected


def test_what_cannot_be_cut_is_named():
    with pytest.raises(HMLError, match="layer 4 of 5 of the tree is empty"):
        toy_tree().with_layers(5)
    with pytest.raises(HMLError, match="number of layers is 0"):
        toy_tree().with_layers(0)
    with pytest.raises(HMLError, match="override of 'above' gives layer 2"):
        toy_tree(overrides={"above": 2}).with_layers(1)


def test_file_round_trip(tmp_path):
    tree = toy_tree(overrides={"sit on": {"layer": 1}}, skip_words=("of",))
    path = tmp_path / "new" / "tree.json"
    tree.save(path)
    assert PredicateTree.load(path) == tree
    assert PredicateTree.load(path).digest == tree.digest
    assert [p.name for p in path.parent.iterdir()] == ["tree.json"]
    assert "sit on" in tree.describe()
    assert toy_tree().digest != tree.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("groups"), "lacks 'groups'"),
        (lambda c: c.update(format="other"), "is no predicate tree"),
        (lambda c: c.update(version=9), "version 9"),
        (lambda c: c.update(groups="on"), "wrong kind"),
        (lambda c: c.update(predicates=[1, 2]), "lists of names"),
        (lambda c: c["layers"].update({"1": []}), "layers name .above. 0 times"),
        (lambda c: c["layers"].update({"3": []}), "layer 3 of 3 of the tree is empty"),
        (lambda c: c["layers"].update({"fine": ["on"]}), "a layer called 'fine'"),
        (lambda c: c["layers"].update({"\u00b2": ["on"]}), "a layer called '\u00b2'"),
        (lambda c: c["layers"].update({"-1": ["on"]}), "a layer called '-1'"),
        (lambda c: c["layers"].update({"": ["on"]}), "a layer called ''"),
        (lambda c: c["layers"].update({"0": c["layers"].pop("1")}), "into layer 0; layers run from 1 to 2"),
        (lambda c: c["layers"].update({"3": c["layers"].pop("1")}), "into layer 3; layers run from 1 to 2"),
        (lambda c: c["layers"].update({"1": "on"}), "'layers' in the tree .* must hold lists of names"),
        (lambda c: c["layers"].update({"1": [1]}), "'layers' in the tree .* must hold lists of names"),
        (lambda c: c["layers"]["1"].append("fly"), "layers name 'fly', which is no predicate"),
        (lambda c: c["groups"].append("fly"), "'groups' in the tree .* must hold lists of names"),
        (lambda c: c.update(actions=[1]), "'actions' in the tree .* must hold lists of names"),
        (lambda c: c.update(skip_words=[1]), "'skip_words' in the tree .* must hold lists of names"),
        (lambda c: c["counts"].update(on=True), "count of 'on' in the tree .* is True"),
        (lambda c: c["layers"]["1"].append("sit on"), "'sit on' into layers 1 and 2"),
        (lambda c: c["groups"][0].append("fly"), "'fly', which is no predicate"),
        (lambda c: c["groups"][0].append("above"), "'above' 2 times"),
        (lambda c: c["counts"].update(on="many"), "count of 'on'"),
        (lambda c: c["counts"].update(on=-1), "count of 'on' is -1"),
        (lambda c: c["predicates"].append("on"), "listed twice"),
    ],
)
def test_wrong_files_are_named(tmp_path, change, words):
    path = tmp_path / "tree.json"
    toy_tree().save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(HMLError, match=words):
        PredicateTree.load(path)


def test_a_cut_or_missing_file_is_named(tmp_path):
    path = tmp_path / "tree.json"
    with pytest.raises(HMLError, match="does not exist"):
        PredicateTree.load(path)
    toy_tree().save(path)
    path.write_text(path.read_text()[:200])
    with pytest.raises(HMLError, match="tree.json is cut short"):
        PredicateTree.load(path)


def test_override_files(tmp_path):
    path = tmp_path / "overrides.json"
    with pytest.raises(HMLError, match="the override file .*overrides.json does not exist; correct the path"):
        read_overrides(path)
    path.write_text('{"sit on": {"layer": 1}, "ride": 1')
    with pytest.raises(HMLError, match="the override file .*overrides.json"):
        read_overrides(path)
    for text in ("[]", '["on"]', "3", "null"):
        path.write_text(text)
        with pytest.raises(HMLError, match="must hold one object, predicate -> group or layer; rewrite it"):
            read_overrides(path)
    path.write_text('{"sit on": {"layer": 1}, "ride": 1}')
    assert read_overrides(path) == {"sit on": {"layer": 1}, "ride": 1}


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"num_layers": 0}, "number of layers is 0"),
        ({"num_layers": 5}, "layer 4 of 5 of the tree is empty"),
        ({"actions": ("rids",)}, "'rids', which is no predicate"),
        ({"overrides": {"fly": 1}}, "override names 'fly'"),
        ({"overrides": {"on": 3}}, "gives layer 3"),
        ({"overrides": {"on": {"layr": 1}}}, "override of 'on'"),
        ({"overrides": {"on": "fly"}}, "group of 'fly'"),
        ({"overrides": {"on": True}}, "override of 'on'"),
        ({"overrides": dict.fromkeys(PREDICATES, 2)}, "layer 1 of 2 of the tree is empty"),
        ({"skip_words": ("on",)}, "'on' has no vector"),
    ],
)
def test_bad_settings_are_named(changes, words):
    with pytest.raises(HMLError, match=words):
        toy_tree(**changes)


@pytest.mark.parametrize(
    ("predicates", "counts", "words"),
    [
        ((*PREDICATES, "fly on"), {**COUNTS, "fly on": 1}, "1 word of the predicates has no vector in toy: "
         r"'fly' of 'fly on'; skip it \(--skip-words fly\)"),
        ((*PREDICATES, "fly on", "co-storage with"), {**COUNTS, "fly on": 2, "co-storage with": 1},
         "3 words of the predicates have no vector in toy: 'fly' of 'fly on', 'co-storage' of 'co-storage with', "
         r"'with' of 'co-storage with'; skip them \(--skip-words fly co-storage with\)"),
        (PREDICATES, {"on": 1}, "no count for the predicate 'above'"),
        (PREDICATES, {**COUNTS, "fly": 1}, "count for 'fly'"),
        (PREDICATES, {**COUNTS, "on": 1.5}, "count of 'on' is 1.5"),
        (PREDICATES, {**COUNTS, "on": -2}, "count of 'on' is -2"),
        (("on", "on"), {"on": 1}, "listed twice"),
        (("__background__", "on"), {"on": 1, "__background__": 1}, "is no predicate"),
        ((), {}, "no predicate to build"),
    ],
)
def test_bad_vocabulary_is_named(predicates, counts, words):
    with pytest.raises(HMLError, match=words):
        build_clustered_tree(predicates, counts, toy_vectors())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boundaries": (3, 2)}, "must ascend"),
        ({"boundaries": (5,)}, "between 0 and 5"),
        ({"boundaries": (2,), "num_layers": 3}, "3 layers have 2 boundaries"),
        ({"num_layers": 7}, "no released split into 7"),
        ({}, "between 0 and 5"),
    ],
)
def test_bad_boundaries_are_named(changes, words):
    with pytest.raises(HMLError, match=words):
        build_frequency_tree(PREDICATES, COUNTS, **changes)


def test_vocabulary_difference_is_named():
    tree = toy_tree()
    tree.check_vocabulary(["__background__", *reversed(tree.predicates)])
    with pytest.raises(HMLError, match="not in the tree: fly; only in the tree: ride"):
        tree.check_vocabulary(["__background__", "above", "on", "park on", "fly", "sit on"])
    with pytest.raises(HMLError, match="__background__"):
        tree.check_vocabulary(list(tree.predicates))
    with pytest.raises(HMLError, match="listed twice"):
        tree.check_vocabulary([*rel_classes(tree), "on"])
    with pytest.raises(HMLError, match="no layer 3"):
        tree.layer(3)
    with pytest.raises(HMLError, match="no predicate 'fly'"):
        tree.coarse_of("fly")
