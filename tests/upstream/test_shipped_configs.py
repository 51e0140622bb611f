"""SGB's own relation configs on the bundled benchmark: no key of theirs is refused for being without effect."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .conftest import REPO

pytestmark = pytest.mark.upstream
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/maskrcnn_benchmark_hml/embedded")
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.inert import check_refused, inert_keys
said = {}
for name in sys.argv[2:]:
    tree = cfg.clone()
    tree.merge_from_file(name)
    check_refused(tree)
    said[name.rpartition("/")[2]] = inert_keys(tree)
print(json.dumps(said))
"""


def test_relation_configs(sgb, environ):
    files = sorted(str(path) for path in (sgb / "configs").glob("e2e_relation_*.yaml"))
    command = [sys.executable, "-c", PROGRAM, str(REPO), *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert len(said) == len(files) >= 6
    assert "SYNC_GATHER" in said["e2e_relation_X_101_32_8_FPN_1x.yaml"]
    assert all("POS_WEIGHT" in text for text in said.values())
