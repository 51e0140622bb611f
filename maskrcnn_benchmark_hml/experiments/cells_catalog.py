"""Predictor, task and layers -> config file and overrides: what makes one small run differ from another.

There is one base config, ``configs/demo/relation.yaml`` (MOTIFS, PredCls); everything else is that file and a few keys.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import HMLError
from ..resources import config_file

RELATION_CONFIG = "demo/relation.yaml"
DETECTOR_CONFIG = "demo/detector.yaml"
DETECTOR_ITERATIONS = 2700  # demo/detector.yaml's
DETECTOR_SCRIPT = "tools/detector_pretrain_net.py"

_HEAD = "MODEL.ROI_RELATION_HEAD"
#: Attention learns at a fifth of the rate of the LSTMs.
PREDICTORS: dict[str, tuple[str, ...]] = {
    "motifs": (f"{_HEAD}.PREDICTOR", "MotifPredictor"),
    "vctree": (f"{_HEAD}.PREDICTOR", "VCTreePredictor"),
    "transformer": (f"{_HEAD}.PREDICTOR", "TransformerPredictor", "SOLVER.BASE_LR", "0.003"),
}
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


def stage_iterations(total: int, layers: int = 2) -> tuple[int, ...]:
    """``total`` over the stages: equal shares, two of them for the last stage (8,000 and 16,000 in the paper).

    Raises:
        HMLError: no stage, or fewer iterations than stages.
    """
    if layers < 1:
        raise HMLError(f"the number of layers is {layers}; there is at least one")
    if total < layers:
        raise HMLError(f"{total} iterations are too few for {layers} stages; give at least one for each")
    share = max(total // (layers + 1), 1)
    return (*[share] * (layers - 1), total - share * (layers - 1))


def stage_overrides(total: int, layers: int, data: Path, trees: Path) -> tuple[str, ...]:
    """Overrides for ``total`` iterations over the stages of a tree with ``layers`` layers.

    Two layers are the shipped tree as it is; for another number it is cut anew (``PredicateTree.with_layers``) and
    saved as ``trees/layers<K>.json``.

    Raises:
        HMLError: too few iterations, or no shipped tree has the predicates of ``data`` or gives that many layers.
    """
    lengths = stage_iterations(total, layers)
    words = ("HML.STAGES.ITERATIONS", f"({','.join(map(str, lengths))})" if layers > 1 else f"({total},)")
    if layers == 2:
        return words
    from ..training.trees import shipped_tree  # word vectors' libraries take seconds to import

    tree = shipped_tree(list(_vocabulary(data)["predicate_to_idx"])).with_layers(layers)
    trees.mkdir(parents=True, exist_ok=True)
    path = trees / f"layers{layers}.json"
    tree.save(path)
    return (*words, "HML.TREE.FILE", str(path))


def class_counts(data: Path) -> tuple[str, ...]:
    """Config overrides for the numbers of object and predicate classes (with background) of a dataset folder.

    Raises:
        HMLError: the folder has no vocabulary.
    """
    vocabulary = _vocabulary(data)
    objects, predicates = len(vocabulary["label_to_idx"]) + 1, len(vocabulary["predicate_to_idx"]) + 1
    return (
        *("MODEL.ROI_BOX_HEAD.NUM_CLASSES", str(objects)),
        *(f"{_HEAD}.NUM_CLASSES", str(predicates)),
    )


def _vocabulary(data: Path) -> dict[str, dict[str, int]]:
    path = data / "VG-SGG-dicts-with-attri.json"
    if not path.is_file():
        raise HMLError(f"{data} has no {path.name}; see hml data --help for how a dataset folder is made")
    return json.loads(path.read_text("utf-8"))
