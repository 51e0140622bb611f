"""Finds the test results of a run, ours or SGB's, and the predicate tree that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..method.tree import BACKGROUND, PredicateTree
from ..method.tree_file import read_json
from ..metrics.choices import TASKS
from ..metrics.summary import absent_metrics, metrics
from ..run_folder import LABELS, METRICS, RESULT_DICT, STATISTICS, ZERO_SHOT, results_above

_RESULTS = (METRICS, RESULT_DICT)
_ZERO_SHOT_METRICS = ("zR", "ng-zR")
#: VG150's test split has 26,446 images and 50 predicates; a fork may test some images fewer.
_VG150_TEST, _VG150_PREDICATES = 20_000, 50


@dataclass(frozen=True)
class Run:
    """Test results.

    Attributes:
        path: as the user named it.
        folder: holds the results' files.
        metrics: as in metrics.json; fractions.
        tree: the predicate tree, None if unknown.
        foreign_zero_shot: zero-shot recall was left out, because it was measured with the triplets of other data.
    """

    path: str
    folder: Path
    metrics: Mapping[str, Any]
    tree: PredicateTree | None
    foreign_zero_shot: bool = False

    @property
    def task(self) -> str:
        return self.metrics["mode"]

    def per_predicate(self, key: str) -> Mapping[str, float | None]:
        """Of ``R@50`` and the like; empty for a detector's results."""
        return self.metrics.get("per_predicate", {}).get(key, {})

    @property
    def notes(self) -> list[str]:
        """Sentences on what the results are not, or do not hold."""
        said = []
        if not self.folder.name.endswith("_test") and self.folder.parent.name.startswith("inference"):
            said.append(f"{self.path}: these are the results on {self.folder.name}, which is not a test set.")
        others = [str(place) for place in _all_results(Path(self.path)) if place != self.folder]
        if others:
            said.append(f"{self.path} also has results in {', '.join(others)}; give that folder to see them.")
        if self.task not in TASKS:
            return said
        absent = absent_metrics(self.metrics)
        if self.foreign_zero_shot:
            absent = [metric for metric in absent if metric.partition("@")[0] not in _ZERO_SHOT_METRICS]
            said.append(
                f"{self.path}: {' and '.join(_ZERO_SHOT_METRICS)} are left out: SGB measured them with its list of "
                "VG150's triplets, and these results are not of VG150's test images; test again with hml run."
            )
        if absent:
            said.append(f"{self.path} has no {', '.join(absent)}: its test did not store them.")
        if not self.predicates:
            said.append(
                f"{self.path}: no file near the results contains the predicates' names, so there is no recall per "
                "predicate; give the tree of that vocabulary with --tree FILE."
            )
        return said

    @property
    def predicates(self) -> tuple[str, ...]:
        return tuple(self.per_predicate("R@50"))


def load_runs(paths: Sequence[str], tree_file: str | None = None) -> list[Run]:
    """The runs of these paths. A run without a tree gets that of the others, if theirs agree.

    Args:
        paths: each an OUTPUT_DIR, a results folder or a metrics.json.
        tree_file: a tree for all of them, instead of their own.

    Raises:
        HMLError: no results, several, unreadable ones; a tree of another vocabulary.
    """
    given = PredicateTree.load(tree_file) if tree_file else None
    runs = [_load_run(path, given) for path in paths]
    trees = {run.tree.digest: run.tree for run in runs if run.tree is not None}
    if len(trees) == 1:
        (tree,) = trees.values()
        fits = [run.tree is None and set(run.predicates) == set(tree.predicates) for run in runs]
        runs = [replace(run, tree=tree) if fit else run for run, fit in zip(runs, fits)]
    return runs


def short_names(runs: Sequence[Run]) -> list[str]:
    """The last parts of the runs' paths, as many as make them differ."""
    return short_paths([run.path for run in runs])


