"""Settings from a file and a command line: what is no settings file gets one sentence with its name."""

from __future__ import annotations

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config, get, requested_profile
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.merge import merge_settings, our_reader, read_config

NO_SETTINGS = {
    "binary": (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "not a text file in UTF-8"),
    "zeros": (b"\x00\x00", "not valid YAML"),
    "broken": (b"SOLVER:\n  A: [1\nB: 2\n", "not valid YAML at line 3"),
    "GBK": ("# 训练\nSOLVER: {}\n".encode("gbk"), "not a text file in UTF-8"),
    "list": (b"- SOLVER\n- MODEL\n", "holds a list and no settings"),
    "scalar": (b"just words", "holds a single value and no settings"),
}


def settings() -> CfgNode:
    return CfgNode({"SOLVER": {"BASE_LR": 0.1, "STEPS": (1, 2)}, "OUTPUT_DIR": ""})


@pytest.mark.parametrize("case", NO_SETTINGS)
def test_a_file_that_holds_no_settings(case, tmp_path):
    content, said = NO_SETTINGS[case]
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    for read in (
        lambda: read_config(path), lambda: merge_settings(settings(), str(path), []),
        lambda: requested_profile([], str(path)),
    ):  # fmt: skip
        with pytest.raises(HMLError, match=said) as caught:
            read()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_suffixes_folders_and_empty_files(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(HMLError, match="suffix .json, which yacs does not read"):
        merge_settings(settings(), str(tmp_path / "run.json"), [])
    with pytest.raises(HMLError, match="cannot be read"):
        read_config(tmp_path)
    (tmp_path / "empty.yaml").write_text("")
    assert read_config(tmp_path / "empty.yaml") == {}
    (tmp_path / "hml.yaml").write_text("HML: 3\n")
    assert requested_profile([], str(tmp_path / "hml.yaml")) == "paper"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["SOLVER.BASE_LRR", "1"], "no key SOLVER.BASE_LRR; did you mean SOLVER.BASE_LR?"),
        (["OUTPUT_DIR", "a", "SOLVER.BASE_LR"], "SOLVER.BASE_LR has no value"),
        (["SOLVER.BASE_LR", "fast"], "see the list for the keys and their types"),
        (["SOLVER.BASE_LR.X", "1"], "command line: "), (["SOLVER", "1"], "command line: "),
        (["XYZZY", "1"], "no key XYZZY; the list lists all keys"),
    ],
)
def test_a_command_line_that_does_not_fit(options, said):
    with pytest.raises(HMLError) as caught:
        merge_settings(settings(), "", options, "the list")
    assert said in str(caught.value)


def of_file(tmp_path, text: str) -> CfgNode:
    """The settings with HML's keys after a file with this text."""
    cfg = add_hml_config(settings())
    (tmp_path / "run.yaml").write_text(text)
    with our_reader():  # a host's script merges the file by itself
        cfg.merge_from_file(str(tmp_path / "run.yaml"))
    return cfg


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("HML: {CR: {WEIGHT: 5}}", "CR.WEIGHT", 5.0), ("HML: {STAGES: {LABELS: only}}", "STAGES.LABELS", ("only",)),
        ("HML: {STAGES: {LABELS: 'only, all'}}", "STAGES.LABELS", ("only", "all")),
        ("HML: {STAGES: {ITERATIONS: 1}}", "STAGES.ITERATIONS", (1,)), ("HML: {TEST: {TAU: 0.5}}", "TEST.TAU", (0.5,)),
        ("HML: {LOSS: {EXPONENT: [5e-1, 1]}}", "LOSS.EXPONENT", (0.5, 1)), ("HML:", "CR.WEIGHT", 1.0),
        ("HML: {TREE: {ACTIONS: ['on', playing]}}", "TREE.ACTIONS", ("on", "playing")),
        ("HML: {CR: }\nSOLVER:", "CR.WEIGHT", 1.0), ("\ufeffHML: {SEED: 3}", "SEED", 3),
    ],
)
def test_a_file_takes_the_values_that_the_command_line_takes(text, key, value, tmp_path):
    found = get(of_file(tmp_path, text), key)
    assert (tuple(found) if isinstance(found, (list, tuple)) else found) == value


def test_a_hosts_own_keys_stay_by_its_own_rule(tmp_path):
    assert of_file(tmp_path, "SOLVER: {STEPS: [1e1, 20]}").SOLVER.STEPS == (10.0, 20)
    with pytest.raises(HMLError, match="SOLVER.BASE_LR is 1; give a number with a decimal point such as 1.0"):
        of_file(tmp_path, "SOLVER: {BASE_LR: 1}")
    assert CfgNode.merge_from_file.__module__ == "yacs.config"
