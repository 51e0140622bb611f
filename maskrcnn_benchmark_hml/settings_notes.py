"""The page docs/settings.md, and what it contains beyond one line per key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Values of HML.STAGES.LABELS.
POLICIES = {
    "only": "Images with a relation of the stage's layer, and only these labels. Pairs that are annotated with other "
    "predicates are ignored: they are neither foreground nor background and the pair sampler does not draw them.",
    "containing": "Images with at least one relation of the stage's layer, with all their labels.",
    "pure_images": "Images all of whose relations are in the stage's layer.",
    "all": "Every training image with a relation, with all its labels, whatever their layer.",
}

_NOTES = """\
**Label counts.** The relations of the host's training dataset are counted, without the validation images. These counts
are used for: a tree that is built at the start, n_i of eq. 4, the ranks of oversampling, the prior of `HML.TEST.TAU`,
and the check for empty stages. Relations whose boxes do not overlap count if training uses them: in PredCls and SGCls
always, in SGDet unless
`MODEL.ROI_RELATION_HEAD.REQUIRE_BOX_OVERLAP` excludes them. A pair with several predicates counts once for each. The
frequency bias of the predictors is computed by the host, which counts only overlapping boxes.

**n_0, the background's count.** With given boxes (PredCls, SGCls) it is counted in the annotations: for each image, the
number of background pairs that the sampler adds. With detected boxes (SGDet) it is measured, because these give far
fewer pairs than the sampler could take: n_0 is the number of the stage's images times the mean number of background
pairs per image, over all processes and all batches up to the current one. After 200 steps n_0 is fixed. It is logged
and stored in the resume file.

**Ignored pairs.** Under `only`, the host's sampler first returns all pairs. HML then draws the stage's pairs according
to `BATCH_SIZE_PER_IMAGE` and `POSITIVE_FRACTION`. So pairs annotated with predicates of other layers do not fill the
quota of annotated pairs and are never background. If a fork's sampler names these two attributes differently,
HML cannot do this: ignored pairs then use a part of the sampled pairs, and the log says so.

**The teacher in SGCls and SGDet.** In the frozen teacher, MOTIFS' object decoder runs in training mode and uses the
given object labels, as in the student, so that both use the same objects. In eval mode it would decode its own labels;
CR then differs by up to 26 % (measured). Dropout is off, and the rest of the teacher is in eval mode.

**Terms of eq. 9 (`HML.IMPORTANCE.INTERVAL`).** With 1, eq. 9 is computed as printed: a sum over steps of ratios, each
with that step's contribution, F and displacement. With 0 it is one ratio of sums for the whole stage, as in Riemannian
Walk. A parameter that happens to end near its initial value then outweighs all others (measured: 1 to 5 of 3.1 M
parameters hold 50 to 90 % of the sum), and the normalisation of eq. 10 becomes meaningless.

**Steps that raise the loss (`HML.IMPORTANCE.EFFECTIVE`).** The paper says below eq. 11: if the loss rises in a step,
its contribution is set to 0. With `parameter`, each parameter's contribution is clamped at 0. With `step`, all
parameters' contributions of a step are also set to 0 if the sum of -g dtheta over all P is below 0, that is, if the
loss rises to first order. This needs no second forward pass, and F still includes the step. The share of such steps is
logged at the end of the stage.

**The tree of `HML.PROFILE released`.** It is the frequency tree with the ranks [0, 8] and [8, 50] of the released
code's two-stage run. The split [0, 10] and [10, 50] is also cited for that code: `HML.TREE.BOUNDARIES 10`. To use the
clustered tree with the released values, give `HML.TREE.BUILDER ''` (the shipped tree) or a tree file.

**Overrides.** `{"X": "Y"}` moves X into the group of Y, wherever the other entries move Y, so the order of the entries
does not matter. `{"X": "X"}` makes X a group of its own. Circular entries are refused. If an override changes a
predicate's rank in its group, its layer changes accordingly; a layer given by an override has priority.

