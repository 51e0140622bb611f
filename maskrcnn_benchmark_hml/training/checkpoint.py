"""Resume files: what a host's checkpoint lacks, written beside it, atomically and verifiably.

A checkpoint ``model_0000010.pth`` is the host's own file. Its *resume file* ``model_0000010.hml.pt`` holds the
schedule, the gradient scaler and HML's state at the same instant, and the checkpoint's size. ``last_checkpoint`` is
written after both, so it never points at a half pair.
"""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import HMLError
from ..files import save_torch, why_unreadable, write_json
from ..run_folder import RESUME_SUFFIX, last_checkpoint, settings_file

_log = logging.getLogger("maskrcnn_benchmark.hml")
_EXTENDED = "extended"


def state_file(checkpoint: str | Path) -> Path:
    """The resume file that belongs to a checkpoint."""
    return Path(checkpoint).with_suffix(RESUME_SUFFIX)


def write_state(checkpoint: str | Path, state: Mapping[str, Any], keep: int) -> None:
    """Write the resume file of a complete checkpoint and delete all but the ``keep`` newest in that folder."""
    checkpoint = Path(checkpoint)
    own = state_file(checkpoint)
    pair = {"checkpoint": checkpoint.name, "checkpoint_bytes": checkpoint.stat().st_size}
    save_torch({**state, **pair}, own, "resume file")
    old = sorted(checkpoint.parent.glob("*" + RESUME_SUFFIX), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for path in [p for p in old if p != own][keep - 1 :]:
        path.unlink()


def read_state(checkpoint: str | Path) -> dict[str, Any]:
    """Load and verify a checkpoint's resume file.

    Raises:
        HMLError: no resume file (a run without HML), one that cannot be read, or a checkpoint of another size than
            was written.
    """
    checkpoint = Path(checkpoint)
    path = state_file(checkpoint)
    if not checkpoint.is_file():
        raise HMLError(
            f"{last_checkpoint(checkpoint.parent)} names {checkpoint.name}, which does not exist; "
            f"write the name of an existing checkpoint into it, or delete it to start the stage afresh"
        )
    if not path.is_file():
        raise HMLError(
            f"{checkpoint} has no resume file {path.name}: it was not written by an HML run, or its file was deleted; "
            "choose another OUTPUT_DIR, or delete last_checkpoint there to start afresh"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:  # no permission, for one: the file may be whole
        raise HMLError(why_unreadable(path, error, "a torch file")) from error
    except (EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise HMLError(f"the resume file {path} is damaged; {_older(checkpoint)}") from error
    if not isinstance(state, dict) or not {"iteration", "checkpoint_bytes"} <= state.keys():
        raise HMLError(f"the resume file {path} has another content than a resume file; {_older(checkpoint)}")
    if state["checkpoint_bytes"] != checkpoint.stat().st_size:
        raise HMLError(
            f"the checkpoint {checkpoint} has {checkpoint.stat().st_size} bytes but {state['checkpoint_bytes']} were "
            f"written: it is damaged; {_older(checkpoint)}"
        )
    return state


def _older(checkpoint: Path) -> str:
    others = [p for p in checkpoint.parent.glob("*" + RESUME_SUFFIX) if p != state_file(checkpoint)]
    others.sort(key=lambda p: p.stat().st_mtime_ns)
    last = last_checkpoint(checkpoint.parent)
    if others:
        name = others[-1].name.replace(RESUME_SUFFIX, ".pth")
        return f"write {others[-1].with_name(name)} into {last} to resume from there"
    return f"delete {last} to start the stage afresh"


def check_settings(
    folder: str | Path, settings: Mapping[str, Any], hints: Mapping[str, str] | None = None, extended: str = ""
) -> None:
    """Refuse to continue a run under other settings; remember them on the first start.

    Args:
        settings: flat, JSON-serialisable.
        hints: setting -> what else may be done about it, for the message.
        extended: what was changed on purpose, in words; the settings in ``hints`` may then differ.

    Raises:
        HMLError: names the first setting that changed, with both values, or that only one of the two knows.
    """
    path = settings_file(folder)
    if not path.is_file():
        write_json(path, settings, "run's settings", indent=1, sort_keys=True)
        return
    try:
        old = json.loads(path.read_text())
    except ValueError as error:
        raise HMLError(f"{path} is not readable JSON; delete it if the run's settings have not changed") from error
    if not isinstance(old, dict):
        raise HMLError(f"{path} holds no settings; delete it if the run's settings have not changed")
    new = json.loads(json.dumps(settings))
    unpaired = sorted((set(old) ^ set(new)) - {_EXTENDED})
    if unpaired:
        how = "without" if unpaired[0] in new else "with"
        raise HMLError(
            f"{folder} was begun {how} the setting {unpaired[0]}, by another version of hml or of the "
            "benchmark; choose another OUTPUT_DIR, or go on with that version"
        )
    for name in sorted(set(new) - {_EXTENDED}):
        if old.get(name) != new.get(name) and not (extended and name in (hints or {})):
            hint = (hints or {}).get(name)
            raise HMLError(
                f"{folder} was begun with {name} = {old.get(name)!r}, now it is {new.get(name)!r}; "
                "choose another OUTPUT_DIR, or give the old value to resume" + (f"; {hint}" if hint else "")
            )


def record_extension(folder: str | Path, settings: Mapping[str, Any], extended: str) -> None:
    """Bind a run's folder to changed settings; ``settings.json`` lists all such changes under ``extended``."""
    path = settings_file(folder)
    earlier = json.loads(path.read_text()).get(_EXTENDED, [])
    changed = {**settings, _EXTENDED: [*earlier, extended]}
    write_json(path, changed, "run's settings", indent=1, sort_keys=True)


def plain(value: Any) -> Any:
    """The part of a schedule's state that ``weights_only`` loading accepts: numbers, strings, tensors, containers."""
    if isinstance(value, Mapping):
        kept = {k: plain(v) for k, v in value.items() if isinstance(k, (str, int, float)) and _is_plain(v)}
        return kept
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str)) and type(value) in (bool, int, float, str) or (
        torch.is_tensor(value)
    )
