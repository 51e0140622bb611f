"""Which predicate tree the HML runs of a demo or grid have, for any vocabulary.

What knows trees is imported where it is used: it takes seconds, and `--help` needs none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from yacs.config import CfgNode

from ..config import add_hml_config, merge_profile
from ..datasets.layout import DICTS_NAME
from ..errors import HMLError
from ..method.choices import BUILDERS
from ..resources import config_root

if TYPE_CHECKING:
    from ..method.tree import PredicateTree
    from ..method.vectors import WordVectors

HELP = (
    "HML's predicate tree: a tree file, `clustered` (needs --vectors) or `frequency` (default: the shipped tree of "
    "this vocabulary; without one, clustered if --vectors is given, else frequency)"
)
HELP_VECTORS = "word vectors of the clustered tree (threshold 0.70; hml tree makes trees with other thresholds)"
_RELEASED_SIZE = 50  # predicates of the vocabulary that RELEASED_BOUNDARIES were made for


@dataclass(frozen=True)
class TreeChoice:
    """What ``--tree`` and ``--vectors`` say: a file, ``clustered``, ``frequency``, or nothing."""

    which: str = ""
    vectors: Path | None = None

    def check(self) -> None:
        """HMLError if the two options contradict each other or name a file that does not exist."""
        if self.which == "clustered" and self.vectors is None:
            raise HMLError("--tree clustered needs word vectors; add --vectors FILE or use --tree frequency")
        if self.vectors is not None and self.which not in ("", "clustered"):
            raise HMLError(f"--vectors has no effect with --tree {self.which}; leave one of them out")
        if self.which not in ("", *BUILDERS) and not Path(self.which).is_file():
            raise HMLError(f"--tree is {self.which!r}; give an existing tree file, clustered or frequency")
        if self.vectors is not None and not self.vectors.is_file():
            raise HMLError(f"the word vectors {self.vectors} do not exist; give an existing file to --vectors")
        self.load()

    def load(self) -> PredicateTree | None:
        """The tree of the file; None where the choice is none."""
        if self.which in ("", *BUILDERS):
            return None
        from ..method.tree import PredicateTree

        return PredicateTree.load(self.which)

    @property
    def layers(self) -> int | None:
        """The number of layers of a given tree file; None without one."""
        tree = self.load()
        return None if tree is None else tree.num_layers


@dataclass(frozen=True)
class DataTrees:
    """The trees of one dataset folder.

    Args:
        choice: what the user asked for.
        data: the dataset folder.
        folder: where trees that do not ship are saved.
    """

    choice: TreeChoice
    data: Path
    folder: Path

    def overrides(self, layers: int, profile: str = "paper") -> dict[str, str]:
        """Config overrides of an HML run; none where the profile or the shipped tree says it.

        Args:
            layers: of the tree, stages of the run.
            profile: HML.PROFILE; one that builds a tree keeps it, unless the user chose one or it does not fit.

        Raises:
            HMLError: no such tree can be made of this vocabulary, or a stage would have nothing to learn.
        """
        if self._profile_boundaries(profile, layers) is not None or (
            layers == 2 and not self.choice.which and self.shipped is not None
        ):
            return {}
        return {"HML.TREE.FILE": str(self.saved(self.tree(layers)))}

    def saved(self, tree: PredicateTree) -> Path:
        """The file of a tree, written if it is not there."""
        path = self.folder / f"{tree.builder}-{tree.digest[:10]}.json"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            tree.save(path)
        return path

    def tree(self, layers: int) -> PredicateTree:
        """The tree that was asked for, with that many layers."""
        from ..method.tree import BACKGROUND
        from ..method.tree_builders import build_clustered_tree

        names, kind = self.names, self.kind
        if self.shipped is not None and kind == "shipped":
            return self.shipped.with_layers(layers)
        given = self.choice.load()
        if given is not None:
            tree = given
            tree.check_vocabulary([BACKGROUND, *names])
            tree = tree.with_layers(layers)
        elif kind == "clustered":
            tree = build_clustered_tree(names, self.counts, self.vectors, num_layers=layers)
        else:
            tree = self.frequency_tree(layers)
        check_layers(tree, self.counts)
        return tree

    @property
    def kind(self) -> str:
        """``shipped``, ``file``, ``clustered`` or ``frequency``."""
        if self.choice.which:
            return self.choice.which if self.choice.which in BUILDERS else "file"
        if self.shipped is not None:
            return "shipped"
        return "clustered" if self.choice.vectors is not None else "frequency"

    def frequency_tree(self, layers: int) -> PredicateTree:
        """The released code's split by frequency rank, its boundaries scaled to this vocabulary's size."""
        return self._by_frequency(frequency_boundaries(self._occurring(), layers))

    def _by_frequency(self, boundaries: Sequence[int]) -> PredicateTree:
        from ..method.tree_builders import build_frequency_tree

        return build_frequency_tree(self.names, self.counts, boundaries=boundaries)

    def released_boundaries(self, layers: int) -> tuple[int, ...]:
        """The released code's boundaries, scaled only if a vocabulary without a shipped tree is too small for them."""
        from ..method.layers import RELEASED_BOUNDARIES

        released = RELEASED_BOUNDARIES[layers]
        if self.shipped is not None or not released or released[-1] < self._occurring():
            return released
        return frequency_boundaries(self._occurring(), layers)

    def describe(self, layers: int, profile: str = "paper") -> str:
        """Which tree an HML run has and the predicates of its layers, in one line."""
        boundaries = self._profile_boundaries(profile, layers)
        if boundaries is not None:
            tree = self._by_frequency(boundaries)
            return f"Predicate tree: by frequency, as the profile {profile} builds it; {_layers_line(tree)}."
        tree = self.tree(layers)
        said = {
            "shipped": "the shipped one of this vocabulary",
            "file": self.choice.which,
            "clustered": f"clustered by word vectors ({self.choice.vectors}, threshold 0.70)",
            "frequency": "layered by frequency alone",
        }[self.kind]
        reason = "" if self.choice.which or self.shipped else "no shipped tree has these predicates: "
        return f"Predicate tree: {reason}{said}; {_layers_line(tree)}."

    @cached_property
    def names(self) -> list[str]:
        """The predicates in index order."""
        from ..datasets.reader import read_names

        return list(read_names(self.data / DICTS_NAME, "predicate")[0])

    @cached_property
    def counts(self) -> dict[str, int]:
        """Relations per predicate in the training split."""
        from ..datasets.training_labels import read_dataset_counts

        return read_dataset_counts(self.data)[1]

    @cached_property
    def vectors(self) -> WordVectors:
        """The given word vectors, read once for all runs: a tree also names their file's digest, GB to read."""
        from ..method.vectors import load_vectors, words_to_read

        return load_vectors(str(self.choice.vectors), words=words_to_read(self.names))

    @cached_property
    def shipped(self) -> PredicateTree | None:
        """The first tree of configs/trees/ that has exactly these predicates."""
        from ..training.trees import find_tree

        return find_tree(config_root() / "trees", "*.json", self.names)

    def _profile_boundaries(self, profile: str, layers: int) -> tuple[int, ...] | None:
        """The boundaries of the tree that the profile builds, if it is used: nothing else was chosen, and it fits."""
        cfg = add_hml_config(CfgNode())
        merge_profile(cfg, profile)
        boundaries = tuple(cfg.HML.TREE.BOUNDARIES)
        if self.choice.which or cfg.HML.TREE.BUILDER != "frequency" or len(boundaries) != layers - 1:
            return None
        fits = self.shipped is not None or not boundaries or boundaries[-1] < self._occurring()
        return boundaries if fits else None

    def _occurring(self) -> int:
        """Predicates that occur in the training split."""
        return sum(n > 0 for n in self.counts.values())


