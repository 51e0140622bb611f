"""The table of usage mistakes on SGB itself: the same sentences, and what SGB asserts without a word."""

from __future__ import annotations

import os
import subprocess
import sys

from .conftest import REPO


def test_the_table_on_sgb(sgb, environ, tmp_path):
    environ = {name: text for name, text in environ.items() if name not in ("SGB_HOME", "HML_DATA", "WORLD_SIZE")}
    command = [sys.executable, "-m", "tests.upstream.mistakes_run", str(sgb), str(tmp_path)]
    done = subprocess.run(command, cwd=REPO, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, os.linesep.join([done.stdout, done.stderr[-3000:]])
