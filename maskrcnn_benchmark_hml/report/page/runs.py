"""What the page reads of a run besides its test results: settings, training log, tests with logit adjustment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import HMLError
from ...files import read_json
from ...run_folder import CONFIG, METRICS, settings_file
from ...yaml_file import read_config
from ..runs import Run, read_metrics, short_names
from .training_log import TrainingLog, read_log

#: Settings that differ between any two runs and decide nothing.
_PLACES = ("OUTPUT_DIR", "DETECTED_SGG_DIR")
#: Settings of HML that act with HML.ENABLED False too.
_WITHOUT_HML = ("HML.ENABLED", "HML.TEST.", "HML.TENSORBOARD")
_TAU = "tau_"


@dataclass(frozen=True)
class PageRun:
    """A run as the page shows it.

    Attributes:
        name: short, different for each run of a page.
        run: its test results.
        root: its OUTPUT_DIR.
        settings: KEY.IN.CAPITALS -> value as text; empty if the folder has none.
        log: its training; None if it wrote no log that tools can read.
        adjusted: (tau, metrics) of the tests with logit adjustment, ascending.
    """

    name: str
    run: Run
    root: Path
    settings: Mapping[str, str]
    log: TrainingLog | None
    adjusted: Sequence[tuple[float, Mapping[str, Any]]]

    @property
    def family(self) -> str:
        """``baseline`` for a run without HML, ``control`` for an ablation baseline, else ``HML``."""
        if self.settings.get("HML.ENABLED", "false") != "true":
            return "baseline"
        return "control" if self.settings.get("HML.CONTROL") else "HML"


def read_runs(runs: Sequence[Run]) -> list[PageRun]:
    """All that the page shows of these runs.

    Raises:
        HMLError: a damaged file of a run.
    """
    return [_read(name, run) for name, run in zip(short_names(runs), runs)]


def _read(name: str, run: Run) -> PageRun:
    root = _root(run)
    return PageRun(name, run, root, _settings(root), read_log(root), _adjusted(run.folder))


def _root(run: Run) -> Path:
    """The OUTPUT_DIR that the results lie in: the nearest folder above them with settings or a training log."""
    above = [run.folder, *list(run.folder.absolute().parents)[:3]]
    return next((folder for folder in above if (folder / CONFIG).is_file() or (folder / "hml").is_dir()), above[0])


def _settings(root: Path) -> dict[str, str]:
    found = _flat(read_config(root / CONFIG)) if (root / CONFIG).is_file() else {}
    own = settings_file(root / "hml")
    if own.is_file():
        content = read_json(own)
        if not isinstance(content, dict):
            raise HMLError(f"{own} holds no settings by name; copy it again from where the run trained")
        found.update(_flat(content))
    if found.get("HML.ENABLED") == "false":  # its other settings do nothing
        found = {k: value for k, value in found.items() if not k.startswith("HML.") or k.startswith(_WITHOUT_HML)}
    return {key: value for key, value in sorted(found.items()) if key not in _PLACES}


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _adjusted(folder: Path) -> list[tuple[float, Mapping[str, Any]]]:
    """The tests with logit adjustment: a folder for each tau beside the results without."""
    found = []
    for path in folder.glob(f"{_TAU}*/{METRICS}"):
        try:
            tau = float(path.parent.name[len(_TAU) :])
        except ValueError:  # a folder that someone has renamed
            continue
        found.append((tau, read_metrics(path.parent)))
    return sorted(found, key=lambda pair: pair[0])
