"""run_folder.py alone spells the paths of a run, and the table of files in the docs is its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.metrics.matches import MATCHES_FILE
from maskrcnn_benchmark_hml.run_folder import FILES, MATCHES, RunFolder, results_above

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
