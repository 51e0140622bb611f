"""What the settings page says beyond one line per key."""

from __future__ import annotations

#: Values of HML.STAGES.LABELS.
POLICIES = {
    "only": "Images with a relation of the stage's layer, and these labels alone. Pairs that are annotated with other "
    "predicates are ignored: they are neither foreground nor background and take no place in the pair sampler.",
    "containing": "Images with at least one relation of the stage's layer, with all their labels.",
    "pure_images": "Images all of whose relations are in the stage's layer.",
    "all": "Every training image with a relation, with all its labels, whatever their layer.",
}

_NOTES = """\
**Label counts.** The tree at start, eq. 4's n_i, the ranks of oversampling, the prior of `HML.TEST.TAU` and the check
that no stage is empty all count the relations of the host's own training dataset: validation images are left out, and
relations whose boxes do not touch count wherever training uses them (in PredCls and SGCls always; in SGDet unless
`MODEL.ROI_RELATION_HEAD.REQUIRE_BOX_OVERLAP` leaves them out). A pair with several predicates counts for each. The
frequency bias of the predictors is the host's and still counts touching boxes alone.

**n_0, the background's count.** With given boxes (PredCls, SGCls) it follows from the annotations: per image the pairs
that the sampler fills up with background. With detected boxes (SGDet) it is measured, because a detector's boxes give
far fewer pairs than the sampler asks for: the stage's images times the mean number of background pairs per image in the
batches so far, the current one included, over all processes. After 200 steps it stays; it is in the resume file and
logged. `HML.LOSS.BACKGROUND_COUNT` sets it by hand.

**Ignored pairs.** Under `only` the host's sampler is asked for all pairs, then the stage's pairs are drawn by
`BATCH_SIZE_PER_IMAGE` and `POSITIVE_FRACTION`: pairs that are annotated with other layers' predicates do not use up the
quota of annotated pairs, and are never background. A fork whose sampler has other attributes for these two sizes loses
their places; the log says so.

**The teacher in SGCls and SGDet.** MOTIFS' object decoder runs in training mode in the frozen teacher, as it does in
the student, and reads the objects' given labels: both must see the same objects. In eval mode it would decode its own
labels; measured, CR differs by up to 26 % between the two. Dropout is off, and the rest of the teacher is in eval mode.

**The tree of `HML.PROFILE released`.** The frequency tree with the ranks [0, 8] and [8, 50] of the released code's
two-stage run. Another split named for that code is [0, 10] and [10, 50]: `HML.TREE.BOUNDARIES 10`. For the clustered
tree with the released numbers give `HML.TREE.BUILDER ''` (the shipped tree) or a file.

**Overrides.** `{"X": "Y"}` moves X into the group in which Y ends, so the order of the entries does not matter; X's own
name begins a group. Entries that lead in a circle are refused. A predicate whose rank in its group changes thereby
gets the layer of that rank; a layer that an override gives has the last word.

**T_SS.** Cosine similarities are rounded to 12 decimals before they are compared, so at `HML.TREE.THRESHOLD 1.0` the
predicates join whose vectors have the same direction.
"""


def notes() -> str:
    """The label policies and the notes in Markdown."""
    rows = ["| `HML.STAGES.LABELS` | what the stage trains on |", "|---|---|"]
    rows += [f"| `{name}` | {text} |" for name, text in POLICIES.items()]
    return "\n## Label policies\n\n" + "\n".join(rows) + "\n\n## Notes\n\n" + _NOTES
