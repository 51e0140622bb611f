"""run_folder.py alone spells the paths of a run, and the table of files in the docs is its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.metrics.matches import MATCHES_FILE
from maskrcnn_benchmark_hml.run_folder import FILES, MATCHES, RunFolder, newest_checkpoint, results_above

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "maskrcnn_benchmark_hml"
NAMES = {"memory.pt", "settings.json", "stages.json", "last_checkpoint", "importance.json", "metrics.json", "cell.json",
         "result_dict.pytorch", "eval_results.pytorch", "console.log", "cell.lock", ".hml.pt", "model_final.pth"}


def test_the_table_in_the_docs():
    text = (ROOT / "docs" / "on-your-sgb.md").read_text("utf-8")
    table = text.split("| in `OUTPUT_DIR` | what |")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", table, re.M)) == FILES


def test_nothing_else_spells_a_path_of_a_run():
    found = {f"{path.relative_to(PACKAGE)}: {node.value}" for path in PACKAGE.rglob("*.py")
             if path.name != "run_folder.py" and "embedded" not in path.parts
             for node in ast.walk(ast.parse(path.read_text("utf-8")))
             if isinstance(node, ast.Constant) and node.value in NAMES}
    assert found == set() and MATCHES_FILE == MATCHES


@pytest.mark.parametrize("below", ["", "inference/VG_test", "hml/stage1", "hml/stage1/inference/VG_test"])
def test_the_tree_is_found_from_every_folder_of_a_run(tmp_path, below):
    run = RunFolder(tmp_path)
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    run.hml.mkdir(exist_ok=True)
    assert results_above(tmp_path / below, "tree.json") == []
    run.tree.touch()
    assert results_above(tmp_path / below, "tree.json") == [run.tree.absolute()]


#: What stands in last_checkpoint -> what is said of it.
UNUSABLE = {
    "": "names nothing, which does not exist",
    " \n": "names nothing, which does not exist",
    "model_0000009.pth": "names model_0000009.pth, which does not exist",
    "model_0000001.pth".encode("utf-16"): "last_checkpoint is text in UTF-16, not in UTF-8",
    "modèle.pth".encode("latin-1"): "not in UTF-8",
    None: "is a folder, not a file",
}


@pytest.mark.parametrize("content", UNUSABLE, ids=repr)
def test_a_last_checkpoint_that_names_none(tmp_path, content):
    for name in ("model_0000001.pth", "model_0000001.hml.pt", "model_0000002.pth"):
        (tmp_path / name).touch()
    tag = tmp_path / "last_checkpoint"
    tag.mkdir() if content is None else tag.write_bytes(content.encode() if isinstance(content, str) else content)
    remedy = "; make it a text file with the name of model_0000001.pth, or delete it to start anew"
    with pytest.raises(HMLError, match=f"{UNUSABLE[content]}.*{remedy}") as caught:
        newest_checkpoint(tmp_path)
    assert str(caught.value).startswith(str(tag)) and "\n" not in str(caught.value)


def test_in_a_copied_folder_the_file_beside_wins(tmp_path):
    original, copy = tmp_path / "A", tmp_path / "B"
    for folder in (original, copy):
        folder.mkdir()
        (folder / "model_0000001.pth").touch()
        (folder / "last_checkpoint").write_text(str(original / "model_0000001.pth"))
    assert newest_checkpoint(copy) == copy / "model_0000001.pth"
    (copy / "model_0000001.pth").unlink()
    assert newest_checkpoint(copy) == original / "model_0000001.pth"
    (copy / "last_checkpoint").unlink()
    assert newest_checkpoint(copy) is None
