"""Each usage mistake gets one sentence and exit code 2, and changes nothing on disk. The table: usage_mistakes.py.

The commands run in this process, one after another: 270 of them in half a minute.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg

from .mistaken_files import write_files
from .usage_mistakes import OTHER, RUN, SHORT, lines


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the files of the table."""
    folder = tmp_path_factory.mktemp("mistakes")
    vg = make_mini_vg(tmp_path_factory.mktemp("data") / "vg", images=SMALLEST)
    write_files(folder, vg)
    return folder


def words(command: str) -> list[str]:
    """The words of a line's command, as a shell gives them."""
    first, _, rest = command.partition(" ")
    short = SHORT.get(first, first)
    return shlex.split(short.format(rest) if "{}" in short else f"{short} {rest}")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder; links are not followed."""
    found = {}
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            state = os.lstat(os.path.join(above, name))
            found[os.path.join(above, name)] = (state.st_size, state.st_mtime_ns)
    return found


@pytest.fixture
def stays(place, monkeypatch):
    """In the folder of files, without a GPU; a training or a child process that begins is an error of its own."""

    def begin(self, *args, **kwargs):
        raise AssertionError("the work has begun")

    for name in ("SGB_HOME", "HML_DATA", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", begin)
    monkeypatch.setattr(subprocess.Popen, "__init__", begin)
    monkeypatch.chdir(place)
    before = snapshot(place)
    yield
    assert snapshot(place) == before


@pytest.mark.parametrize(("command", "said"), lines(RUN + OTHER), ids=lambda text: text[:60])
def test_one_sentence_and_nothing_changed(command, said, stays, capsys):
    try:
        code = main(words(command))
    except SystemExit as leaving:  # argparse
        code = leaving.code
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert "error: " in sentence and said in sentence
    assert code == 2


def test_the_table_is_long_enough():
    commands = [command for command, _ in lines(RUN + OTHER)]
    assert len(set(commands)) == len(commands) >= 150
