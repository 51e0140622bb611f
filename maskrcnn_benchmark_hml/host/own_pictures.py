"""``TEST.CUSTUM_EVAL``: checks a test on the user's own pictures before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from yacs.config import CfgNode

from ..datasets.own_pictures import WITHOUT_BOXES, own_pictures
from ..datasets.pictures import ENDINGS
from ..errors import HMLError
from ..files import check_place, naming
from ..run_folder import STATISTICS
from .values import value

BUNDLED_SETTING = "SAVE_PREDICTIONS"
"""A setting of TEST that the bundled benchmark alone has; checkouts open every entry of the folder as a picture."""


def check_own_pictures(cfg: CfgNode) -> None:
    """Check the task, the pictures and the folder for results, and make that folder.

    Raises:
        HMLError: as said.
    """
    head = value(cfg, "MODEL.ROI_RELATION_HEAD") or {}
    if value(cfg, "MODEL.RELATION_ON") and head.get("USE_GT_BOX"):
        raise HMLError(WITHOUT_BOXES)
    path = str(value(cfg, "TEST.CUSTUM_PATH") or "")
    _, others = own_pictures(path)
    if BUNDLED_SETTING not in cfg["TEST"]:
        if others:
            raise HMLError(f"TEST.CUSTUM_PATH {path} has {others[0]} ({len(others)} such entries), and this benchmark "
                           "opens every entry as a picture; move them away, or give a JSON list of the pictures")
        if Path(path).suffix.lower() in ENDINGS:
            raise HMLError(f"TEST.CUSTUM_PATH is the picture {path}, and this benchmark takes a folder or a JSON list; "
                           f'give a file that holds ["{path}"], or use hml predict')  # fmt: skip
    folder = str(value(cfg, "DETECTED_SGG_DIR") or "")
    if not folder:
        raise HMLError("DETECTED_SGG_DIR is empty; name the folder for the scene graphs of your pictures")
    check_place(folder, "DETECTED_SGG_DIR")
    with naming(folder, "folder DETECTED_SGG_DIR"):
        os.makedirs(folder, exist_ok=True)


def counted_before(cfg: CfgNode, training: list[str], roidb_file: str) -> bool:
    """Whether a test on own pictures needs no annotations: they are not there, and the run's statistics cache is."""
    cache = Path(cfg["OUTPUT_DIR"] or ".", "".join(training) + STATISTICS)
    return not os.path.exists(roidb_file) and cache.is_file()
