"""The training curves for TensorBoard (HML.TENSORBOARD), one folder of event files per stage."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..files import naming
from ..run_folder import EVENTS

_WHAT = "folder of event files"


def check_package(cfg: Any) -> None:
    """HMLError if event files are asked for and torch cannot write them here."""
    if cfg.HML.TENSORBOARD:
        _writer_class()


def _writer_class() -> Any:
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise HMLError(
            f"HML.TENSORBOARD is True and the package tensorboard cannot be imported ({error}); install it with "
            "pip install tensorboard, or leave HML.TENSORBOARD out: metrics.jsonl has the same curves"
        ) from error


class EventFiles:
    """Writes the lines of one stage's curves as TensorBoard's scalars; their step is the iteration.

    Args:
        run: the run's folder.
        stage: 1-based number.
        done: iterations of the stage that are done. TensorBoard ignores what earlier files hold from there on.
    """

    def __init__(self, run: Path, stage: int, done: int) -> None:
        self.folder = run / EVENTS / f"stage{stage}"
        with naming(self.folder, _WHAT):
            self._writer = _writer_class()(str(self.folder), purge_step=done)

    def add(self, line: dict[str, Any]) -> None:
        """Write one line of metrics.jsonl; a number that is not finite is left out."""
        scalars = {f"train/{name}": line.get(name) for name in ("loss", "lr", "seconds", "memory_mb")}
        scalars.update({f"train/{name}": value for name, value in line.get("terms", {}).items()})
        if validation := line.get("validation"):
            scalars[f"validation/{validation['metric']}"] = validation["value"]
        with naming(self.folder, _WHAT):
            for name, value in scalars.items():
                if value is not None:
                    self._writer.add_scalar(name, value, line["iteration"])
            self._writer.flush()  # a run that is killed and resumed has all points

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
