"""Which predicate tree a run uses: a given file, one built at start, or the shipped one of this vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..method.tree import PredicateTree
from ..method.tree_builders import build_clustered_tree, build_frequency_tree
from ..method.tree_file import read_overrides
from ..method.vectors import load_vectors, words_to_read
from ..resources import config_root

_log = logging.getLogger("maskrcnn_benchmark.hml")


def resolve_tree(settings, rel_classes: Sequence[str], counts: Mapping[str, int]) -> PredicateTree:
    """The tree that the ``HML.TREE`` settings ask for.

    Args:
        settings: the ``HML.TREE`` config node.
        rel_classes: class names by index, the background first.
        counts: relations per predicate as training sees them.

    Raises:
        HMLError: no tree fits the vocabulary, a file is missing or unreadable, a word has no vector, or a setting could
            not act.
    """
    names = list(rel_classes[1:])
    overrides = read_overrides(settings.OVERRIDES) if settings.OVERRIDES else {}
    if settings.BUILDER and not settings.FILE:
        tree = _build(settings, names, counts, overrides)
    else:
        tree = _made_before(settings, names, overrides)
    tree.check_vocabulary(list(rel_classes))
    return tree


def one_stage_tree(settings, rel_classes: Sequence[str], counts: Mapping[str, int]) -> PredicateTree:
    """As :func:`resolve_tree` for a run of one stage on all labels, which learns the same under every tree.

    Where the settings give no tree of this vocabulary it is one layer, so that the run needs none.

    Raises:
        HMLError: ``HML.TREE.FILE`` is missing, unreadable or of another vocabulary.
    """
    try:
        return resolve_tree(settings, rel_classes, counts)
    except HMLError as error:
        if settings.FILE:
            raise
        _log.info("HML: one stage on all labels needs no predicate tree, and has none: %s", error)
        return build_frequency_tree(list(rel_classes[1:]), counts, boundaries=())


def _made_before(settings, names: list[str], overrides: Mapping[str, Any]) -> PredicateTree:
    """A given file, or the shipped tree, in as many layers as asked for and with the overrides."""
    if settings.FILE and settings.BUILDER:
        _log.info("HML: the tree is that of HML.TREE.FILE; HML.TREE.BUILDER %s is not used", settings.BUILDER)
    else:
        for name in ("VECTORS", "SKIP_WORDS", "ACTIONS"):
            if settings[name]:
                raise HMLError(
                    f"HML.TREE.{name} is {settings[name]!r}, but no tree is built at start; add HML.TREE.BUILDER "
                    f"clustered, or leave HML.TREE.{name} empty"
                )
        if settings.BOUNDARIES:
            _log.warning("HML: HML.TREE.BOUNDARIES %s is not used without HML.TREE.BUILDER frequency",
                         tuple(settings.BOUNDARIES))
    if settings.FILE and not Path(settings.FILE).is_file():
        raise HMLError(f"HML.TREE.FILE {settings.FILE} does not exist; make a tree with hml tree, or leave it ''")
    tree = PredicateTree.load(settings.FILE) if settings.FILE else shipped_tree(names)
    if settings.LAYERS:
        tree = tree.with_layers(settings.LAYERS)
    return tree.with_overrides(overrides) if overrides else tree


def _build(settings, names: list[str], counts: Mapping[str, int], overrides: Mapping[str, Any]) -> PredicateTree:
    common: dict[str, Any] = {
        "overrides": overrides, "threshold": settings.THRESHOLD, "skip_words": tuple(settings.SKIP_WORDS),
    }  # fmt: skip
    vectors = load_vectors(settings.VECTORS, words=words_to_read(names)) if settings.VECTORS else None
    if settings.BUILDER == "frequency":
        boundaries = tuple(settings.BOUNDARIES)
        if settings.ACTIONS:
            raise HMLError("HML.TREE.ACTIONS has an effect only with HML.TREE.BUILDER clustered; leave it empty")
        if boundaries and settings.LAYERS not in (0, len(boundaries) + 1):
            raise HMLError(
                f"HML.TREE.LAYERS is {settings.LAYERS}, but HML.TREE.BOUNDARIES {boundaries} gives "
                f"{len(boundaries) + 1} layers; give {settings.LAYERS - 1} ranks, or HML.TREE.LAYERS 0"
            )
        return build_frequency_tree(
            names, counts, boundaries=boundaries or None, num_layers=settings.LAYERS or None, vectors=vectors, **common
        )
    if vectors is None:
        raise HMLError("HML.TREE.BUILDER clustered needs word vectors; give their file as HML.TREE.VECTORS")
    actions: dict[str, Any] = {"actions": tuple(settings.ACTIONS)} if settings.ACTIONS else {}
    return build_clustered_tree(names, counts, vectors, num_layers=settings.LAYERS or 2, **common, **actions)


def find_tree(folder: Path, pattern: str, names: Sequence[str]) -> PredicateTree | None:
    """The first tree file of a folder, by name, that has exactly these predicates; None if there is none."""
    for path in sorted(folder.glob(pattern)):
        tree = PredicateTree.load(path)
        if set(tree.predicates) == set(names):
            return tree
    return None


def shipped_tree(names: Sequence[str]) -> PredicateTree:
    """The first tree of configs/trees/ that has exactly these predicates.

    Raises:
        HMLError: there is none.
    """
    tree = find_tree(config_root() / "trees", "*.json", names)
    if tree is None:
        raise HMLError(
            f"no shipped tree has this dataset's {len(names)} predicates ({', '.join(names[:3])}, ...); make one with "
            "hml tree and give it as HML.TREE.FILE, or set HML.TREE.BUILDER frequency"
        )
    return tree
