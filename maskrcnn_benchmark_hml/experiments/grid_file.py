"""A grid's file: a small YAML file, read with an error for everything that it may not hold."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yacs.config import CfgNode

from ..config import check_option_names, normalise_options
from ..errors import HMLError
from ..method.choices import PRIORS
from ..resources import config_root, embedded_root
from ..yaml_file import YamlFile, read_yaml
from .grid import FAMILIES, Grid, Sweep, Variant, override_text
from .presets import PREDICTORS, TASKS

#: What the grid itself decides; a file that set these would break the equal budgets or the folders.
RESERVED = ("OUTPUT_DIR", "SOLVER.MAX_ITER", "SOLVER.SEED", "HML.SEED", "HML.STAGES.ITERATIONS", "DATASETS.TEST",
            "HML.TEST.TAU", "HML.TEST.PRIOR", "MODEL.WEIGHT", "HML.TREE.FILE")
_KEYS = ("title", "iterations", "seeds", "predictors", "tasks", "set", "quick", "include", "axes", "sweep", "merged",
         "variants", "cells")


def grid_folder() -> Path:
    return config_root() / "experiments"


def grid_names() -> list[str]:
    """The shipped grids, in the order of their names."""
    return sorted(path.stem for path in grid_folder().glob("*.yaml"))


def load_grid(name: str, *, quick: bool = False, above: tuple[Path, ...] = ()) -> Grid:
    """A shipped grid by its name, or one's own by the path of its YAML file.

    Args:
        above: the files that include this one.

    Raises:
        HMLError: no such grid, an unknown key, a wrong value, two variants of one name; each with the file's name.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else grid_folder() / f"{name}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, grid_names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "hml experiment list shows them."
        raise HMLError(f"there is no experiment {name!r}; {hint}")
    if path.resolve() in above:
        raise HMLError(f"{path.name} includes itself, over {above[-1].name}; leave one of the two out of include")
    file = read_yaml(path, "an experiment")
    return _Reader(path.name, quick, file, (*above, path.resolve())).grid(path.stem, file.content)