**T_SS.** Cosine similarities are rounded to 12 decimals before they are compared with the threshold. So
`HML.TREE.THRESHOLD 1.0` joins exactly the predicates whose vectors have the same direction.
"""


_PROFILES = """\
`HML.PROFILE` selects a file of values, `configs/hml/<profile>.yaml`. `paper` (default) has the values of the paper's
text, `released` those of the authors' released code, `tuned` the best ones found on VRD ([results](results.md)). Keys
of your config file and of the command line have priority. Bold values differ from the default. All other keys have
their defaults in every profile.
"""

_HEAD = """\
# Settings

All keys begin with `HML.`. Give them on the command line as `HML.KEY VALUE`, or in the config file. Lists are typed
`a,b` or `(a,b)`. Equation numbers are the paper's. The keys of SGB itself (`SOLVER`, `MODEL`, ...) keep their meaning;
a value that HML does not use, such as `SOLVER.MAX_ITER` beside `HML.STAGES.ITERATIONS`, is named in the log.
A setting that has no effect in a combination is refused, with the remedy. What a switch turns off (`HML.CONTROL`, a
weight of 0, a tree of one layer, plain losses, `HML.ENABLED False`) is only named in the log, for ablations.
This page is made by `python -m maskrcnn_benchmark_hml.config > docs/settings.md`.
"""

#: The keys that people change most.
_FIRST = ("ENABLED", "PROFILE", "STAGES.ITERATIONS", "TREE.FILE", "SEED", "CR.WEIGHT", "MR.WEIGHT", "CONTROL")

_SECTIONS = {
    "": "General", "TREE": "Predicate tree (eq. 1-2)", "STAGES": "Stages and their data",
    "LOSS": "Class-balanced loss (eq. 4)", "CR": "Concept Reconstruction (eq. 5)",
    "MR": "Model Reconstruction (eq. 12)", "FISHER": "Fisher information (eq. 6-8)",
    "IMPORTANCE": "Importance (eq. 9-11)", "TEST": "Logit adjustment in tests",
}


def _table(keys: Sequence) -> str:
    rows = [f"| `HML.{key.name}` | `{key.default!r}` | {key.allowed} | {key.doc} |" for key in keys]
    return "\n".join(["| key | default | allowed | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        yield from _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]


def _typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _profile_table(keys: Sequence, profiles: Mapping[str, Mapping[str, Any]]) -> str:
    names = sorted(profiles)
    values = {name: dict(_leaves(profiles[name])) for name in names}
    rows = []
    for key in keys:
        default = _typed(key.default)
        cells = [_typed(values[name].get(key.name, key.default)) for name in names]
        if key.name != "PROFILE" and set(cells) != {default}:
            shown = [f"`{cell}`" if cell else "(empty)" for cell in cells]
            bold = [text if cell == default else f"**{text}**" for text, cell in zip(shown, cells)]
            rows.append(f"| `HML.{key.name}` | {' | '.join(bold)} |")
    head = [f"| key | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    return "\n".join([*head, *rows]) + "\n"


def page(keys: Sequence, profiles: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/settings.md: the keys that people change, the profiles, every section, and the notes.

    Args:
        keys: the settings, with ``name``, ``default``, ``allowed`` and ``doc``.
        profiles: the ``HML`` node of each profile's file.
    """
    by_name = {key.name: key for key in keys}
    parts = [_HEAD, "## The eight keys that people change\n", _table([by_name[name] for name in _FIRST]),
             "## The three profiles\n", _PROFILES, _profile_table(keys, profiles)]
    for section, title in _SECTIONS.items():
        parts += [f"## {title}\n", _table([k for k in keys if k.name.rpartition(".")[0] == section])]
    policies = "\n".join(f"| `{name}` | {text} |" for name, text in POLICIES.items())
    parts += ["## Label policies\n", f"| `HML.STAGES.LABELS` | what the stage trains on |\n|---|---|\n{policies}\n"]
    return "\n".join([*parts, "## Notes\n", _NOTES])
