"""A grid of experiments: which runs belong together and how they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import HMLError

FAMILIES = ("baseline", "control", "ablation", "HML")


@dataclass(frozen=True)
class Variant:
    """One line of a grid's table; with several predictors, tasks and seeds it is several runs.

    Attributes:
        name: shown in tables and figures.
        family: one of FAMILIES: its colour and marker in figures.
        set: config keys and values. HML is on unless ``HML.ENABLED`` is false here.
        layers: stages, so layers of the tree. The shipped tree is cut to that number.
        tree: name of a tree of configs/experiments/trees/, ``frequency``, or empty for the shipped one.
        shares: the stages' parts of the iterations; empty: the profile's, or equal ones and two for the last stage.
        predictors, tasks: those of the grid unless given.
        after: the variant whose checkpoints are tested, and not trained again.
        taus: logit adjustment of that test, one row each.
        prior: its HML.TEST.PRIOR.
        x: place on the axis of a sweep's figure.
    """

    name: str
    family: str = "ablation"
    set: Mapping[str, Any] = field(default_factory=dict)
    layers: int = 2
    tree: str = ""
    shares: tuple[int, ...] = ()
    predictors: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    after: str = ""
    taus: tuple[float, ...] = ()
    prior: str = "foreground"
    x: float | None = None

    @property
    def staged(self) -> bool:
        """Whether HML trains it."""
        return bool(self.set.get("HML.ENABLED", True))


@dataclass(frozen=True)
class Sweep:
    """A figure of recall over one setting: its name, and whether the axis is logarithmic."""

    axis: str
    log: bool = False


@dataclass(frozen=True)
class Grid:
    """Variants with what they share.

    Attributes:
        iterations: of every variant; its stages split them.
        seeds: runs of each, seeds 0..n-1.
        sweep: None: no such figure.
        merged: also report merged recall (sec. 4.4) of every coarse predicate.
    """

    name: str
    title: str
    iterations: int
    seeds: int
    variants: tuple[Variant, ...]
    sweep: Sweep | None = None
    merged: bool = False

    def runs(self) -> int:
        """Number of training runs."""
        return self.seeds * sum(len(c.predictors) * len(c.tasks) for c in self.variants if not c.after)

    @property
    def needs_detector(self) -> bool:
        """Whether one of its tasks detects boxes or object labels."""
        return any(task != "predcls" for variant in self.variants for task in variant.tasks)

    def narrowed(self, predictors: Sequence[str], tasks: Sequence[str]) -> Grid:
        """The grid with some of its predictors and tasks alone; an empty sequence keeps all.

        Raises:
            HMLError: no variant has a predictor or task of that name, or none has both.
        """
        variants = list(self.variants)
        for kind, wanted in (("predictors", predictors), ("tasks", tasks)):
            present = sorted({name for variant in self.variants for name in getattr(variant, kind)})
            for name in wanted:
                if name not in present:
                    raise HMLError(f"{self.name} has no {name!r} among its {kind}; it has {', '.join(present)}")
            if wanted:
                left = [tuple(n for n in getattr(c, kind) if n in wanted) for c in variants]
                variants = [replace(c, **{kind: names}) for c, names in zip(variants, left)]  # type: ignore[arg-type]
        variants = [variant for variant in variants if variant.predictors and variant.tasks]
        if not variants:
            raise HMLError(f"no variant of the grid {self.name} has one of these predictors and one of these tasks")
        return replace(self, variants=tuple(variants))


def override_text(value: Any) -> str:
    """A value as it stands on a command line."""
    if isinstance(value, (list, tuple)):
        return "(" + "".join(f"{one!r}," for one in value) + ")"
    return value if isinstance(value, str) else repr(value)
