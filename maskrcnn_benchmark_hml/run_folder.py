"""Every path that a run writes below its OUTPUT_DIR, and what each file is. docs/on-your-sgb.md holds FILES as a table.

The last stage trains in OUTPUT_DIR itself, the others in ``hml/stage<k>``, each as an ordinary run of the benchmark.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import file_formats as formats
from .errors import HMLError
from .file_faults import why_unreadable

FINAL = "model_final"
LAST_CHECKPOINT = "last_checkpoint"
RESUME_SUFFIX = ".hml.pt"
METRICS, METRICS_CSV, RESULT_DICT, MATCHES = "metrics.json", "metrics.csv", "result_dict.pytorch", "matches.npz"
PREDICTIONS = "eval_results.pytorch"
LABELS, PICTURES, CONFIG = "labels.json", "visual_info.json", "config.yml"
ZERO_SHOT = "zero_shot.json"
STATISTICS = "_statistics.cache"  # the end of the name, after the training sets
# The first and last are old names, kept so that folders of earlier versions stay valid.
RUN_RECORD, RUN_LOG, RUN_LOCK = "cell.json", "console.log", "cell.lock"
TRAINING_LOCK, STATUS = "run.lock", "status.json"
IMPORTANCE = "importance.json"
CURVES, EVENTS = "metrics.jsonl", "tensorboard"

#: Path below OUTPUT_DIR -> what it is. ``<...>`` and ``*`` stand for a part of a name.
FILES = {
    "model_<iteration>.pth": "checkpoints in the benchmark's own format",
    f"{FINAL}.pth": "the trained model, in the benchmark's own format",
    f"model_*{RESUME_SUFFIX}": "resume file of a checkpoint: schedule, gradient scaler, F and Omega_raw so far",
    LAST_CHECKPOINT: "path of the newest checkpoint; a run that is started again continues there",
    "log.txt": "the log",
    CURVES: "training curves of all stages: losses, learning rate, time, memory, validation",
    f"{EVENTS}/stage<k>/...": "the same for TensorBoard (HML.TENSORBOARD True)",
    f"<dataset>{STATISTICS}": "predicate frequencies of the training images; counted again if these change",
    CONFIG: "the whole configuration",
    LABELS: "class names (bundled benchmark and SGB)",
    f"inference/<dataset>/{METRICS}": "every metric (bundled benchmark)",
    f"inference/<dataset>/{METRICS_CSV}": "the same as a table (bundled benchmark)",
    f"inference/<dataset>/{RESULT_DICT}": "SGB's dictionary of metrics",
    f"inference/<dataset>/{MATCHES}": "predictions on the annotated pairs, for hml report merged (bundled benchmark)",
    f"inference/<dataset>/{PREDICTIONS}": "all predictions (not with TEST.SAVE_PREDICTIONS False)",
    f"inference/<dataset>/{ZERO_SHOT}": "what zero-shot recall's triplets were taken from (SGB)",
    f"inference/<dataset>/{PICTURES}": "the same with class names, for drawing",
    "inference/<dataset>/tau_<tau>/...": "the same with logit adjustment, one folder per value of HML.TEST.TAU",
    "hml/settings.json": "the settings of this run; a resume with other settings is refused",
    "hml/tree.json": "the predicate tree",
    "hml/stages.json": "the stages: labels, lengths, loss weights",
    f"hml/stage<k>/{IMPORTANCE}": "numbers about Omega and MR of stage k",
    "hml/stage<k>/memory.pt": "relation head, F, Omega_raw: input of the next stage; not written by the last one",
    "hml/stage<k>/...": "every stage except the last: its checkpoints, resume files, statistics, with the names above",
    "hml_val/...": "results of the last validation, with HML.VAL_METRIC mR only",
    TRAINING_LOCK: "locked while hml run trains and tests in the folder; a second training is refused",
    STATUS: "whether the training is in progress, finished, interrupted or failed; hml status prints it",
    RUN_RECORD: "settings and time of a run of hml demo or hml experiment (cell: an older word for run)",
    RUN_LOG: "what such a run printed",
    RUN_LOCK: "locked while such a run is in progress",
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


def run_above(folder: str | Path) -> Path | None:
    """The OUTPUT_DIR of the HML run whose folder, or a stage's folder, this is; None if it is none."""
    folder = Path(folder).absolute()
    if folder.parent.name == "hml" and settings_file(folder.parent).is_file():
        return folder.parents[1]
    ours = settings_file(folder / "hml").is_file() or any(folder.glob("*" + RESUME_SUFFIX))
    return folder if ours else None


def check_not_hml(output_dir: str | Path) -> None:
    """Refuse a training without HML in an HML run's folder: it would train HML's weights on and overwrite them.

    Raises:
        HMLError: as said.
    """
    if output_dir and (run := run_above(output_dir)):
        raise HMLError(
            f"{run} holds an HML run, and a training without HML would overwrite its weights; to resume the run give "
            "the command that began it, with HML.ENABLED True, or else choose another OUTPUT_DIR"
        )


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` of a folder names; None if there is nothing to resume or test.

    A file of that name beside it comes first: the folder may be a copy of another, or have been moved.

    Raises:
        HMLError: ``last_checkpoint`` cannot be read, is empty, or names a file that is nowhere.
    """
    tag = last_checkpoint(folder)
    if not os.path.lexists(tag):
        return None
    try:
        named = tag.read_text("utf-8-sig").strip()
    except (OSError, UnicodeError) as error:
        said = why_unreadable(tag, error, formats.TEXT).partition(";")[0]
        raise HMLError(f"{said}; {_how_to_mend(tag)}") from error
    for path in (tag.with_name(Path(named).name), Path(named), tag.parent / named) if named else ():
        if path.is_file():
            return path
    raise HMLError(f"{tag} names {named or 'nothing'}, which does not exist; {_how_to_mend(tag)}")


def _how_to_mend(tag: Path) -> str:
    """What to do about a ``last_checkpoint`` that does not name a checkpoint; one with a resume file is preferred."""
    files = list(tag.parent.glob("model_*.pth"))
    files = [path for path in files if path.with_suffix(RESUME_SUFFIX).is_file()] or files
    name = max(files, key=lambda path: path.stat().st_mtime_ns).name if files else "an intact checkpoint"
    return f"make it a text file with the name of {name}, or delete it to start anew"


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
