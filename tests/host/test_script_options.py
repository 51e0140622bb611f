"""A script's own options, as forks have them, pass through ``hml run``; the script's parser has the last word."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import hook_points
from maskrcnn_benchmark_hml.host.launch import prepare_command_line, run_script
from maskrcnn_benchmark_hml.host.locate import locate
from maskrcnn_benchmark_hml.host.script_options import config_file, on_parsed
from maskrcnn_benchmark_hml.resources import config_root, embedded_root

from .conftest import run_options

OWN = '''
    parser.add_argument("--my-opt", type=int, default=0)
    parser.add_argument("--flag", action="store_true")
'''


@pytest.fixture
def fork(tmp_path) -> Path:
    """The training script as a fork has it: two more options, and ``train`` only notes what it was called with."""
    text = (embedded_root() / "tools" / "relation_train_net.py").read_text()
    start = '    parser = argument_parser("Train a relation head")\n'
    assert start in text
    text = text.replace(start, start + OWN)
    started = "start_training(parser, cfg, check_settings)\n"
    assert started in text
    text = text.replace(started, started + "    SEEN.update(vars(args))\n")
    text = text.replace("    model = train(", "    return  # no test trains\n    model = train(")
    path = tmp_path / "fork_train.py"
    path.write_text(text.replace("LOAD_MAPPING =", "SEEN = {}\nLOAD_MAPPING =", 1))
    return path


def seen() -> dict:
    return sys.modules["hml_host_fork_train"].SEEN


@pytest.mark.parametrize("own", [["--my-opt", "3"], ["--my-opt=3", "--flag"], ["--flag", "--my-opt", "3"]])
@pytest.mark.parametrize("enabled", ["False", "True"])
def test_a_forks_own_options(fork, tiny_vg, tmp_path, own, enabled):
    words = run_options(tiny_vg, tmp_path / "out", "HML.ENABLED", enabled)[3:]
    for argv in ([*own, *words], [*words[:2], *own, *words[2:]]):
        run_script(str(fork), argv, data=str(tiny_vg))
        assert seen()["my_opt"] == 3 and seen()["flag"] == ("--flag" in own) and seen()["skip_test"]
        assert seen()["opts"][:2] == ["OUTPUT_DIR", str(tmp_path / "out")]


def test_what_stands_behind_them_is_checked(fork, tiny_vg, tmp_path):
    words = run_options(tiny_vg, tmp_path / "out", "HML.STAGES.LABELS", "only,only,only")[3:]
    with pytest.raises(HMLError, match="3 entries but the tree has 2"):
        run_script(str(fork), ["--my-opt", "3", *words], data=str(tiny_vg))
    assert not (tmp_path / "out").exists()


def test_an_option_that_the_script_has_not(fork, tiny_vg, capsys):
    with pytest.raises(SystemExit):
        run_script(str(fork), ["--my-opt", "three"], data=str(tiny_vg))
    assert "argument --my-opt: invalid int value: 'three'" in capsys.readouterr().err


def test_a_misspelt_setting_names_the_nearest(tiny_vg, tmp_path):
    words = run_options(tiny_vg, tmp_path / "out", "HML.ENABLED", "False", "SOLVER.BASE_LRR", "1")[3:]
    with pytest.raises(HMLError, match="no key SOLVER.BASE_LRR; did you mean SOLVER.BASE_LR"):
        run_script("tools/relation_train_net.py", words, data=str(tiny_vg))


@pytest.mark.parametrize("content", [b"\x89PNG\xff", b"- a\n- b\n", b"words"])
def test_a_config_that_is_none(tiny_vg, tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(HMLError, match="config.yaml"):
        run_script("tools/relation_train_net.py", ["--config-file", str(path)], data=str(tiny_vg))


def test_a_script_without_main(tmp_path):
    (tmp_path / "flat.py").write_text("train = None\n")
    with pytest.raises(HMLError, match=r"flat.py has no function main\(\)"):
        run_script(str(tmp_path / "flat.py"), [])


def test_a_script_imports_what_is_beside_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_script.py").write_text("WORD = 'found'\n")
    (tmp_path / "script.py").write_text(
        "from beside_the_script import WORD\n\n\ndef main():\n    print('the word is', WORD)\n"
    )
    run_script(str(tmp_path / "script.py"), [])
    assert "the word is found" in capsys.readouterr().out


def test_the_config_file_is_found_anywhere():
    assert config_file(["--my-opt", "3", "--config-file", "a.yaml", "K", "1"]) == "a.yaml"
    assert config_file(["--flag", "--config-file=a.yaml"]) == "a.yaml"
    assert config_file(["--config-file"]) == config_file([]) == ""


@pytest.mark.parametrize("before", [[], ["--flag", "K", "1"]])
@pytest.mark.parametrize("after", [[], ["OUTPUT_DIR", "out"]])
@pytest.mark.parametrize("joined", [False, True])
def test_a_shipped_config_is_found_wherever_the_option_stands(tmp_path, monkeypatch, before, after, joined):
    """First, in between, or as the last word of the command; as one word or as two."""
    monkeypatch.chdir(tmp_path)
    name, found = "configs/demo/relation.yaml", str(config_root() / "demo" / "relation.yaml")
    given, expected = ([f"--config-file={p}"] if joined else ["--config-file", p] for p in (name, found))
    assert prepare_command_line([*before, *given, *after], locate(None)) == [*before, *expected, *after]
    with pytest.raises(HMLError, match="the config file configs/absent.yaml does not exist"):
        prepare_command_line([*before, *(w.replace(name, "configs/absent.yaml") for w in given), *after], locate(None))


def test_a_config_file_without_a_name_is_left_to_the_scripts_parser():
    for words in (["--config-file="], ["--config-file"], ["--flag", "--config-file="]):
        assert prepare_command_line(words, locate(None)) == words


@pytest.mark.parametrize("option", ["--config-file", "--config", "--conf="])
def test_the_profile_of_a_config_file_acts_however_the_file_is_given(fork, tiny_vg, tmp_path, option):
    shipped, *rest = run_options(tiny_vg, tmp_path / "out")[4:]
    file = tmp_path / "run.yaml"
    file.write_text(Path(shipped).read_text() + "\nHML:\n  PROFILE: released\n")
    given = [option + str(file)] if option.endswith("=") else [option, str(file)]
    run_script(str(fork), [*given, *rest], data=str(tiny_vg))
    numbers = hook_points.benchmark_config().HML
    assert (numbers.PROFILE, numbers.FISHER.MODE) == ("released", "ema")


def test_one_check_with_the_first_arguments_that_hold_settings():
    calls, original = [], argparse.ArgumentParser.parse_args
    first, second = argparse.ArgumentParser(), argparse.ArgumentParser()
    first.add_argument("--gpu")
    second.add_argument("opts", nargs=argparse.REMAINDER)
    with on_parsed(calls.append):
        first.parse_args(["--gpu", "1"])
        parsed, _ = second.parse_known_args(["A", "1"])
        second.parse_args(["B", "2"])
    assert calls == [parsed] and argparse.ArgumentParser.parse_args is original
