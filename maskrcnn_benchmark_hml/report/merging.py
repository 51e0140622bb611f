"""Merged recall of a run: from its matches.npz, or from all its predictions, as SGB stores them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import HMLError
from ..method.tree import PredicateTree
from ..metrics.matches import MATCHES_FILE, SplitMatches
from ..metrics.matching import KS, Objects
from ..metrics.merged import MergedRecall, merged_recall
from ..metrics.recall import rank_image
from ..metrics.summary import number
from ..run_folder import PREDICTIONS as PREDICTIONS_FILE
from ..run_folder import RESULT_DICT
from .runs import TASKS, predicate_names, stored_task
from .tables import format_table, mean_or_none, percent

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class Merged:
    """Merged recall of one run, with names.

    Attributes:
        groups: coarse predicate -> the other predicates of its group, most frequent first; only groups of several.
        recall: by class index, see there. index: predicate -> class.
    """

    task: str
    groups: Mapping[str, tuple[str, ...]]
    index: Mapping[str, int]
    recall: MergedRecall


def merge_run(folder: Path, tree: PredicateTree, task: str | None = None) -> Merged:
    """Merged recall of the results in ``folder``.

    Args:
        task: of predictions whose folder has no ``result_dict.pytorch``.

    Raises:
        HMLError: no predictions; a tree of another vocabulary, or one in which nothing folds.
    """
    groups = {group[0]: tuple(group[1:]) for group in tree.groups if len(group) > 1}
    if not groups:
        raise HMLError(
            "every group of this tree has a single predicate, so nothing folds; "
            "build the tree with hml tree --vectors FILE, with which the frequency builder groups too"
        )
    matches = load_matches(folder, tree, task)
    tree.check_vocabulary(matches.predicates)
    index = {name: at for at, name in enumerate(matches.predicates)}
    coarse = np.arange(len(index))
    for head, others in groups.items():
        coarse[[index[name] for name in others]] = index[head]
    return Merged(matches.task, groups, index, merged_recall(matches, coarse))


def load_matches(folder: Path, tree: PredicateTree | None, task: str | None = None) -> SplitMatches:
    """The matches that our evaluation stored, else those of the stored predictions."""
    if (folder / MATCHES_FILE).is_file():
        return SplitMatches.load(folder / MATCHES_FILE)
    if not (folder / PREDICTIONS_FILE).is_file():
        raise HMLError(
            f"{folder} has neither {MATCHES_FILE} nor {PREDICTIONS_FILE}; run the test script again (ours always "
            f"writes the first, SGB's the second)"
        )
    if (folder / RESULT_DICT).is_file():
        task = stored_task(folder)[0]
    if task is None:
        raise HMLError(f"{folder} does not tell its task; add --task {'|'.join(TASKS)}")
    return matches_of_predictions(folder / PREDICTIONS_FILE, task, predicate_names(folder, tree))


def matches_of_predictions(path: Path, task: str, predicates: Sequence[str]) -> SplitMatches:
    """Match stored predictions with their annotations, as the evaluation does (IoU 0.5, SGB's default)."""
    from .stored import load_predictions

    pairs = list(zip(*load_predictions(path)))
    numbers, ranks = [], []
    for image, (truth, prediction) in enumerate(tqdm(pairs, "matching", unit="image", disable=None)):
        relations, offered = truth.numbers("relation_tuple"), prediction.numbers("rel_pair_idxs")
        if not len(relations) or not len(offered):
            continue
        scores = prediction.numbers("pred_rel_scores")
        if scores.shape[1] != len(predicates):
            raise HMLError(
                f"{path} has scores of {scores.shape[1]} classes, the names found are {len(predicates)}; give the tree "
                "of that vocabulary with --tree FILE"
            )
        annotated = Objects(truth.corners(), truth.numbers("labels"), np.ones(len(truth.bbox)))
        predicted = annotated
        if task != "predcls":
            labels, weights = (prediction.numbers(name) for name in ("pred_labels", "pred_scores"))
            predicted = Objects(prediction.corners(), labels, weights)
        numbers.append(image)
        ranks.append(
            rank_image(
                annotated, relations, predicted, offered, scores, iou_threshold=IOU_THRESHOLD, given_pairs=False
            )
        )
    return SplitMatches.collect(task, predicates, numbers, ranks)


def merged_rows(merged: Merged) -> Iterator[tuple[str, str, int, float | None]]:
    """(metric, predicate, K, value), fractions.

    ``R`` and ``merged-R`` of each coarse predicate; ``coarse-mR`` and ``merged-mR``, their means; and, with the
    annotations folded too, ``merged-R`` of no predicate in particular.
    """
    recall = merged.recall
    for metric, mean, values in (("R", "coarse-mR", recall.plain), ("merged-R", "merged-mR", recall.merged)):
        for name in merged.groups:
            for k in KS:
                yield metric, name, k, number(values[k][merged.index[name]])
        for k in KS:
            yield mean, "", k, mean_or_none([number(v) for v in values[k].values()])
    for k in KS:
        yield "merged-R", "", k, number(recall.overall[k])


def merged_table(merged: Merged) -> str:
    """One row per group: recall of its coarse predicate in percent, before and after folding."""
    value = {(metric, name, k): v for metric, name, k, v in merged_rows(merged)}
    header = ["", *(f"{what}@{k}" for what in ("R", "merged-R") for k in KS)]
    rows = [[name, *(percent([value[w, name, k]]) for w in ("R", "merged-R") for k in KS)] for name in merged.groups]
    rows.append(["mean", *(percent([value[w, "", k]]) for w in ("coarse-mR", "merged-mR") for k in KS)])
    rows.append(["all, annotations folded too", *"---", *(percent([value["merged-R", "", k]]) for k in KS)])
    folded = [f"{name} <- {', '.join(others)}" for name, others in merged.groups.items()]
    return "\n".join([format_table(header, rows), "folded:", *(f"  {line}" for line in folded)])
