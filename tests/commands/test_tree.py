"""``hml tree``: from a dataset folder or a counts file to a printed, saved and drawn tree."""

from __future__ import annotations

import argparse
import json

import h5py
import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.commands.tree import add_tree_parser
from maskrcnn_benchmark_hml.datasets.training_labels import read_dataset_counts
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.report.tree_figure import draw_tree
from maskrcnn_benchmark_hml.resources import config_file

PREDICATES = ["above", "on", "sit on"]


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "toy.vec"
    path.write_text("3 3\nabove 1 0 0\non 0 3 0\nsit 0 0 1\n")
    return str(path)


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"predicates": PREDICATES, "counts": {"above": 4, "on": 9, "sit on": 2}}))
    return str(path)


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    vocabulary = {"idx_to_predicate": {str(i): name for i, name in enumerate(PREDICATES, 1)}}
    vocabulary["predicate_count"] = {"above": 99, "on": 1, "sit on": 50}  # raw VG's, not to be used
    (folder / "VG-SGG-dicts-with-attri.json").write_text(json.dumps(vocabulary))
    with h5py.File(folder / "VG-SGG-with-attri.h5", "w") as file:
        file["split"] = np.array([0, 0, 0, 2, 0])  # image 0 is for validation
        file["img_to_first_box"] = np.arange(5)
        file["img_to_first_rel"] = np.array([7, 0, 3, 4, -1])
        file["img_to_last_rel"] = np.array([8, 2, 3, 6, -1])
        file["predicates"] = np.array([[2], [2], [3], [2], [1], [1], [1], [1], [3]])
        file.attrs["num_val_images"] = 1
    return folder


def test_counts_are_those_of_the_training_images(dataset):
    assert read_dataset_counts(dataset) == (PREDICATES, {"above": 0, "on": 3, "sit on": 1})
    with h5py.File(dataset / "VG-SGG-with-attri.h5", "r+") as file:
        file.attrs["num_val_images"] = 0
    assert read_dataset_counts(dataset) == (PREDICATES, {"above": 1, "on": 3, "sit on": 2})


def test_a_tree_is_built_printed_saved_and_drawn(dataset, vectors, tmp_path, capsys):
    out, png = tmp_path / "o" / "tree.json", tmp_path / "o" / "tree.png"
    assert main(["tree", "--data", str(dataset), "--vectors", vectors, "--out", str(out), "--png", str(png)]) == 0
    tree = PredicateTree.load(out)
    assert tree.groups == (("on", "sit on"), ("above",))
    assert tree.vectors == "toy"
    printed = capsys.readouterr().out
    assert "on [1] 3, sit on [2] 1" in printed and "tree.png" in printed
    with Image.open(png) as picture:
        assert picture.format == "PNG"
    assert sorted(p.name for p in out.parent.iterdir()) == ["tree.json", "tree.png"]


