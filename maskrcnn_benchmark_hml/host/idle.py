"""``HML.*`` settings without effect in a combination: refused, or named in the log where another one turns them off.

A setting counts as given if its value is not that of ``HML.PROFILE``. What a switch turns off (CONTROL, a weight of 0,
a tree of one layer, plain losses, no validation) is only named, so that an ablation is the same command with one more
option. Any other setting without effect is a mistake, and is refused before the run writes a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yacs.config import CfgNode

from ..config import add_hml_config, get, merge_profile, settings
from ..config_keys import KEYS
from ..errors import HMLError
from ..method.choices import ONE_STAGE
from ..training.stages import Stage


@dataclass(frozen=True)
class Rule:
    """Settings, when they have no effect, and why or what they need; ``refused`` or only named in the log."""

    names: tuple[str, ...]
    idle: Callable[[Any, Sequence[Stage]], bool]
    why: str
    refused: bool = False


def _names(section: str, *without: str) -> tuple[str, ...]:
    return tuple(key.name for key in KEYS if key.name.startswith(section) and key.name not in without)


#: ``c`` is the run's config, ``s`` its stages.
RULES = (
    Rule((*_names("CR."), *_names("MR.", "MR.EXTRACTORS"), "STAGES.INIT"), lambda c, s: len(s) == 1,
         "there is one stage, and so no earlier one (HML.CONTROL, or a tree of one layer)"),
    Rule(("STAGES.LABELS", "LOSS.CLASS_BALANCED", "TREE.OVERRIDES", "TREE.VECTORS", "TREE.THRESHOLD", "TREE.SKIP_WORDS",
          "TREE.ACTIONS"), lambda c, s: c.HML.CONTROL in ONE_STAGE,
         "this ablation baseline (HML.CONTROL) has its own labels and loss, and no tree"),
    Rule(("STAGES.OVERSAMPLE_REPEATS", "STAGES.OVERSAMPLE_RANKS"),
         lambda c, s: bool(c.HML.CONTROL) and not any(stage.repeats for stage in s),
         "this ablation baseline (HML.CONTROL) repeats no image"),
    Rule(("LOSS.GAMMA", "LOSS.EXPONENT", "LOSS.BACKGROUND_COUNT"), lambda c, s: not any(k.class_balanced for k in s),
         "no stage has the class-balanced loss (HML.LOSS.CLASS_BALANCED, HML.CONTROL)"),
    Rule(_names("CR.", "CR.WEIGHT"), lambda c, s: c.HML.CR.WEIGHT == 0, "HML.CR.WEIGHT is 0"),
    Rule(("MR.MODE", "MR.REDUCTION"), lambda c, s: c.HML.MR.WEIGHT == 0, "HML.MR.WEIGHT is 0"),
    Rule(("VAL_METRIC",), lambda c, s: not (c.SOLVER.TO_VAL or c.SOLVER.get("PRE_VAL", False)),
         "there is no validation (SOLVER.TO_VAL False)"),
    Rule(("TREE.BUILDER",), lambda c, s: bool(c.HML.TREE.FILE), "the tree is that of HML.TREE.FILE"),
    Rule(("TREE.BOUNDARIES",), lambda c, s: bool(c.HML.TREE.FILE) or c.HML.TREE.BUILDER != "frequency",
         "give HML.TREE.BUILDER frequency and no HML.TREE.FILE, or leave it out", True),
    Rule(("TREE.ACTIONS",), lambda c, s: bool(c.HML.TREE.FILE) or c.HML.TREE.BUILDER != "clustered",
         "give HML.TREE.BUILDER clustered and no HML.TREE.FILE, or leave it out", True),
    Rule(("TREE.VECTORS",), lambda c, s: bool(c.HML.TREE.FILE) or not c.HML.TREE.BUILDER,
         "give HML.TREE.BUILDER and no HML.TREE.FILE, or leave it out", True),
    Rule(("TREE.THRESHOLD", "TREE.SKIP_WORDS"), lambda c, s: bool(c.HML.TREE.FILE) or not c.HML.TREE.VECTORS,
         "give HML.TREE.BUILDER, HML.TREE.VECTORS and no HML.TREE.FILE, or leave it out", True),
    Rule(("STAGES.OVERSAMPLE_REPEATS",), lambda c, s: not any(stage.repeats for stage in s),
         "give one stage the label policy 'containing' (HML.STAGES.LABELS), or leave it out", True),
    Rule(("STAGES.OVERSAMPLE_RANKS",), lambda c, s: not any(stage.repeats for stage in s),
         "give HML.STAGES.OVERSAMPLE_REPEATS, or leave it out", True),
    Rule(("LOSS.CLASS_BALANCED",), lambda c, s: len(c.HML.LOSS.CLASS_BALANCED) > len(s),
         "it has more entries than there are stages; give one per stage at most", True),
    Rule(("LOSS.EXPONENT",), lambda c, s: not c.HML.CONTROL and len(c.HML.LOSS.EXPONENT) > len(s),
         "it has more entries than there are stages; give one per stage at most", True),
    Rule(("FISHER.EMA",), lambda c, s: c.HML.FISHER.MODE != "ema", "give HML.FISHER.MODE ema, or leave it out", True),
    Rule(("IMPORTANCE.EPS",), lambda c, s: c.HML.IMPORTANCE.CONTRIBUTION == "released",
         "HML.IMPORTANCE.CONTRIBUTION released has bounds of its own; leave it out", True),
    Rule(("TEST.PRIOR",), lambda c, s: not c.HML.TEST.TAU, "give HML.TEST.TAU, or leave it out", True),
)


def given(cfg: CfgNode) -> list[str]:
    """The settings, without ``HML.``, whose values are not those of the profile."""
    usual = add_hml_config(CfgNode())
    merge_profile(usual, cfg.HML.PROFILE)
    own, profile = settings(cfg), settings(usual)
    return [key.name for key in KEYS if own[f"HML.{key.name}"] != profile[f"HML.{key.name}"]]


def idle_settings(cfg: CfgNode, stages: Sequence[Stage]) -> dict[str, Rule]:
    """Each given setting that has no effect in this run, and the first rule that says so."""
    broken = {}
    for name in given(cfg):
        rule = next((rule for rule in RULES if name in rule.names and rule.idle(cfg, stages)), None)
        if rule is not None:
            broken[name] = rule
    return broken


def check_idle(cfg: CfgNode, stages: Sequence[Stage]) -> None:
    """Refuse a setting that has no effect and that no switch turns off.

    Raises:
        HMLError: names the setting, its value and the remedy.
    """
    for name, rule in idle_settings(cfg, stages).items():
        if rule.refused:
            raise HMLError(f"HML.{name} is {get(cfg, name)!r} and has no effect here: {rule.why}")


def turned_off(cfg: CfgNode, stages: Sequence[Stage]) -> list[str]:
    """One sentence for each reason why given settings are turned off."""
    by_reason: dict[str, list[str]] = {}
    for name, rule in idle_settings(cfg, stages).items():
        by_reason.setdefault(rule.why, []).append(f"HML.{name}")
    return [f"{', '.join(names)}: no effect, since {why}" for why, names in by_reason.items()]


def check_enabled(cfg: CfgNode, said: bool) -> str:
    """For a training without HML: the given settings that have no effect on it, in words; "" if there are none.

    Args:
        said: whether the user gave HML.ENABLED at all.

    Raises:
        HMLError: settings are given and HML.ENABLED is not: the user means HML, and would train without it.
    """
    same_seed = cfg.SOLVER.get("SEED", None) == cfg.HML.SEED
    acting = {"ENABLED", "TENSORBOARD", *(("SEED",) if same_seed else ())}
    names = [f"HML.{name}" for name in given(cfg) if name not in acting and not name.startswith("TEST.")]
    names += ["HML.PROFILE"] if cfg.HML.PROFILE != "paper" else []
    if names and not said:
        raise HMLError(
            f"{names[0]} is given and HML.ENABLED is not, so that this training would be without HML; add HML.ENABLED "
            "True, or HML.ENABLED False to train without it all the same"
        )
    return f"HML.ENABLED False turns off {', '.join(names)}" if names else ""
