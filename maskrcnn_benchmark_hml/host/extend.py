"""HML.EXTEND: a last stage that is to be longer than the folder's goes on from where it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..run_folder import settings_file, stages_file
from ..training.stages import LENGTHS, Stage

#: The setting that may change, and what a refusal says about it.
EXTEND_HINT = {LENGTHS: "to lengthen only the last stage, add HML.EXTEND True"}


def extension(folder: Path, stages: Sequence[Stage], settings: Mapping[str, Any]) -> str:
    """How much longer the last stage is than that of the run in ``folder``, in words; "" if no length has changed.

    Args:
        folder: the run's ``hml`` folder.
        stages, settings: of the run that is asked for.

    Raises:
        HMLError: another stage's length has changed, or the last one is to be shorter.
    """
    if not settings_file(folder).is_file() or not stages_file(folder).is_file():
        return ""
    old = json.loads(settings_file(folder).read_text()).get(LENGTHS)
    if old == settings[LENGTHS]:
        return ""
    before = [row["iterations"] for row in json.loads(stages_file(folder).read_text())]
    after = [stage.iterations for stage in stages]
    if before[:-1] != after[:-1] or before[-1] >= after[-1]:
        raise HMLError(
            f"HML.EXTEND lengthens only the last stage, but the stages of {folder.parent} have {_listed(before)} "
            f"iterations and are to have {_listed(after)}; choose another OUTPUT_DIR, or keep the first numbers"
        )
    return f"{LENGTHS} {_listed(old)} -> {_listed(settings[LENGTHS])}: {stages[-1].title()} continues from " \
           f"{before[-1]} to {after[-1]} iterations"


def check_schedule(state: Mapping[str, Any], max_decays: int, last: Path) -> None:
    """Refuse to lengthen a stage that its schedule ended: it would end at once again.

    Args:
        state: the resume file's content. max_decays: SOLVER.SCHEDULE.MAX_DECAY_STEP. last: the stage's checkpoint.

    Raises:
        HMLError: as said.
    """
    if state["scheduler"].get("stage_count", 0) >= max_decays:
        raise HMLError(
            f"the last stage ended at iteration {state['iteration']} ({last}) by SOLVER.SCHEDULE.MAX_DECAY_STEP "
            f"{max_decays}, not by its length, so HML.EXTEND would have no effect; leave it out"
        )


def _listed(values: Sequence[int]) -> str:
    return ",".join(map(str, values))
