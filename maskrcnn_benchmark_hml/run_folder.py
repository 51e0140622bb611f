"""Every path that a run writes below its OUTPUT_DIR, and what each file is. docs/on-your-sgb.md holds FILES as a table.

The last stage trains in OUTPUT_DIR itself, the others in ``hml/stage<k>``, each as an ordinary run of the benchmark.
"""

from __future__ import annotations

from pathlib import Path

FINAL = "model_final"
LAST_CHECKPOINT = "last_checkpoint"
RESUME_SUFFIX = ".hml.pt"
METRICS, METRICS_CSV, RESULT_DICT, MATCHES = "metrics.json", "metrics.csv", "result_dict.pytorch", "matches.npz"
PREDICTIONS = "eval_results.pytorch"
# The first and last are old names, kept so that folders of earlier versions stay valid.
RUN_RECORD, RUN_LOG, RUN_LOCK = "cell.json", "console.log", "cell.lock"
TRAINING_LOCK, STATUS = "run.lock", "status.json"
IMPORTANCE = "importance.json"

#: Path below OUTPUT_DIR -> what it is. ``<...>`` and ``*`` stand for a part of a name.
FILES = {
    "model_<iteration>.pth": "checkpoints in the benchmark's own format",
    f"{FINAL}.pth": "the trained model, in the benchmark's own format",
    f"model_*{RESUME_SUFFIX}": "resume file of a checkpoint: schedule, gradient scaler, F and Omega so far",
    LAST_CHECKPOINT: "path of the newest checkpoint; a run that is started again continues there",
    "log.txt": "the log",
    "<dataset>_statistics.cache": "predicate frequencies of the training images",
    "config.yml": "the whole configuration",
    "labels.json": "class names (bundled benchmark and SGB)",
    f"inference/<dataset>/{METRICS}": "every metric (bundled benchmark)",
    f"inference/<dataset>/{METRICS_CSV}": "the same as a table (bundled benchmark)",
    f"inference/<dataset>/{RESULT_DICT}": "SGB's dictionary of metrics",
    f"inference/<dataset>/{MATCHES}": "predictions on the annotated pairs, for hml report merged (bundled benchmark)",
    f"inference/<dataset>/{PREDICTIONS}": "all predictions (SGB; bundled benchmark if asked for)",
    "inference/<dataset>/visual_info.json": "the same with class names, for drawing",
    "hml/settings.json": "the settings that the folder belongs to; others are refused",
    "hml/tree.json": "the predicate tree",
    "hml/stages.json": "the stages: labels, lengths, loss weights",
    f"hml/stage<k>/{IMPORTANCE}": "figures of Omega and MR of stage k",
    "hml/stage<k>/memory.pt": "head, F and Omega, input of the next stage; not written by the last stage",
    "hml/stage<k>/...": "of a stage before the last: checkpoints, resume files and statistics, named as above",
    "hml_val/...": "the newest validation under HML.VAL_METRIC mR",
    TRAINING_LOCK: "held while hml run trains and tests in the folder; a second training is refused",
    STATUS: "whether the training goes on, has finished, was interrupted or has failed; hml status prints it",
    RUN_RECORD: "settings and running time of a run that hml demo or hml experiment started",
    RUN_LOG: "what such a run printed",
    RUN_LOCK: "held while such a run goes on",
}


class RunFolder:
    """The paths of one run; ``root`` is its OUTPUT_DIR. Nothing is read or written here."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.hml = self.root / "hml"
        self.settings = settings_file(self.hml)
        self.stages = stages_file(self.hml)
        self.tree = self.hml / "tree.json"

    def stage_notes(self, k: int) -> Path:
        """Where stage k's memory and figures are."""
        return self.hml / f"stage{k}"

    def memory(self, k: int) -> Path:
        """What stage k hands on."""
        return self.stage_notes(k) / "memory.pt"

    def stage(self, k: int, count: int) -> Path:
        """Where the host writes the checkpoints of stage k of ``count``."""
        return self.root if k == count else self.stage_notes(k)

    def training_folders(self) -> list[Path]:
        """The folders with checkpoints, the last stage's first."""
        return [self.root, *self.hml.glob("stage*")]


def settings_file(hml: str | Path) -> Path:
    """The settings of a run, in its ``hml`` folder."""
    return Path(hml) / "settings.json"


def stages_file(hml: Path) -> Path:
    """The stages of a run, in its ``hml`` folder."""
    return hml / "stages.json"


def last_checkpoint(folder: str | Path) -> Path:
    """The file that names the newest checkpoint of a folder."""
    return Path(folder) / LAST_CHECKPOINT


def run_lock(folder: str | Path) -> Path:
    """The file that a training holds locked in its OUTPUT_DIR."""
    return Path(folder) / TRAINING_LOCK


def status_file(folder: str | Path) -> Path:
    """How the training in an OUTPUT_DIR goes or ended."""
    return Path(folder) / STATUS


def results_above(folder: Path, below: str) -> list[Path]:
    """Files of the ``hml`` folder that fit ``below``, for a folder of results, a run's or a stage's folder."""
    above = list(folder.absolute().parents)
    places = [base / "hml" for base in (folder, *above[:2])] + [base for base in above[:3] if base.name == "hml"]
    return next((found for place in places if (found := sorted(place.glob(below)))), [])
