"""A program: the table of usage mistakes on a checkout, in one process; prints the lines that are not as expected.

``python -m tests.upstream.mistakes_run CHECKOUT FOLDER``
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import torch

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg

from ..commands.mistaken_files import write_files
from ..commands.test_usage_mistakes import snapshot, words
from ..commands.usage_mistakes import RUN, lines

#: What SGB asserts without a word, and the bundled benchmark does not need.
ASSERTED = """
TRAIN MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES 7  | add MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES
TRAIN MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL False TEST.IMS_PER_BATCH 2 | set TEST.IMS_PER_BATCH 1
TRAIN TEST.IMS_PER_BATCH 1 MODEL.ROI_RELATION_HEAD.USE_GT_BOX False          | which is no task
"""


def _begin(*args, **kwargs):
    raise subprocess.SubprocessError("the work has begun")


def outcome(command: str, checkout: str) -> tuple[object, str]:
    """Exit code, or the exception, and the last line on stderr."""
    given, said = words(command), io.StringIO()
    given[1:1] = ["--sgb", checkout]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code: object = main(given)
        except SystemExit as leaving:
            code = leaving.code
        except Exception as error:  # what the table says must not happen: printed with its line
            code = repr(error)
    settings = sys.modules.get("maskrcnn_benchmark.config")
    if settings is not None:
        settings.cfg.pop("HML", None)
    return code, (said.getvalue().strip().splitlines() or [""])[-1]


def run(checkout: str, folder: Path) -> int:
    """Returns how many lines are not as expected."""
    (folder / "files").mkdir()
    write_files(folder / "files", make_mini_vg(folder / "vg", images=SMALLEST), "R-50-FPN")
    os.chdir(folder / "files")
    torch.cuda.is_available = lambda: False
    torch.optim.Optimizer.__init__ = subprocess.Popen.__init__ = _begin
    wrong = 0
    for command, said in lines(RUN + ASSERTED):
        before = snapshot(folder)
        code, sentence = outcome(command, checkout)
        if code != 2 or said not in sentence or snapshot(folder) != before:
            wrong += 1
            print(f"{command} | {said}\n    {code}, folder changed: {snapshot(folder) != before}, {sentence}")
    return wrong


if __name__ == "__main__":
    sys.exit(min(run(sys.argv[1], Path(sys.argv[2])), 1))
