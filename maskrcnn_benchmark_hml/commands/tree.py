"""``hml tree``: build a predicate tree from word vectors and a dataset's counts, print it, save it, draw it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HMLError
from ..method.choices import BUILDERS
from .help import texts

if TYPE_CHECKING:
    from ..method.tree import PredicateTree
    from ..method.vectors import WordVectors

DESCRIPTION = """\
Builds the predicate tree that decides which predicates each stage of HML learns.

The default builder clusters the predicates by their word vectors and puts the most frequent predicate of each group
into layer 1. `--builder frequency` assigns layers by frequency alone. The counts are those of all relations in the
training images of a dataset folder (without the validation images; also relations whose boxes do not overlap), or they
are read from a JSON file: {"predicates": [names in index order], "counts": {name: number}}. A tree file also has them.
"""

EXAMPLES = """\
hml tree --data DIR --vectors glove.840B.300d.txt --out tree.json --png tree.png
hml tree --counts counts.json --vectors GoogleNews.bin --threshold 0.65 --skip-words a and of to
hml tree --data DIR --builder frequency --boundaries 10 35
hml tree --show tree.json --png tree.png
hml tree --show tree.json --layers 3 --out tree3.json        the same groups in three layers, without the vectors
hml run ... HML.ENABLED True HML.TREE.FILE tree.json         train with the tree
"""


def add_tree_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe ``hml tree``; the parsed arguments carry its handler."""
    parser = subparsers.add_parser("tree", **texts("tree", DESCRIPTION, EXAMPLES))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="DIR", help="a dataset folder in the VG format")
    source.add_argument("--counts", metavar="FILE", help="JSON file with predicates and counts, or a tree file")
    source.add_argument("--show", metavar="FILE", help="print (and draw) an existing tree")
    parser.add_argument("--builder", choices=BUILDERS, default=BUILDERS[0],
                        help="what assigns the layers (default: %(default)s)")
    parser.add_argument("--vectors", metavar="FILE", help="word vectors: GloVe, word2vec, fastText, gensim, torchtext")
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.70,
        help="T_SS: the least cosine similarity within a group, -1 to 1 (default: 0.70, for GloVe 840B; use 0.65 for "
        "GoogleNews, 0.86 for GloVe 6B)",
    )
    parser.add_argument("--layers", type=int, metavar="K", help="number of layers (default: the shown tree's, else 2)")
    parser.add_argument(
        "--boundaries", type=int, nargs="+", metavar="RANK", help="frequency builder: ranks where the next layers begin"
    )
    parser.add_argument(
        "--actions",
        nargs="*",
        metavar="NAME",
        help="human actions; one that is alone in its group goes to the last layer (default: those of the paper's list "
        "for VG that the vocabulary has; --actions without a name: no such rule)",
    )
    parser.add_argument(
        "--overrides", metavar="FILE", help='JSON, changes by hand: {"predicate": {"group": "predicate", "layer": 2}}'
    )
    parser.add_argument("--skip-words", nargs="+", default=(), metavar="WORD",
                        help="words left out of the mean vector (default: none)")
    parser.add_argument("--out", metavar="FILE", help="save the tree as JSON")
    parser.add_argument("--png", metavar="FILE", help="draw the tree")
    parser.set_defaults(handler=run_tree)


def run_tree(args: argparse.Namespace) -> int:
    """``hml tree``; returns the exit code. Nothing is written unless the whole tree could be built."""
    tree = _shown(args) if args.show else _build(args)
    if args.out:
        tree.save(args.out)
    if args.png:
        from ..report.tree_figure import draw_tree

        draw_tree(tree, args.png)
    print(tree.describe())
    for path in (args.out, args.png):
        if path:
            print(f"wrote {path}")
    return 0


def _shown(args: argparse.Namespace) -> PredicateTree:
    from ..method.tree import PredicateTree
    from ..method.tree_file import read_overrides

    for option in ("boundaries", "vectors", "actions", "skip_words"):
        if getattr(args, option):
            name = option.replace("_", "-")
            raise HMLError(f"--{name} belongs to building a tree; leave it out, or give --data or --counts, not --show")
    tree = PredicateTree.load(args.show)
    if args.layers is not None:
        tree = tree.with_layers(args.layers)
    return tree.with_overrides(read_overrides(args.overrides)) if args.overrides else tree


def _build(args: argparse.Namespace) -> PredicateTree:
    from ..datasets.training_labels import read_dataset_counts
    from ..method.tree_builders import VG_ACTIONS, build_clustered_tree, build_frequency_tree
    from ..method.tree_file import read_overrides

    if args.builder == "clustered" and args.boundaries:
        raise HMLError("--boundaries belongs to --builder frequency; the clustered builder takes --layers")
    predicates, counts = read_dataset_counts(args.data) if args.data else read_counts(args.counts)
    overrides = read_overrides(args.overrides) if args.overrides else {}
    common: dict[str, Any] = {"overrides": overrides, "threshold": args.threshold, "skip_words": tuple(args.skip_words)}
    vectors = _vectors(args.vectors, predicates) if args.vectors else None
    if args.builder == "frequency":
        return build_frequency_tree(
            predicates, counts, boundaries=args.boundaries, num_layers=args.layers, vectors=vectors, **common
        )
    if vectors is None:
        raise HMLError("the clustered builder needs word vectors; give --vectors FILE or --builder frequency")
    if vectors is None:
        raise HMLError("the clustered builder needs word vectors; give --vectors FILE or --builder frequency")
    actions = VG_ACTIONS if args.actions is None else tuple(args.actions)
    layers = 2 if args.layers is None else args.layers
    return build_clustered_tree(predicates, counts, vectors, num_layers=layers, actions=actions, **common)


def _vectors(path: str, predicates: list[str]) -> WordVectors:
    from tqdm import tqdm

    from ..method.vectors import load_vectors, words_to_read

    size = Path(path).stat().st_size if Path(path).is_file() else 0
    # Reading a whole GloVe or GoogleNews file takes minutes.
    with tqdm(total=size, unit="B", unit_scale=True, desc="word vectors", disable=None) as bar:
        return load_vectors(path, words=words_to_read(predicates), progress=bar.update)


def read_counts(path: str | Path) -> tuple[list[str], dict[str, int]]:
    """Predicates in index order and their counts out of ``{"predicates": [...], "counts": {...}}``."""
    from ..method.tree_file import read_json

    content = read_json(path, "counts file")
    if not isinstance(content, dict) or not isinstance(content.get("predicates"), list):
        raise HMLError(f'the counts file {path} must hold {{"predicates": [...], "counts": {{...}}}}; rewrite it')
    counts = content.get("counts")
    if not isinstance(counts, dict) or not all(isinstance(n, int) for n in counts.values()):
        raise HMLError(f'"counts" in {path} must map each predicate to a whole number; rewrite it')
    return content["predicates"], counts