@dataclass(frozen=True)
class _Reader:
    """Reads one file; every error names it."""

    file: str
    quick: bool
    read: YamlFile
    files: tuple[Path, ...]  # this one, and those that include it

    def grid(self, name: str, content: Any) -> Grid:
        content = dict(self.mapping(content, _KEYS, "the file"))
        if "cells" in content:  # the older name of this key
            if "variants" in content:
                self.refuse("it has both variants and cells, two names of one key; put all into variants")
            content["variants"] = content.pop("cells")
        quick = self.mapping(content.pop("quick", {}), ("iterations", "predictors", "tasks", "leave_out"), "quick")
        left_out = self.texts(quick.get("leave_out", []), "leave_out")
        if self.quick:
            content.update({key: value for key, value in quick.items() if key != "leave_out"})
        shared = {
            "predictors": self.choices(content.get("predictors", ["motifs"]), PREDICTORS, "predictors"),
            "tasks": self.choices(content.get("tasks", ["predcls"]), TASKS, "tasks"),
        }
        common = self.settings(content.get("set", {}), "set")
        variants = [variant for other in self.texts(content.get("include", []), "include")
                    for variant in load_grid(other, quick=self.quick, above=self.files).variants]
        own = [self.variant(c, shared, common) for c in [*self.sequence(content.get("variants", []), "variants"),
                                                          *self.product(content.get("axes", []))]]
        names = [variant.name for variant in own]
        for label in left_out:
            self.one_of(label, names, "leave_out")
        variants = self.distinct([*variants, *own])
        if self.quick:
            variants = [c for c in variants if c.name not in left_out and c.after not in left_out]
        if not variants:
            self.refuse("it has no variants; give variants, axes or include")
        self.check_after(variants)
        return Grid(
            name=name,
            title=self.text(content.get("title", ""), "title"),
            iterations=self.whole(content.get("iterations", 900), "iterations"),
            seeds=1 if self.quick else self.whole(content.get("seeds", 3), "seeds"),
            variants=tuple(variants),
            sweep=self.sweep(content.get("sweep")),
            merged=self.truth(content.get("merged", False), "merged"),
        )

    def product(self, axes: Any) -> Iterator[dict[str, Any]]:
        """Variants of all combinations: each axis maps a label to a part of a variant; empty labels are not shown."""
        parts = [list(self.mapping(axis, None, "axes").items()) for axis in self.sequence(axes, "axes")]
        for chosen in itertools.product(*parts) if parts else ():
            variant: dict[str, Any] = {"name": ", ".join(str(label) for label, _ in chosen if label)}
            settings: dict[str, Any] = {}
            for label, part in chosen:
                part = dict(self.mapping(part or {}, ("set", "tree", "layers", "shares", "family"), f"axes: {label}"))
                settings.update(self.mapping(part.pop("set", {}), None, f"axes: {label}: set"))
                variant.update(part)
            yield {**variant, "set": settings}

    def variant(self, content: Any, shared: Mapping[str, Any], common: Mapping[str, Any]) -> Variant:
        content = dict(self.mapping(content, [f.name for f in fields(Variant)] + ["predictor", "task"], "a variant"))
        name = self.text(content.get("name"), "name")
        for one, several in (("predictor", "predictors"), ("task", "tasks")):
            if one in content:
                content[several] = [content.pop(one)]
        own = self.settings(content.get("set", {}), name)
        tested = bool(content.get("after"))
        if tested and (own or "layers" in content or "tree" in content or "shares" in content):
            self.refuse(f"the variant {name!r} comes after another and only tests it; leave out set, tree, layers, "
                        "shares")
        if tested != ("taus" in content):
            self.refuse(f"the variant {name!r} has {'after' if tested else 'taus'} alone; after and taus go together")
        variant = Variant(
            name=name,
            family=self.one_of(content.get("family", "control" if tested else "ablation"), FAMILIES, "family"),
            set={} if tested else {**common, **own},
            layers=self.whole(content.get("layers", 2), "layers"),
            tree=str(content.get("tree", "")),
            shares=tuple(self.whole(n, "shares") for n in self.sequence(content.get("shares", []), "shares")),
            predictors=self.choices(content.get("predictors", shared["predictors"]), PREDICTORS, "predictors"),
            tasks=self.choices(content.get("tasks", shared["tasks"]), TASKS, "tasks"),
            after=str(content.get("after", "")),
            taus=tuple(self.number(t, "taus") for t in self.sequence(content.get("taus", []), "taus")),
            prior=self.one_of(content.get("prior", "foreground"), PRIORS, "prior"),
            x=None if content.get("x") is None else self.number(content["x"], "x"),
        )
        if variant.shares and len(variant.shares) != variant.layers:
            self.refuse(f"the variant {name!r} has {len(variant.shares)} shares for {variant.layers} layers; give one "
                        "each")
        if not variant.staged:  # HML's settings have no effect there: without them the run is shared between profiles
            variant = replace(variant, set={k: v for k, v in variant.set.items() if not k.startswith("HML.")}
                              | {"HML.ENABLED": False})
        return variant

    def settings(self, content: Any, where: str) -> dict[str, Any]:
        """Keys and values of a config, checked against those that exist."""
        content = dict(self.mapping(content, None, where))
        defaults = host_defaults()
        for key, value in content.items():
            if key in RESERVED:
                self.refuse(f"{where} sets {key}, which the experiment itself decides; leave it out")
            if not key.startswith("HML.") and key not in defaults:
                self.one_of(key, sorted(defaults), where)
            if value is None:
                self.refuse(f"{where}: {key} has no value; give one, or leave the key out")
            if isinstance(value, int) and isinstance(defaults.get(key), float):
                value = content[key] = float(value)
            default = _literal(defaults.get(key))
            if default is not None and not self.like(value, default):
                self.refuse(f"{where}: {key} is {value!r}; give a value like the default, {default!r}")
        try:
            check_option_names(list(content))
            normalise_options([word for key, value in content.items() for word in (key, override_text(value))])
        except HMLError as error:
            self.refuse(f"{where}: {error}")
        return content

    @staticmethod
    def like(value: Any, default: Any) -> bool:
        """Whether a value has the type of a key's default, as yacs wants it."""
        value, listed = _literal(value), (list, tuple)
        return type(value) is type(default) or isinstance(value, listed) and isinstance(default, listed)

    def distinct(self, variants: Sequence[Variant]) -> list[Variant]:
        kept: dict[str, Variant] = {}
        for variant in variants:
            if kept.setdefault(variant.name, variant) != variant:
                self.refuse(f"two different variants are called {variant.name!r}; rename one")
        return list(kept.values())

    def check_after(self, variants: Sequence[Variant]) -> None:
        trained = {variant.name: variant for variant in variants if not variant.after}
        for variant in variants:
            if variant.after:
                self.one_of(variant.after, list(trained), f"after of {variant.name!r}")
                parent = trained[variant.after]
                if not (set(variant.predictors) <= set(parent.predictors) and set(variant.tasks) <= set(parent.tasks)):
                    self.refuse(f"the variant {variant.name!r} has a predictor or task that {parent.name!r} lacks")

    def sweep(self, content: Any) -> Sweep | None:
        if content is None:
            return None
        content = self.mapping(content, ("axis", "log"), "sweep")
        return Sweep(self.text(content.get("axis"), "sweep: axis"), self.truth(content.get("log", False), "log"))

    # -- values -----------------------------------------------------------------------------------------------------

    def refuse(self, what: str) -> NoReturn:
        raise HMLError(f"{self.file}: {self.read.explained(what)}")

    def truth(self, value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            self.refuse(f"{where} is {value!r}; give true or false")
        return value

    def mapping(self, value: Any, known: Sequence[str] | None, where: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.refuse(f"{where} is {value!r}; give keys and values")
        for key in value if known is not None else ():
            self.one_of(key, known or (), where)
        return value

    def one_of(self, value: Any, known: Sequence[str], where: str) -> str:
        if value not in known:
            near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
            some = f"did you mean {near[0]!r}?" if near else f"it knows: {', '.join(known[:12])}"
            self.refuse(f"{where} has {value!r}; {some}")
        return value

    def sequence(self, value: Any, where: str) -> Sequence[Any]:
        if not isinstance(value, list):
            self.refuse(f"{where} is {value!r}; give a list")
        return value

    def texts(self, value: Any, where: str) -> list[str]:
        return [self.text(one, where) for one in self.sequence(value, where)]

    def choices(self, value: Any, table: Mapping[str, Any], where: str) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [value]
        elif not isinstance(value, tuple):
            value = self.sequence(value, where)
        return tuple(self.one_of(one, list(table), where) for one in value)

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"{where} is {value!r}; give a text")
        return value.strip()

    def whole(self, value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.refuse(f"{where} is {value!r}; give a whole number of at least 1")
        return value

    def number(self, value: Any, where: str) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
            self.refuse(f"{where} has {value!r}; give numbers of at least 0")
        return float(value)


def _literal(value: Any) -> Any:
    """A text as yacs reads it: what it means as a Python literal, else the text."""
    return CfgNode._decode_cfg_value(value) if isinstance(value, str) else value


def host_defaults() -> dict[str, Any]:
    """The embedded benchmark's settings, flat."""
    path = embedded_root() / "maskrcnn_benchmark" / "config" / "defaults.yaml"

    def flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, Mapping) and value:
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return dict(flat(yaml.safe_load(path.read_text("utf-8")), ""))