def frequency_boundaries(predicates: int, layers: int) -> tuple[int, ...]:
    """Ranks at which the next layer begins: the released code's for 50 predicates, at the same shares.

    Args:
        predicates: those that occur in the training split, at least as many as layers.

    Raises:
        HMLError: too few predicates, or no released split has that many layers.
    """
    from ..method.layers import RELEASED_BOUNDARIES

    if layers not in RELEASED_BOUNDARIES:
        raise HMLError(f"a frequency tree has 1 to {max(RELEASED_BOUNDARIES)} layers, not {layers}")
    if predicates < layers:
        raise HMLError(f"{predicates} predicates occur in the training split, too few for {layers} layers; use fewer")
    edges: list[int] = []
    for at, edge in enumerate(RELEASED_BOUNDARIES[layers]):
        lowest, highest = (edges[-1] if edges else 0) + 1, predicates - (layers - 1 - at)
        edges.append(min(max(round(edge * predicates / _RELEASED_SIZE), lowest), highest))
    return tuple(edges)


def check_layers(tree: PredicateTree, counts: Mapping[str, int]) -> None:
    """HMLError if a layer has no relation in the training split: its stage would have nothing to learn."""
    for k in range(1, tree.num_layers + 1):
        names = tree.layer(k)
        if not sum(counts[name] for name in names):
            raise HMLError(
                f"layer {k} of the predicate tree ({_some(names)}) has no relation in the training split, so its stage "
                "would have nothing to learn; choose another tree with --tree, or make one with hml tree"
            )


def _layers_line(tree: PredicateTree) -> str:
    layers = (tree.layer(k) for k in range(1, tree.num_layers + 1))
    return "; ".join(f"layer {k}: {len(names)} predicates ({_some(names)})" for k, names in enumerate(layers, 1))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
