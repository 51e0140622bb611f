"""Which tree a run gets: each HML.TREE setting acts on any tree, or is refused."""

from __future__ import annotations

import json

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config, merge_profile
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.resources import config_file
from maskrcnn_benchmark_hml.training.trees import find_tree, one_stage_tree, resolve_tree, shipped_tree

SHIPPED = PredicateTree.load(config_file("trees/vg150_clustered.json"))
CLASSES = ["__background__", *SHIPPED.predicates]


def tree(profile: str = "", **settings):
    cfg = add_hml_config(CfgNode())
    if profile:
        merge_profile(cfg, profile)
    for name, value in settings.items():
        cfg.HML.TREE[name] = value
    return resolve_tree(cfg.HML.TREE, CLASSES, SHIPPED.counts)


def sizes(tree: PredicateTree) -> list[int]:
    return [len(tree.layer(k)) for k in range(1, tree.num_layers + 1)]


@pytest.fixture
def overrides(tmp_path) -> str:
    path = tmp_path / "overrides.json"
    path.write_text(json.dumps({"riding": {"group": "on", "layer": 1}, "has": 2}))
    return str(path)


def test_the_shipped_tree_takes_layers_and_overrides(overrides):
    assert tree() == SHIPPED and tree(LAYERS=2) == SHIPPED
    assert tree(LAYERS=3) == SHIPPED.with_layers(3)
    changed = tree(OVERRIDES=overrides)
    assert changed.layers["riding"] == 1 and changed.layers["has"] == 2 and changed.coarse_of("riding") == "on"
    both = tree(OVERRIDES=overrides, LAYERS=3)
    assert both.num_layers == 3 and both.layers["riding"] == 1 and both.layers["has"] == 2


def test_a_given_file_takes_layers_and_overrides(overrides):
    file = str(config_file("trees/vg150_frequency10.json"))
    assert sizes(tree(FILE=file)) == [10, 40] and sizes(tree(FILE=file, LAYERS=3)) == [10, 25, 15]
    assert tree(FILE=file, OVERRIDES=overrides).layers["has"] == 2
    assert sizes(tree("tuned", FILE=file)) == [10, 40]  # a file goes before a profile's builder


def test_the_frequency_builder_takes_layers_overrides_and_vectors(overrides, tmp_path):
    assert sizes(tree(BUILDER="frequency")) == [10, 40]
    assert sizes(tree(BUILDER="frequency", LAYERS=4)) == [10, 10, 15, 15]
    assert sizes(tree(BUILDER="frequency", BOUNDARIES=(5, 20), LAYERS=3)) == [5, 15, 30]
    assert tree(BUILDER="frequency", OVERRIDES=overrides).coarse_of("riding") == "on"
    words = sorted({word for name in CLASSES[1:] for word in name.split()})
    vectors = tmp_path / "one.vec"
    vectors.write_text(f"{len(words)} 2\n" + "".join(f"{word} 1 0\n" for word in words))
    assert len(tree(BUILDER="frequency", VECTORS=str(vectors)).groups) == 1
    with pytest.raises(HMLError, match="TREE.LAYERS is 3, but HML.TREE.BOUNDARIES .8,. gives 2 layers; give 2 ranks"):
        tree("released", LAYERS=3)


def test_every_way_to_a_tree_takes_overrides_by_layer(tmp_path):
    """A layer given by hand has the last word: built or made before, and in another number of layers."""
    path = tmp_path / "layers.json"
    path.write_text(json.dumps({"on": {"layer": 2}, "riding": 1}))
    words = sorted({word for name in CLASSES[1:] for word in name.split()})
    vectors = tmp_path / "axes.vec"
    rows = (f"{word} " + " ".join("1" if i == at else "0" for i in range(len(words))) for at, word in enumerate(words))
    vectors.write_text(f"{len(words)} {len(words)}\n" + "\n".join(rows) + "\n")
    clustered = {"BUILDER": "clustered", "VECTORS": str(vectors)}
    file = {"FILE": str(config_file("trees/vg150_frequency10.json"))}
    for settings in ({}, {"LAYERS": 3}, file, {**file, "LAYERS": 4}, {"BUILDER": "frequency"}, clustered):
        by_hand = tree(**settings, OVERRIDES=str(path))
        assert (by_hand.layers["on"], by_hand.layers["riding"]) == (2, 1)
    for start in (tree(OVERRIDES=str(path)), tree(**file, OVERRIDES=str(path))):
        again = start.with_layers(3)
        assert (again.layers["on"], again.layers["riding"], again.num_layers) == (2, 1, 3)


