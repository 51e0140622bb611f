"""Settings from a file and a command line: what is no settings file gets one sentence with its name."""

from __future__ import annotations

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import requested_profile
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.merge import merge_settings, read_config

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
