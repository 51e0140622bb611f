"""Text tables of recall."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.report import tables

LAYERS = {"on": 1, "of": 1, "parked on": 2, "riding": 2}


def metrics(shift: float = 0.0) -> dict:
    per = {"on": 0.5 - shift, "of": 0.3, "parked on": 0.0 + 2 * shift, "riding": None}
    keys = {key: 0.4 + shift for key in tables.RECALL_KEYS}
    return {**keys, "per_predicate": {f"R@{k}": per for k in tables.KS}}


def test_columns_line_up():
    text = tables.format_table(["", "a", "long"], [["x", "1.0", "2"], ["longer", "10.0", "3"]])
    assert text == "           a  long\n------  ----  ----\nx        1.0     2\nlonger  10.0     3"
    with pytest.raises(ValueError, match="2 columns, the header 3"):
        tables.format_table(["", "a", "b"], [["x", "y"]])


def test_percent_mean_and_spread():
    assert tables.percent([0.301, 0.311]) == "30.6 +-0.7"
    assert tables.percent([0.25]) == "25.0" and tables.percent([None]) == "-" and tables.percent([0.2, None]) == "20.0"


def test_layer_means_leave_out_predicates_without_test_examples():
    assert tables.layer_recall(metrics(0.1), LAYERS, 50) == {1: pytest.approx(0.35), 2: pytest.approx(0.2)}
    assert tables.layer_recall(metrics(), {"riding": 1}, 20) == {1: None}


def test_tables_of_runs_and_layers():
    runs = {"baseline": [metrics()], "HML": [metrics(0.1), metrics(0.2)]}
    lines = tables.runs_table(runs).splitlines()
    assert lines[0].split() == list(tables.RECALL_KEYS) and lines[2].split() == ["baseline"] + ["40.0"] * 6
    assert "55.0 +-7.1" in lines[3]
    lines = tables.layers_table(runs, LAYERS).splitlines()
    assert "layer 1 @20" in lines[0] and "layer 2 @100" in lines[0]
    assert lines[2].split()[1:] == ["40.0"] * 3 + ["0.0"] * 3


def test_largest_changes_first():
    text = tables.changes_table([metrics()], [metrics(0.1), metrics(0.1)], LAYERS, rows=2).splitlines()
    assert text[2].split() == ["parked", "on", "2", "0.0", "20.0", "+20.0"]
    assert text[3].split() == ["on", "1", "50.0", "40.0", "-10.0"] and len(text) == 4
