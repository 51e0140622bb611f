"""Predictor and task -> config file and overrides. A new predictor needs an entry in PREDICTORS and one in TITLES.

There is one base config, ``configs/demo/relation.yaml`` (MOTIFS, PredCls); everything else is that file and a few keys.
"""

from __future__ import annotations

from pathlib import Path

from ..datasets.layout import DICTS_NAME
from ..errors import HMLError
from ..resources import config_file

RELATION_CONFIG = "demo/relation.yaml"
DETECTOR_CONFIG = "demo/detector.yaml"
DETECTOR_ITERATIONS = 2700  # demo/detector.yaml's
DETECTOR_SCRIPT = "tools/detector_pretrain_net.py"

_HEAD = "MODEL.ROI_RELATION_HEAD"
#: What makes a run of the demo short: no validation, so learning rates that decay at fixed shares of each stage instead
#: of by validation results; and predictions are kept of a few images alone, for the drawings of the report.
NO_VALIDATION = (
    "SOLVER.TO_VAL", "False", "SOLVER.SCHEDULE.TYPE", "WarmupMultiStepLR", "TEST.SAVE_PREDICTIONS", "False",
    "TEST.SAVED_IMAGES", "60",
)  # fmt: skip
#: And a smaller head: half the bins of a pooled box, half the pairs of an image. Not with a detector, whose box head
#: has the bins of demo/detector.yaml.
SMALL_HEAD = ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "5", f"{_HEAD}.BATCH_SIZE_PER_IMAGE", "32")
#: Attention learns at a fifth of the rate of the LSTMs.
PREDICTORS: dict[str, tuple[str, ...]] = {
    "motifs": (f"{_HEAD}.PREDICTOR", "MotifPredictor"),
    "vctree": (f"{_HEAD}.PREDICTOR", "VCTreePredictor"),
    "transformer": (f"{_HEAD}.PREDICTOR", "TransformerPredictor", "SOLVER.BASE_LR", "0.003"),
}
#: Their names in texts.
TITLES = {"motifs": "MOTIFS", "vctree": "VCTree", "transformer": "Transformer"}
TASKS: dict[str, tuple[str, ...]] = {
    "predcls": (f"{_HEAD}.USE_GT_BOX", "True", f"{_HEAD}.USE_GT_OBJECT_LABEL", "True"),
    "sgcls": (f"{_HEAD}.USE_GT_BOX", "True", f"{_HEAD}.USE_GT_OBJECT_LABEL", "False"),
    "sgdet": (f"{_HEAD}.USE_GT_BOX", "False", f"{_HEAD}.USE_GT_OBJECT_LABEL", "False"),
}
#: What of demo/detector.yaml's network differs from the base config's fixed random backbone.
_DETECTOR_NETWORK = (
    *("MODEL.RESNETS.BACKBONE_OUT_CHANNELS", "48"),
    *("MODEL.ROI_BOX_HEAD.POOLER_SCALES", "(0.25,0.125,0.0625)"),
)


def run_overrides(
    predictor: str, task: str, data: Path, *, detector: Path | None = None
) -> tuple[Path, tuple[str, ...]]:
    """Config file and ``KEY, VALUE, ...`` overrides of a relation run.

    Args:
        predictor: a key of PREDICTORS.
        task: a key of TASKS.
        data: dataset folder in the VG format; decides the numbers of classes.
        detector: weights of a detector trained with demo/detector.yaml on the same object classes. PredCls does
            without (fixed random backbone).

    Raises:
        HMLError: an unknown name, no vocabulary in ``data``, or SGCls or SGDet without a detector.
    """
    for what, name, table in (("predictor", predictor, PREDICTORS), ("task", task, TASKS)):
        if name not in table:
            raise HMLError(f"there is no {what} {name!r}; choose one of {', '.join(table)}")
    if detector is None and task != "predcls":
        raise HMLError(f"{task} needs a detector's weights; train one with {DETECTOR_SCRIPT} and {DETECTOR_CONFIG}")
    network = () if detector is None else (*_DETECTOR_NETWORK, "MODEL.PRETRAINED_DETECTOR_CKPT", str(detector))
    return config_file(RELATION_CONFIG), (*class_counts(data), *PREDICTORS[predictor], *TASKS[task], *network)


def class_counts(data: Path) -> tuple[str, ...]:
    """Config overrides for the numbers of object and predicate classes (with background) of a dataset folder.

    Raises:
        HMLError: the folder has no vocabulary.
    """
    from ..datasets.reader import read_names

    objects, predicates = (len(names) + 1 for names in read_names(data / DICTS_NAME, "label", "predicate"))
    return (
        *("MODEL.ROI_BOX_HEAD.NUM_CLASSES", str(objects)),
        *(f"{_HEAD}.NUM_CLASSES", str(predicates)),
    )
