"""The configuration keys that this benchmark knows and does not read: SGB's configs and users set them.

``INERT`` keys change nothing here: a run that sets one says so once. ``REFUSED`` keys ask for what this benchmark does
not have and would give another model or another result: a changed one stops the run. A test compares both tables with
the keys that the code reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

_ATTRIBUTES = "there is no attribute head"
_CAUSAL = "there is no causal predictor"
_VGG = "there is no VGG backbone"
_GROUPS = "there is no group normalisation"
_C4 = "only box heads of two fully connected layers are built"
_AUGMENTED = "there is no test-time augmentation"

#: key -> why it has no effect, or what acts in its place.
INERT: dict[str, str] = {
    "PATHS_DATA": "the datasets are those of this package",
    "MODEL.RESNETS.DEFORMABLE_GROUPS": "there are no deformable convolutions",
    "MODEL.VGG.VGG16_OUT_CHANNELS": _VGG,
    "MODEL.GROUP_NORM.DIM_PER_GP": _GROUPS,
    "MODEL.GROUP_NORM.NUM_GROUPS": _GROUPS,
    "MODEL.GROUP_NORM.EPSILON": _GROUPS,
    "MODEL.ROI_HEADS.USE_FPN": "ROI_BOX_HEAD.POOLER_SCALES names the levels that boxes are pooled from",
    "MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM": _C4,
    "MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS": _C4,
    "MODEL.ROI_ATTRIBUTE_HEAD.FEATURE_EXTRACTOR": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.PREDICTOR": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.USE_BINARY_LOSS": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.ATTRIBUTE_LOSS_WEIGHT": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.MAX_ATTRIBUTES": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.ATTRIBUTE_BGFG_SAMPLE": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.ATTRIBUTE_BGFG_RATIO": _ATTRIBUTES,
    "MODEL.ROI_ATTRIBUTE_HEAD.POS_WEIGHT": _ATTRIBUTES,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.EFFECT_TYPE": _CAUSAL,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.FUSION_TYPE": _CAUSAL,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.CONTEXT_LAYER": _CAUSAL,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.SEPARATE_SPATIAL": _CAUSAL,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.SPATIAL_FOR_VISION": _CAUSAL,
    "MODEL.ROI_RELATION_HEAD.REL_PROP": "no loss reads it; the training annotations are counted",
    "SOLVER.CLIP_NORM": "SOLVER.GRAD_NORM_CLIP is the limit of the gradient's norm",
    "TEST.DETECTIONS_PER_IMG": "MODEL.ROI_HEADS.DETECTIONS_PER_IMG is the limit",
    "TEST.ALLOW_LOAD_FROM_CACHE": "predictions are always computed",
    "TEST.EXPECTED_RESULTS": "results are not compared with expected ones",
    "TEST.EXPECTED_RESULTS_SIGMA_TOL": "results are not compared with expected ones",
    "TEST.BBOX_AUG.H_FLIP": _AUGMENTED,
    "TEST.BBOX_AUG.SCALES": _AUGMENTED,
    "TEST.BBOX_AUG.MAX_SIZE": _AUGMENTED,
    "TEST.BBOX_AUG.SCALE_H_FLIP": _AUGMENTED,
    "TEST.RELATION.SYNC_GATHER": "predictions are gathered by one method",
}
#: Values other than the default that say what happens anyway.
_TRUE_ANYWAY = {"TEST.ALLOW_LOAD_FROM_CACHE": False, "MODEL.ROI_HEADS.USE_FPN": True}
#: key -> what this benchmark has instead.
REFUSED: dict[str, str] = {
    "MODEL.RESNETS.TRANS_FUNC": "residual blocks have frozen batch normalisation",
    "MODEL.RESNETS.STEM_FUNC": "the stem has frozen batch normalisation",
    "MODEL.RESNETS.STAGE_WITH_DCN": "there are no deformable convolutions",
    "MODEL.RESNETS.WITH_MODULATED_DCN": "there are no deformable convolutions",
    "MODEL.RPN.RPN_HEAD": "the proposals have one convolution",
    "MODEL.ROI_BOX_HEAD.DILATION": _C4,
    "TEST.SAVE_PROPOSALS": "the test stores predictions, not proposals",
    "TEST.RELATION.MULTIPLE_PREDS": "the test ranks one predicate per pair, and all of them without graph constraint",
}


def _value(cfg: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return list(cfg) if isinstance(cfg, tuple) else cfg


def _changed(cfg: CfgNode, keys: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from .defaults import load_defaults

    default = load_defaults()
    for key, why in keys.items():
        if _value(cfg, key) not in (_value(default, key), _TRUE_ANYWAY.get(key, _value(default, key))):
            yield key, why


def inert_keys(cfg: CfgNode) -> str:
    """The keys that differ from their defaults and change nothing, with the reason; "" if there are none."""
    by_reason: dict[str, list[str]] = {}
    for key, why in _changed(cfg, INERT):
        by_reason.setdefault(why, []).append(key)
    return "; ".join(f"{', '.join(keys)} ({why})" for why, keys in by_reason.items())


def check_refused(cfg: CfgNode) -> None:
    """Stop a run that sets what this benchmark does not have.

    Raises:
        HMLError: names the key, its value and the default.
    """
    from .defaults import load_defaults

    for key, why in _changed(cfg, REFUSED):
        raise HMLError(
            f"{key} is {_value(cfg, key)!r}, which this benchmark does not have ({why}); leave it at "
            f"{_value(load_defaults(), key)!r}, or use a checkout of SGB (--sgb DIR)"
        )