def test_a_tree_that_is_not_found_is_named(tmp_path):
    absent = str(tmp_path / "absent.json")
    with pytest.raises(HMLError, match="HML.TREE.FILE .*absent.json does not exist; make a tree with hml tree"):
        tree(FILE=absent)
    with pytest.raises(HMLError, match="the override file .*absent.json does not exist"):
        tree(OVERRIDES=absent)
    with pytest.raises(HMLError, match=r"no shipped tree has this dataset's 2 predicates \(eats, flies, ...\); make"):
        shipped_tree(["eats", "flies"])
    settings = add_hml_config(CfgNode()).HML.TREE
    with pytest.raises(HMLError, match="no shipped tree"):
        resolve_tree(settings, [CLASSES[0], "eats", "flies"], {"eats": 2, "flies": 1})
    assert one_stage_tree(settings, [CLASSES[0], "eats", "flies"], {"eats": 2, "flies": 1}).num_layers == 1
    settings.FILE = absent
    with pytest.raises(HMLError, match="does not exist"):
        one_stage_tree(settings, CLASSES, SHIPPED.counts)
    settings.FILE = str(config_file("trees/vrd.json"))
    with pytest.raises(HMLError, match="tree and dataset have different predicates"):
        resolve_tree(settings, CLASSES, SHIPPED.counts)


def test_the_tree_of_the_vocabulary_is_found_whatever_stands_before_it(tmp_path):
    PredicateTree.load(config_file("trees/vrd.json")).save(tmp_path / "a.json")
    SHIPPED.save(tmp_path / "b.json")
    assert find_tree(tmp_path, "*.json", SHIPPED.predicates[::-1]) == SHIPPED
    assert find_tree(tmp_path, "*.json", SHIPPED.predicates[1:]) is None


@pytest.mark.parametrize("builder", ["", "frequency"])
def test_what_could_not_act_is_refused(builder):
    with pytest.raises(HMLError, match="HML.TREE.ACTIONS .*empty"):
        tree(BUILDER=builder, ACTIONS=("eating",))
    if not builder:
        for name, value in (("VECTORS", "some.vec"), ("SKIP_WORDS", ("of",))):
            with pytest.raises(HMLError, match=f"HML.TREE.{name} is .*, but no tree is built at start; add"):
                tree(**{name: value})


def test_a_given_file_without_a_builder_leaves_nothing_to_build_with(caplog):
    file = str(config_file("trees/vg150_frequency10.json"))
    for name, value in (("VECTORS", "some.vec"), ("SKIP_WORDS", ("of",)), ("ACTIONS", ("eating",))):
        with pytest.raises(HMLError, match=f"HML.TREE.{name} is .*, but no tree is built at start; add"):
            tree(FILE=file, **{name: value})
    caplog.set_level("INFO")
    assert "BOUNDARIES" not in caplog.text and tree(FILE=file, BOUNDARIES=(4, 9)).num_layers == 2
    assert "HML.TREE.BOUNDARIES (4, 9) is not used without HML.TREE.BUILDER frequency" in caplog.text
    caplog.clear()
    assert tree(FILE=file, BUILDER="clustered", VECTORS="some.vec", ACTIONS=("eating",)).num_layers == 2
    assert "the tree is that of HML.TREE.FILE; HML.TREE.BUILDER clustered is not used" in caplog.text
    assert "BOUNDARIES" not in caplog.text
    with pytest.raises(HMLError, match="HML.TREE.BUILDER clustered needs word vectors; give their file as HML.TREE.V"):
        tree(BUILDER="clustered")


def test_released_is_split_by_frequency_as_the_released_code():
    released = tree("released")
    assert released.builder == "frequency" and sizes(released) == [8, 42]
    ranked = sorted(SHIPPED.predicates, key=lambda name: -SHIPPED.counts[name])
    assert set(released.layer(1)) == set(ranked[:8])
    assert sizes(tree("released", BOUNDARIES=(10,))) == [10, 40]
    assert tree("released", BUILDER="") == SHIPPED  # the clustered tree stays one setting away
