"""Every ``HML.*`` configuration key: default, meaning, allowed range, equation.

The keys live in one table, so the defaults, the range checks and the settings page of the docs cannot disagree.
Equation numbers are those of Deng et al., ECCV 2022 (arXiv 2203.06907).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import HMLError
from .method.choices import (
    BUILDERS,
    CONTRIBUTIONS,
    CONTROLS,
    CR_CLASSES,
    CR_METRICS,
    CR_REDUCTIONS,
    EFFECTIVE,
    FISHER_MODES,
    INITS,
    MR_MODES,
    MR_REDUCTIONS,
    PRIORS,
)
from .resources import config_root
from .settings_notes import POLICIES

#: Settings, and digests of what they name, that a resumed run may change on purpose (ACCEPT_CHANGED).
CHANGEABLE = (
    "WORLD_SIZE", "DATASETS.TRAIN.DIGEST", "DATASETS.VAL", "DATASETS.VAL.DIGEST", "DATALOADER.SIZE_DIVISIBILITY",
    "DATALOADER.ASPECT_RATIO_GROUPING", "GLOVE_DIR.DIGEST", "MODEL.PRETRAINED_DETECTOR_CKPT.DIGEST",
    "MODEL.WEIGHT.DIGEST",
)


@dataclass(frozen=True)
class Key:
    """One setting: dotted name below ``HML.``, default, what it does, and which values are allowed."""

    name: str
    default: Any
    doc: str
    allowed: str
    check: Callable[[Any], bool]


def profile_names() -> list[str]:
    """The numeric profiles: the files of ``configs/hml/``."""
    return sorted(p.stem for p in (config_root() / "hml").glob("*.yaml"))


def _one_of(*values: str) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(repr(v) for v in values), lambda v: v in values


def _each_of(*values: str) -> tuple[str, Callable[[Any], bool]]:
    return "a list of " + ", ".join(repr(v) for v in values), lambda v: all(x in values for x in v)


def _number(low: float, high: float = float("inf"), *, above: bool = False) -> tuple[str, Callable[[Any], bool]]:
    text = f"a number {'>' if above else '>='} {low:g}" + ("" if high == float("inf") else f" and <= {high:g}")
    return text, lambda v: _is_number(v) and (v > low if above else v >= low) and v <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _integers(low: int, *, empty: bool = False) -> tuple[str, Callable[[Any], bool]]:
    text = f"a list of whole numbers >= {low}" + (" (may be empty)" if empty else "")
    return text, lambda v: (empty or len(v) > 0) and all(isinstance(x, int) and x >= low for x in v)


def _numbers(low: float) -> tuple[str, Callable[[Any], bool]]:
    return f"a list of numbers >= {low:g}", lambda v: len(v) > 0 and all(_is_number(x) and x >= low for x in v)


_bool = ("True or False", lambda v: isinstance(v, bool))
_path = ("a path, or '' for none", lambda v: isinstance(v, str))
_names = ("a list of names", lambda v: all(isinstance(x, str) for x in v))


def _ascending(*, empty: bool = False) -> tuple[str, Callable[[Any], bool]]:
    text, check = _integers(1, empty=empty)
    return text.replace("whole", "ascending whole"), lambda v: check(v) and sorted(set(v)) == list(v)


KEYS: tuple[Key, ...] = tuple(
    Key(name, default, doc, *allowed)
    for name, default, allowed, doc in (
        ("ENABLED", False, _bool, "train in stages with HML; False gives the benchmark's own results bit for bit"),
        ("PROFILE", "paper", _one_of(*profile_names()), "numeric profile: configs/hml/<profile>.yaml"),
        ("SEED", 0, _number(0), "seeds weights, data order, transforms and pair sampling of every step"),
        (
            "CONTROL",
            "",
            _one_of("", *CONTROLS),
            "'' = HML. The others train one stage, with the iterations of all HML stages together, for comparison. "
            "'plain': all labels, plain cross entropy. 'class_balanced': all labels, l_new. 'oversampled': all labels, "
            "plain cross entropy, repeated images (STAGES.OVERSAMPLE_*; repeats 1, 5, 20 if empty). 'last_stage': the "
            "last stage's data and loss, without teacher and MR",
        ),
        # -- predicate tree, eq. 1-2
        ("TREE.FILE", "", _path, "tree file (JSON); it has priority over TREE.BUILDER. '' = the tree that "
         "TREE.BUILDER builds; if TREE.BUILDER is '' too, the tree of this vocabulary in configs/trees"),
        ("TREE.BUILDER", "", _one_of("", *BUILDERS), "build the tree at start from the relations in "
         "the training data, instead of loading one"),
        ("TREE.VECTORS", "", _path, "word vectors for the clustered builder (GloVe, word2vec, fastText, gensim, .pt); "
         "with the frequency builder they affect only the groups, not the layers"),
        ("TREE.SKIP_WORDS", (), _names, "words without a vector that are left out of a predicate's "
         "mean vector, eq. 1 (word2vec GoogleNews: of, to)"),
        ("TREE.ACTIONS", (), _names, "clustered builder: human actions; one that is alone in its group goes to the "
         "last layer; empty = the paper's list for VG"),
        ("TREE.THRESHOLD", 0.70, _number(-1, 1), "T_SS: the least cosine similarity within a group; a suitable value "
         "depends on the word vectors"),
        ("TREE.LAYERS", 0, _number(0, 10), "K: number of layers, and so of stages. A shipped tree, or that of "
         "TREE.FILE, gets this number of layers. 0 = the number that the tree or TREE.BOUNDARIES has, else 2"),
        ("TREE.BOUNDARIES", (), _ascending(empty=True), "frequency builder: ranks at which the next layers begin; "
         "empty = (10), (10, 35) or (10, 20, 35) for 2, 3 or 4 layers"),
        ("TREE.OVERRIDES", "", _path, "JSON: predicate -> {group or layer}: the paper's manual pruning; works with "
         "any tree"),
        # -- stages and their data
        (
            "STAGES.LABELS",
            (),
            _each_of(*POLICIES),
            "label policy per stage (see below); empty = 'containing' for the last stage, 'only' for the others",
        ),
        ("STAGES.ITERATIONS", (8000, 16000), _integers(1), "iterations per stage; the last number repeats"),
        ("STAGES.INIT", "fresh", _one_of(*INITS), "initial relation head of a stage. 'fresh' (paper): a "
         "new one; 'previous': all tensors of the previous stage's head, even if a detector is given"),
        ("STAGES.OVERSAMPLE_RANKS", (40, 45, 50), _ascending(), "frequency ranks up to which each repeat factor holds"),
        (
            "STAGES.OVERSAMPLE_REPEATS",
            (),
            _integers(1, empty=True),
            "under 'containing': how often an image is repeated, by the rank of its rarest predicate (released code: "
            "1, 5, 20; ranks beyond the last bound use the last factor); empty = never",
        ),
        # -- l_new, eq. 4
        ("LOSS.CLASS_BALANCED", (True,), ("a list of True/False", lambda v: len(v) > 0 and all(isinstance(x, bool)
         for x in v)), "class-balanced loss per stage (False: plain cross entropy); the last entry repeats"),
        ("LOSS.GAMMA", 0.0, ("0, or a number in (0, 1)", lambda v: _is_number(v) and 0 <= v < 1),
         "gamma of eq. 4; 0 = (N-1)/N with N the stage's foreground labels"),
        ("LOSS.EXPONENT", (1.0,), _numbers(0), "exponent of W_i per stage (1 = eq. 4, 0 = all classes have the "
         "same weight); "
         "the last entry repeats, and a one-stage HML.CONTROL run uses it"),
        ("LOSS.BACKGROUND_COUNT", -1, _number(-1), "n_0 of eq. 4; -1 = background pairs sampled in one epoch "
         "(see Notes)"),
        # -- CR, eq. 5
        ("CR.WEIGHT", 1.0, _number(0), "weight of CR; 0 = no teacher is run"),
        ("CR.METRIC", "l2", _one_of(*CR_METRICS), "distance between the two softmax vectors"),
        ("CR.TEMPERATURE", 1.0, _number(0, above=True), "softmax temperature of student and teacher"),
        ("CR.CLASSES", "old", _one_of(*CR_CLASSES), "classes compared: background + earlier stages', or all"),
        ("CR.REDUCTION", "mean", _one_of(*CR_REDUCTIONS), "mean over pairs, or the released code's sum / (2 C)"),
        # -- Fisher, importance and MR, eq. 6-12
        ("MR.WEIGHT", 0.5, _number(0), "lambda of eq. 3. The gradient of MR is added to that of the loss before "
         "clipping: the benchmark clips the norm of their sum. F and Omega see the gradient of the loss alone"),
        ("MR.MODE", "paper", _one_of(*MR_MODES), "weight of a parameter in MR. "
         "'paper': F + Omega; 'released': the released code's normalisation; 'mean_one': F + Omega divided by its "
         "mean; 'l2': 1 for every parameter (an ablation baseline: plain L2 to theta*). Under 'paper' and 'mean_one' "
         "a parameter with Omega_raw = 0 (it contributed to a lower loss in no step) has weight 0, even if its F is "
         "above 0"),
        ("MR.REDUCTION", "mean", _one_of(*MR_REDUCTIONS), "eq. 12's mean over P, or the sum over P. With the sum, "
         "lambda has the scale of a weight decay: under 'mean_one' and 'l2' MR's gradient per unit of distance to "
         "theta* is 2 lambda on average"),
        ("MR.EXTRACTORS", False, _bool, "also track the relation head's two feature extractors (about 139 M "
         "parameters more)"),
        ("FISHER.MODE", "mean", _one_of(*FISHER_MODES), "eq. 8: running mean; 'ema' as in the released code"),
        ("FISHER.EMA", 0.5, _number(0, 1, above=True), "weight of the new squared gradient in F, with "
         "FISHER.MODE 'ema'"),
        ("IMPORTANCE.INTERVAL", 1, _number(0), "recorded steps per term of eq. 9: 1 = one term per step, as printed; "
         "n = one term for every n steps; 0 = one term for the whole stage (see Notes)"),
        ("IMPORTANCE.EFFECTIVE", "parameter", _one_of(*EFFECTIVE), "which contributions are set to 0 where "
         "the loss rises (below eq. 11): those of single parameters, or also those of a whole step (see Notes)"),
        ("IMPORTANCE.CONTRIBUTION", "descent", _one_of(*CONTRIBUTIONS), "eq. 11 with the corrected sign, or as "
         "misprinted and released (then steps that raise the loss count as important)"),
        ("IMPORTANCE.EPS", 1e-30, _number(1.2e-38, 1), "eps of eq. 9; keep it far below F dtheta^2 / 2, which can be "
         "1e-18. Numbers below 1.2e-38 are 0 in float32"),
        # -- testing
        ("TEST.TAU", (), (_numbers(0)[0] + " (may be empty)", lambda v: all(_is_number(x) and x >= 0 for x in v)),
         "logit adjustment after training (Menon et al. 2021): each test is also evaluated with the relation logits "
         "minus tau log prior, and written to <test folder>/tau_<tau>/; works with HML.ENABLED False; empty = off"),
        ("TEST.PRIOR", "foreground", _one_of(*PRIORS), "logits that TEST.TAU adjusts. 'foreground': those "
         "of the predicates; each pair keeps its background probability. 'all': those of all C classes, with "
         "1 - POSITIVE_FRACTION as the background's prior"),
        # -- running
        ("VAL_METRIC", "R", _one_of("R", "mR"), "what validation returns to the plateau schedule: R@100 or mR@100"),
        ("EXTEND", False, _bool, "continue the run in OUTPUT_DIR, finished or not, with a longer last stage "
         "(STAGES.ITERATIONS); SOLVER.STEPS are scaled to the new length from then on. False: a changed length is "
         "refused"),
        ("ACCEPT_CHANGED", (), _each_of(*CHANGEABLE), "what may differ from the run in OUTPUT_DIR when it is resumed; "
         "the result is then no longer that of one uninterrupted run. Empty: a change is refused"),
        ("TENSORBOARD", False, _bool, "also write the training curves (metrics.jsonl) for TensorBoard, to "
         "OUTPUT_DIR/tensorboard; needs the package tensorboard; works with HML.ENABLED False"),
        ("KEEP_STATES", 2, _number(1), "number of resume files to keep, the newest ones"),
    )
)


def fitted(key: Key, value: Any) -> Any:
    """A value, as a file or the command line may give it, in the kind of its key: 5 as 5.0, "a,b" as ("a", "b")."""
    if isinstance(key.default, tuple):
        if isinstance(value, str):
            return tuple(literal(part.strip()) for part in value.split(",") if part.strip())
        return value if isinstance(value, (tuple, list)) or value is None else (value,)
    if isinstance(key.default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 else value
    return value


def literal(text: str) -> Any:
    """The Python value that a text stands for; the text itself if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def refuse_value(key: Key, value: Any) -> None:
    """HMLError for a value of another kind than the key's, or out of its range."""
    if isinstance(key.default, int) and not isinstance(key.default, bool) and not isinstance(value, int):
        raise HMLError(f"HML.{key.name} is {value!r}; give a whole number, {key.allowed}")
    if isinstance(key.default, tuple) and not isinstance(value, (tuple, list)) or not key.check(value):
        raise HMLError(f"HML.{key.name} is {value!r}; give {key.allowed}")
