"""Which predicate tree a run uses: a given file, one built at start, or the shipped one of this vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import HMLError
from ..files import read_json
from ..method.tree import PredicateTree, build_clustered_tree, build_frequency_tree
from ..method.vectors import load_vectors
from ..resources import config_root

_log = logging.getLogger("maskrcnn_benchmark.hml")


def resolve_tree(settings, rel_classes: Sequence[str], counts: Mapping[str, int]) -> PredicateTree:
    """The tree that the ``HML.TREE`` settings ask for.

    Args:
        settings: the ``HML.TREE`` config node.
        rel_classes: class names by index, the background first.
        counts: relations per predicate in the training split.

    Raises:
        HMLError: no tree fits the vocabulary, a file is missing or unreadable, or a word has no vector.
    """
    names = list(rel_classes[1:])
    if settings.FILE:
        if not Path(settings.FILE).is_file():
            raise HMLError(f"HML.TREE.FILE {settings.FILE} does not exist; make a tree with hml tree, or leave it ''")
        tree = PredicateTree.load(settings.FILE)
    elif settings.BUILDER:
        tree = _build(settings, names, counts)
    else:
        tree = shipped_tree(names)
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


def _build(settings, names: list[str], counts: Mapping[str, int]) -> PredicateTree:
    overrides = None
    if settings.OVERRIDES:
        try:
            overrides = read_json(settings.OVERRIDES)
        except HMLError as error:
            raise HMLError(f"HML.TREE.OVERRIDES: {error}") from error
    if settings.BUILDER == "frequency":
        return build_frequency_tree(names, counts, boundaries=tuple(settings.BOUNDARIES), overrides=overrides)
    if not settings.VECTORS:
        raise HMLError("HML.TREE.BUILDER clustered needs word vectors; give their file as HML.TREE.VECTORS")
    vectors = load_vectors(settings.VECTORS, words={word for name in names for word in name.split()})
    return build_clustered_tree(
        names, counts, vectors, threshold=settings.THRESHOLD, num_layers=settings.LAYERS, overrides=overrides,
        skip_words=tuple(settings.SKIP_WORDS), **({"actions": tuple(settings.ACTIONS)} if settings.ACTIONS else {}),
    )


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
