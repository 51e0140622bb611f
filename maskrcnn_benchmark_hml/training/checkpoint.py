"""Resume files: what a host's checkpoint lacks, written beside it, atomically and verifiably.

A checkpoint ``model_0000010.pth`` is the host's own file. Its *resume file* ``model_0000010.hml.pt`` holds the
schedule, the gradient scaler and HML's state at the same instant, the checkpoint's size and digest, and what run they
are of. ``last_checkpoint`` is written after both, so it never points at a half pair.
"""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import HMLError
from ..files import (
    ASIDE,
    content_digest,
    damaged_entry,
    load_torch,
    remove_left_over,
    save_torch,
    why_unreadable,
    write_json,
)
from ..run_folder import RESUME_SUFFIX, last_checkpoint, settings_file
from .stages import LENGTHS, entry

_log = logging.getLogger("maskrcnn_benchmark.hml")
_EXTENDED = "extended"


def state_file(checkpoint: str | Path) -> Path:
    """The resume file that belongs to a checkpoint."""
    return Path(checkpoint).with_suffix(RESUME_SUFFIX)


def write_state(checkpoint: str | Path, state: Mapping[str, Any], keep: int) -> None:
    """Write the resume file of a complete checkpoint and delete all but the ``keep`` newest in that folder."""
    checkpoint = Path(checkpoint)
    own = state_file(checkpoint)
    pair = {"checkpoint": checkpoint.name, "checkpoint_bytes": checkpoint.stat().st_size,
            "checkpoint_digest": content_digest(checkpoint)}
    save_torch({**state, **pair}, own, "resume file")
    old = sorted(checkpoint.parent.glob("*" + RESUME_SUFFIX), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for path in [p for p in old if p != own][keep - 1 :]:
        path.unlink()


def remove_halves(folder: Path) -> None:
    """Remove what killed runs left half written in a folder: large files, mostly."""
    for half in folder.glob(f"*{ASIDE}.pth"):  # the host's checkpoint, see host/restart.py
        half.unlink()
    remove_left_over(folder / "*")


def read_state(checkpoint: str | Path) -> dict[str, Any]:
    """Load and verify a checkpoint's resume file.

    Raises:
        HMLError: no resume file (a run without HML), one that cannot be read, or a checkpoint that is not the one
            that was written. Both files are read for that, at about 1 s per GB.
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
        state = load_torch(path)
    except OSError as error:  # no permission, for one: the file may be whole
        raise HMLError(why_unreadable(path, error, "a torch file")) from error
    except (EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise HMLError(f"the resume file {path} is damaged; {_older(checkpoint)}") from error
    if damage := damaged_entry(path):
        raise HMLError(f"the resume file {path} is damaged ({damage}); {_older(checkpoint)}")
    if not isinstance(state, dict) or not {"iteration", "checkpoint_bytes"} <= state.keys():
        raise HMLError(f"the resume file {path} has another content than a resume file; {_older(checkpoint)}")
    if state["checkpoint_bytes"] != checkpoint.stat().st_size:
        raise HMLError(
            f"the checkpoint {checkpoint} has {checkpoint.stat().st_size} bytes but {state['checkpoint_bytes']} were "
            f"written: it is damaged; {_older(checkpoint)}"
        )
    digest = state.get("checkpoint_digest")
    if digest not in (None, content_digest(checkpoint)):
        raise HMLError(f"the checkpoint {checkpoint} is not the one that was written with {path.name}: it is another "
                       f"run's, or damaged; {_older(checkpoint)}")
    if damage := damaged_entry(checkpoint):
        raise HMLError(f"the checkpoint {checkpoint} is damaged ({damage}); {_older(checkpoint)}")
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
    folder: str | Path, settings: Mapping[str, Any], hints: Mapping[str, str] | None = None, free: Collection[str] = ()
) -> dict[str, str]:
    """Refuse to continue a run under other settings.

    Args:
        settings: flat, JSON-serialisable.
        hints: setting -> what else may be done about it, for the message.
        free: settings that may differ.

    Returns:
        The settings that differ, all of them free, with ``old -> new``.

    Raises:
        HMLError: names the first setting that changed, with both values, or that only one of the two knows.
    """
    if not settings_file(folder).is_file():
        record_settings(folder, settings)
        return {}
    old, new = recorded_settings(folder), json.loads(json.dumps(settings))
    unpaired = sorted(set(old) ^ set(new))
    if unpaired:
        how = "without" if unpaired[0] in new else "with"
        raise HMLError(
            f"{folder} was begun {how} the setting {unpaired[0]}, by another version of hml or of the "
            "benchmark; choose another OUTPUT_DIR, or go on with that version"
        )
    changed = {name: f"{old[name]} -> {new[name]}" for name in sorted(new) if old[name] != new[name]}
    for name in [name for name in changed if name not in free][:1]:
        hint = (hints or {}).get(name)
        raise HMLError(
            f"{folder} was begun with {name} = {old[name]!r}, now it is {new[name]!r}; "
            "choose another OUTPUT_DIR, or give the old value to resume" + (f"; {hint}" if hint else "")
        )
    return changed


def check_provenance(path: Path, found: Mapping[str, Any], run: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Refuse a file (memory.pt, a resume file) that another run or stage wrote.

    Args:
        found: the file's provenance. run: that of this run and stage, in the same form.
        free: settings that may differ, because they were changed on purpose.

    Raises:
        HMLError: names what differs.
    """
    resume = path.name.endswith(RESUME_SUFFIX)
    remedy = "restore this run's own file, or delete " + (
        f"{last_checkpoint(path.parent)} to start the stage afresh" if resume else "it to train its stage again")
    if not {"stage", "settings"} <= found.keys():
        raise HMLError(f"{path} does not say which run wrote it (another version of hml?); {remedy}")
    if found["stage"] != run["stage"]:
        raise HMLError(f"{path} is of stage {found['stage']}, not of stage {run['stage']}; {remedy}")
    theirs, ours = json.loads(found["settings"]), json.loads(run["settings"])
    for settings in (theirs, ours):  # the lengths of later stages may change (HML.EXTEND)
        if LENGTHS in settings:
            settings[LENGTHS] = [entry(settings[LENGTHS], k) for k in range(run["stage"])]
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name) and name not in free:
            raise HMLError(f"{path} is of another run: {name} is {theirs.get(name)!r} in it and {ours.get(name)!r} "
                           f"here; {remedy}")


def record_settings(folder: str | Path, settings: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
    """Bind a run's folder to these settings.

    ``settings.json`` lists under ``extended`` what was changed on purpose since the start: ``notes``, each with the
    setting's name as its first word.
    """
    changes = [*_recorded(folder).get(_EXTENDED, []), *notes]
    content = {**settings, _EXTENDED: changes} if changes else settings
    write_json(settings_file(folder), content, "run's settings", indent=1, sort_keys=True)


def recorded_settings(folder: str | Path) -> dict[str, Any]:
    """The settings that a run's folder is bound to; none before its first checkpoint."""
    return {name: value for name, value in _recorded(folder).items() if name != _EXTENDED}


def changed_on_purpose(folder: str | Path) -> set[str]:
    """The settings that were changed on purpose since the run's start."""
    return {note.split(" ")[0] for note in _recorded(folder).get(_EXTENDED, [])}


def _recorded(folder: str | Path) -> dict[str, Any]:
    path = settings_file(folder)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise HMLError(f"{path} is not readable JSON; delete it if the run's settings have not changed") from error
    if not isinstance(content, dict):
        raise HMLError(f"{path} holds no settings; delete it if the run's settings have not changed")
    return content


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
