"""The command line: quick, teaching, and one sentence per error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types

import pytest

from maskrcnn_benchmark_hml import __version__, cli
from maskrcnn_benchmark_hml.errors import HMLError

from .waiting import HUNG


@pytest.mark.parametrize("words", [["--help"], [], ["--version"], ["run", "--help"], ["demo", "--help"]])
def test_help_needs_no_torch(words):
    code = (
        "import sys; from maskrcnn_benchmark_hml.cli import main\n"
        f"try: code = main({words!r})\nexcept SystemExit as e: code = e.code\n"
        "heavy = {'torch', 'numpy', 'gensim', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("hml" in done.stdout) and (__version__ in done.stdout or "usage: hml" in done.stdout)


def test_every_command_is_listed(capsys):
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"\n  {command.name}\s", printed) for command in cli.COMMANDS)


@pytest.fixture
def launched(monkeypatch):
    """Record what hml run hands to the launcher."""
    calls = []
    launch = types.ModuleType("maskrcnn_benchmark_hml.host.launch")
    launch.run_script = lambda script, argv, sgb, data: calls.append((script, argv, sgb, data))
    monkeypatch.setitem(sys.modules, "maskrcnn_benchmark_hml.host.launch", launch)
    return calls


def test_run_passes_the_scripts_words_through_untouched(launched):
    own = ["--config-file", "a.yaml", "--sgb", "x", "--help", "--", "-v", "KEY", "(1, 2)", "--data=y"]
    assert cli.main(["run", "--sgb", "D", "--data=E", "tools/a.py", *own]) == 0
    assert launched == [("tools/a.py", own, "D", "E")]


def test_run_takes_the_launchers_rank_flag(launched):
    assert cli.main(["--local-rank=1", "run", "tools/a.py", "KEY", "1"]) == 0
    assert launched == [("tools/a.py", ["--local-rank=1", "KEY", "1"], None, None)]


@pytest.mark.parametrize("words", ["run", "run --nosuch a.py", "run --sgb", "nosuch", "demo --nosuch"])
def test_wrong_words_exit_2(words, launched, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(words.split())
    assert stop.value.code == 2 and "error:" in capsys.readouterr().err and not launched


@pytest.mark.parametrize(
    "raised, code, said",
    [
        (HMLError("the thing is wrong; do this"), 2, "hml: error: the thing is wrong; do this\n"),
        (KeyboardInterrupt(), 130, "hml: interrupted"),
    ],
)
def test_errors_become_one_sentence_and_an_exit_code(monkeypatch, capsys, raised, code, said):
    def fail(words):
        raise raised

    monkeypatch.setattr(cli, "dispatch", fail)
    assert cli.main(["demo"]) == code
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("name", [command.name for command in cli.COMMANDS])
def test_ctrl_c_promises_what_the_command_keeps(monkeypatch, capsys, name):
    def interrupt(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "dispatch", interrupt)
    assert cli.main([name, "x"]) == 130
    said = capsys.readouterr().err
    goes_on = ("demo", "experiment", "predict")
    assert ("continues" in said) == (name in ("run", *goes_on)) and said.count("\n") == 1
    assert ("starts from the beginning" in said) == (name not in goes_on)


def test_a_reader_that_leaves_early_gets_no_traceback():
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "maskrcnn_benchmark_hml", "experiment", "list"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=HUNG)
    os.close(writes)
    assert done.stderr == ""
    assert done.returncode == 1
