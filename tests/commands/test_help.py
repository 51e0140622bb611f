"""--help of all commands: the page of docs/, an example, the defaults, and nothing heavy imported for it."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.commands.data import COMMANDS as DATA_COMMANDS
from maskrcnn_benchmark_hml.commands.help import DOCS
from maskrcnn_benchmark_hml.commands.report import KINDS, with_kind
from maskrcnn_benchmark_hml.commands.run import run_parser
from maskrcnn_benchmark_hml.experiments import presets
from maskrcnn_benchmark_hml.metrics import choices as metrics_choices

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = ["", *(command.name for command in cli.COMMANDS), *(f"data {name}" for name in DATA_COMMANDS),
            *(f"report {kind}" for kind in KINDS)]
#: Their parsers still stand beside what they run.
ELSEWHERE = [command.name for command in cli.COMMANDS if command.adder.startswith("experiments.")]
SUBPARSERS = argparse._SubParsersAction


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser whose help `hml COMMAND --help` prints."""
    if command == "run":
        return run_parser()
    words = with_kind(command.split()) if command.startswith("report") else command.split()
    parser = cli.build_parser(command.split()[0] if command else None)
    for word in words:
        (choices,) = (action.choices for action in parser._actions if isinstance(action, SUBPARSERS))
        parser = choices[word]
    return parser


@pytest.fixture(params=COMMANDS, ids=lambda command: command or "hml")
def command(request):
    return request.param


@pytest.fixture
def shown(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_a_page_is_named_and_exists(command, shown):
    (page,) = re.findall(r"^Documentation: (\S+)$", shown, re.M)
    assert (REPOSITORY / page).is_file()
    assert command in ("demo", "experiment") or page == DOCS[command.split()[0] if command else "hml"]


def test_an_example_parses(command, shown):
    if command == "demo" and command in ELSEWHERE:
        pytest.skip("the parser of demo is not in commands/ yet")
    _, examples = re.split(r"^examples?:\n", shown, flags=re.M)
    lines = [line.split("   ")[0].split() for line in re.findall(rf"^  hml {command}\b.*", examples, re.M)]
    assert lines
    for words in (with_kind(line[1:]) for line in lines if "COMMAND" not in line and line[1] != "run"):
        cli.build_parser(words[0].split()[0]).parse_args(words)


def test_defaults_are_shown(command):
    parser = parser_of(command)
    silent = [action.option_strings for action in parser._actions
              if action.option_strings and action.nargs != 0 and action.help != argparse.SUPPRESS
              and action.default not in (None, "", (), argparse.SUPPRESS) and "default" not in action.help]
    assert not silent
    assert all(action.help for action in parser._actions)


def test_no_row_without_a_text_and_no_option_without_effect(command, shown):
    assert not re.search(r"^ *(COMMAND|\{[a-z,-]+\}) *$", shown.partition("examples:")[0], re.M)
    assert "no effect" not in shown or command in ELSEWHERE


def test_choices_come_from_tables():
    """A list that is typed a second time stays behind: `hml demo --profile` refused a profile that existed."""
    typed = []
    for path in sorted((REPOSITORY / "maskrcnn_benchmark_hml").rglob("*.py")):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        given = [word.value for call in calls for word in call.keywords if word.arg == "choices"]
        typed += [f"{path}:{value.lineno}" for value in given if isinstance(value, (ast.Tuple, ast.List, ast.Set))]
    assert not typed
    assert tuple(presets.TASKS) == metrics_choices.TASKS


def test_help_imports_nothing_heavy():
    # `experiment` reads the shipped grids with the code that runs them.
    lines = [[*command.split(), "--help"] for command in COMMANDS if command != "experiment"]
    code = (
        "import sys; from maskrcnn_benchmark_hml.cli import main\n"
        f"for words in {lines!r}:\n"
        "    try: main(words)\n    except SystemExit as e: assert e.code == 0\n"
        "    heavy = {'torch', 'numpy', 'gensim', 'matplotlib'} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{words} imports {heavy}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words, joined", [
    ("report merged a b", ["report merged", "a", "b"]),
    ("report --csv x merged a", ["report merged", "--csv", "x", "a"]),
    ("report --csv=x --per-predicate mean-at-k a", ["report mean-at-k", "--csv=x", "--per-predicate", "a"]),
    ("report --csv merged a", ["report", "--csv", "merged", "a"]),
    ("report --html merged a", ["report", "--html", "merged", "a"]),
    ("report a merged", ["report", "a", "merged"]),
    ("report --help", ["report", "--help"]),
    ("report", ["report"]),
])
def test_the_kind_of_a_report_is_its_first_word(words, joined):
    assert with_kind(words.split()) == joined