def test_counts_file_frequency_and_show(counts, tmp_path, capsys):
    out = tmp_path / "tree.json"
    words = ["tree", "--counts", counts, "--builder", "frequency", "--boundaries", "1", "--out", str(out)]
    assert main(words) == 0
    assert PredicateTree.load(out).layer(1) == ("on",)
    first = capsys.readouterr().out.splitlines()
    assert main(["tree", "--show", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == first[:-1]
    # A tree file is a counts file, too.
    assert main(["tree", "--counts", str(out), "--builder", "frequency", "--boundaries", "2"]) == 0


def test_a_shown_tree_is_cut_into_other_layers(tmp_path):
    shipped, out = str(config_file("trees/vg150_clustered.json")), tmp_path / "three.json"
    assert main(["tree", "--show", shipped, "--layers", "3", "--out", str(out)]) == 0
    assert PredicateTree.load(out) == PredicateTree.load(shipped).with_layers(3)


def test_options_reach_the_builder(counts, vectors, tmp_path):
    overrides, out = tmp_path / "overrides.json", tmp_path / "tree.json"
    overrides.write_text(json.dumps({"on": {"layer": 2}}))
    words = ["tree", "--counts", counts, "--vectors", vectors, "--overrides", str(overrides), "--threshold", "0.99"]
    assert main([*words, "--actions", "above", "sit on", "--skip-words", "of", "--out", str(out)]) == 2
    assert not out.exists()  # layer 1 would be empty
    assert main([*words, "--actions", "above", "--skip-words", "of", "--out", str(out)]) == 0
    tree = PredicateTree.load(out)
    assert tree.layers == {"above": 2, "on": 2, "sit on": 1}
    assert (tree.threshold, tree.actions, tree.skip_words) == (0.99, ("above",), ("of",))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--counts", "{counts}"], "needs word vectors"),
        (["--counts", "{counts}", "--vectors", "{vectors}", "--boundaries", "1"], "--boundaries belongs to"),
        (["--counts", "{counts}", "--vectors", "nowhere.vec"], "nowhere.vec do not exist"),
        (["--counts", "nowhere.json", "--builder", "frequency"], "counts file nowhere.json does not exist"),
        (["--counts", "{vectors}", "--builder", "frequency"], "is not valid JSON at line 1"),
        (["--data", "nowhere", "--builder", "frequency"], "there is no dataset folder nowhere"),
        (["--show", "{counts}"], "is no predicate tree"),
        (["--counts", "{counts}", "--vectors", "{vectors}", "--overrides", "{vectors}"], "override file"),
        (["--counts", "{counts}", "--vectors", "{vectors}", "--actions", "fly"], "'fly', which is no predicate"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, sentence, counts, vectors, capsys, tmp_path):
    words = [word.format(counts=counts, vectors=vectors) for word in words]
    out = tmp_path / "tree.json"
    assert main(["tree", *words, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hml: error: ") and sentence in error and error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "content", [[1], {"predicates": PREDICATES}, {"predicates": PREDICATES, "counts": {"on": "9"}}]
)
def test_a_wrong_counts_file_is_named(content, tmp_path, capsys):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps(content))
    assert main(["tree", "--counts", str(path), "--builder", "frequency"]) == 2
    assert "rewrite it" in capsys.readouterr().err


def test_a_shown_tree_takes_overrides(tmp_path, capsys):
    overrides = tmp_path / "overrides.json"
    overrides.write_text(json.dumps({"riding": {"group": "on", "layer": 1}}))
    out = tmp_path / "tree.json"
    shipped = str(config_file("trees/vg150_clustered.json"))
    assert main(["tree", "--show", shipped, "--overrides", str(overrides), "--out", str(out)]) == 0
    assert PredicateTree.load(out).layers["riding"] == 1 and PredicateTree.load(out).coarse_of("riding") == "on"


def test_a_damaged_dataset_is_named(dataset):
    h5 = dataset / "VG-SGG-with-attri.h5"
    with h5py.File(h5, "r+") as file:
        file["predicates"][0] = 9
    with pytest.raises(HMLError, match=r"predicate index outside 1..3"):
        read_dataset_counts(dataset)
    content = h5.read_bytes()
    h5.write_bytes(content[: len(content) // 2])
    with pytest.raises(HMLError, match="is cut short"):
        read_dataset_counts(dataset)
    h5.unlink()
    with pytest.raises(HMLError, match="has no VG-SGG-with-attri.h5"):
        read_dataset_counts(dataset)
    (dataset / "VG-SGG-dicts-with-attri.json").write_text("{}")
    with pytest.raises(HMLError, match="no .predicate_to_idx"):
        read_dataset_counts(dataset)


def test_the_shipped_trees_can_be_drawn(tmp_path):
    for name in ("vg150_clustered", "vg150_frequency10", "vrd"):
        tree = PredicateTree.load(config_file(f"trees/{name}.json"))
        with Image.open(draw_tree(tree, tmp_path / f"{name}.png")) as picture:
            assert picture.height > 16 * len(tree.predicates)
    (tmp_path / "file").write_text("")
    with pytest.raises(HMLError, match="cannot be written"):
        draw_tree(tree, tmp_path / "file" / "tree.png")


def test_help_names_the_choices(capsys):
    parser = argparse.ArgumentParser()
    add_tree_parser(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["tree", "--help"])
    assert "--skip-words" in capsys.readouterr().out