def short_paths(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as make them differ."""
    parts = [Path(path).absolute().parts for path in paths]
    for depth in range(1, max(map(len, parts))):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def results_folder(path: str) -> Path:
    """The folder with the results of a run.

    Raises:
        HMLError: none, or several test datasets.
    """
    place = Path(path)
    if not place.exists():
        raise HMLError(f"{path} does not exist; give the OUTPUT_DIR of a run")
    if place.is_file():
        if place.name not in _RESULTS:
            raise HMLError(f"{path} is no {' or '.join(_RESULTS)}; give the OUTPUT_DIR of a run")
        return place.parent
    found = _all_results(place)
    found = [folder for folder in found if folder.name.endswith("_test")] or found
    if not found:
        raise HMLError(
            f"{path} has no test results (neither {' nor '.join(_RESULTS)}, there or in inference*/*); "
            "run tools/relation_test_net.py with that OUTPUT_DIR"
        )
    if len(found) > 1:
        datasets = {folder.name for folder in found}
        several = f"the results of {len(datasets)} datasets" if len(datasets) > 1 else f"{len(found)} tests' results"
        raise HMLError(f"{path} has {several}; give one of them: {', '.join(map(str, found))}")
    return found[0]


def _all_results(place: Path) -> list[Path]:
    """Folders with results: this one, else those below it where SGB and its forks write (``inference_best/<part>``)."""
    if place.is_file():
        return [place.parent]
    return [place] if _has_results(place) else sorted(f for f in place.glob("inference*/*") if _has_results(f))


def _has_results(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _RESULTS)


def _load_run(path: str, given: PredicateTree | None) -> Run:
    folder = results_folder(path)
    tree = given or run_tree(folder)
    foreign = False
    if (folder / METRICS).is_file():
        content = read_metrics(folder)
    else:
        content = _from_result_dict(folder, tree)
        foreign = _drop_foreign_zero_shot(folder, content)
    run = Run(path, folder, content, tree, foreign)
    if tree is not None and run.predicates:
        tree.check_vocabulary((BACKGROUND, *run.predicates))
    return run


def read_metrics(folder: Path) -> Mapping[str, Any]:
    """The content of the ``metrics.json`` in a folder of results. HMLError if it is damaged or none of ours."""
    content = read_json(folder / METRICS, "result")
    if not isinstance(content, dict) or "mode" not in content:
        raise HMLError(f"{folder / METRICS} has no 'mode', so it is none of ours; run the test script again")
    if content["mode"] not in (*TASKS, "detection"):
        raise HMLError(f"{folder / METRICS} has the mode {content['mode']!r}, no task; run the test script again")
    of_predicates = content.get("per_predicate", {})
    parts = of_predicates.values() if isinstance(of_predicates, dict) else [of_predicates]
    figures = {key: value for key, value in content.items() if "@" in key}
    for part in (figures, *parts):
        numbers = isinstance(part, dict) and all(isinstance(v, (int, float, type(None))) for v in part.values())
        if not numbers:
            raise HMLError(f"{folder / METRICS} has figures that are no numbers; run the test script again")
    return content


def run_tree(folder: Path) -> PredicateTree | None:
    """The tree beside a run's results: OUTPUT_DIR/hml/tree.json, also for a single stage's folder; None without."""
    return next(map(PredicateTree.load, results_above(folder, "tree.json")), None)


def _drop_foreign_zero_shot(folder: Path, content: dict[str, Any]) -> bool:
    """Take zero-shot recall out of SGB's results if SGB's own list of triplets, VG150's, was used on other data."""
    keys = [key for key in content if key.partition("@")[0] in _ZERO_SHOT_METRICS]
    predicates = len(content["per_predicate"].get("R@50", ())) or _VG150_PREDICATES
    vg150 = predicates == _VG150_PREDICATES and content.get("images_evaluated", 0) >= _VG150_TEST
    if not keys or vg150 or (folder / ZERO_SHOT).is_file():
        return False
    for key in keys:
        del content[key]
    return True


def _from_result_dict(folder: Path, tree: PredicateTree | None) -> dict[str, Any]:
    """SGB's own results: its file has numbers per predicate, but no names."""
    task, result = stored_task(folder)
    names = _names_near(folder, tree) or ()
    collected = result.get(f"{task}_mean_recall_collect", {})
    stored = max(map(len, collected.values()), default=len(names))
    if names and stored != len(names):
        raise HMLError(
            f"{folder / RESULT_DICT} has {stored - 1} predicates, the names found {len(names) - 1}; "
            "give the tree of that vocabulary with --tree FILE"
        )
    return {"mode": task, **metrics(result, task, names)}


def stored_task(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """The task that ``result_dict.pytorch`` was measured in, and its content."""
    from .stored import load_stored

    path = folder / RESULT_DICT
    result = load_stored(path)
    keys = {f"{task}_{key}": task for task in TASKS for key in ("recall", "mean_recall")}
    found = sorted({task for key, task in keys.items() if isinstance(result, dict) and key in result})
    if len(found) != 1:
        raise HMLError(f"{path} holds no recall of one task; run the test script again")
    return found[0], result


def predicate_names(folder: Path, tree: PredicateTree | None) -> tuple[str, ...]:
    """Background, then the predicates in index order: from the statistics in OUTPUT_DIR, else the tree.

    Raises:
        HMLError: neither is there.
    """
    names = _names_near(folder, tree)
    if names is None:
        raise HMLError(
            f"no file near {folder} contains the predicates' names (no *_statistics.cache in OUTPUT_DIR); "
            "give a tree of that vocabulary with --tree FILE"
        )
    return names


def object_names(folder: Path) -> tuple[str, ...] | None:
    """Background, then the object classes in index order: from the statistics in OUTPUT_DIR, else its labels.json."""
    if (names := _in_statistics(folder, "obj_classes")) is not None:
        return names
    for above in list(folder.absolute().parents)[:3]:
        if (above / LABELS).is_file():
            content = read_json(above / LABELS, "list of class names")
            numbered = {int(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
            if sorted(numbered) == list(range(len(numbered))):
                return tuple(numbered[at] for at in range(len(numbered)))
    return None


def _names_near(folder: Path, tree: PredicateTree | None) -> tuple[str, ...] | None:
    names = _in_statistics(folder, "rel_classes")
    return names if names is not None or tree is None else (BACKGROUND, *tree.predicates)


def _in_statistics(folder: Path, key: str) -> tuple[str, ...] | None:
    from .stored import load_stored

    for above in list(folder.absolute().parents)[:3]:  # Python 3.9 takes no slice of them
        for cache in sorted(above.glob("*" + STATISTICS)):
            content = load_stored(cache)
            if isinstance(content, dict) and key in content:
                return tuple(content[key])
    return None
