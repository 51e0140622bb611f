"""A model small enough for tests, on an invented vocabulary of 20 classes and 10 predicates."""

from __future__ import annotations

import pytest
import torch
from maskrcnn_benchmark.config import cfg as default_cfg
from maskrcnn_benchmark.modeling.roi_heads.relation_head import roi_relation_predictors
from maskrcnn_benchmark.structures.bounding_box import BoxList

OPTIONS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RELATION_ON": True,
    "MODEL.BACKBONE.CONV_BODY": "HML-TINY-FPN",
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 8,
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPN2MLPFeatureExtractor",
    "MODEL.ROI_BOX_HEAD.PREDICTOR": "FPNPredictor",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125),
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 21,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_RELATION_HEAD.NUM_CLASSES": 11,
    "MODEL.ROI_RELATION_HEAD.USE_GT_BOX": True,
    "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL": True,
    "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_RELATION_HEAD.EMBED_DIM": 12,
    "MODEL.ROI_RELATION_HEAD.CONTEXT_HIDDEN_DIM": 16,
    "MODEL.ROI_RELATION_HEAD.CONTEXT_POOLING_DIM": 32,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.EFFECT_ANALYSIS": True,
    "GLOVE_DIR": "",
}


@pytest.fixture(autouse=True)
def statistics(monkeypatch):
    """Statistics of the invented dataset in place of a counted one."""
    generator = torch.Generator().manual_seed(5)
    content = {
        "pred_dist": torch.randn(21, 21, 11, generator=generator),
        "obj_classes": ["__background__", *(f"object{i}" for i in range(20))],
        "rel_classes": ["__background__", *(f"predicate{i}" for i in range(10))],
        "att_classes": ["__background__"],
    }
    monkeypatch.setattr(roi_relation_predictors, "get_dataset_statistics", lambda cfg: content)
    return content


@pytest.fixture
def make_cfg():
    """make_cfg({"MODEL.X": value}) -> the small config with changes."""

    def make(changes: dict | None = None):
        cfg = default_cfg.clone()
        cfg.defrost()
        cfg.merge_from_list([part for option in {**OPTIONS, **(changes or {})}.items() for part in option])
        return cfg

    return make


@pytest.fixture
def make_targets():
    """make_targets([6, 4]) -> annotated BoxLists with that many boxes, about a fifth of the pairs related."""

    def make(counts: list[int], size: tuple[int, int] = (96, 64), seed: int = 0) -> list[BoxList]:
        generator = torch.Generator().manual_seed(seed)
        targets = []
        for count in counts:
            corner = torch.rand(count, 2, generator=generator) * torch.tensor(size) * 0.6
            extent = torch.rand(count, 2, generator=generator) * torch.tensor(size) * 0.3 + 3
            target = BoxList(torch.cat((corner, corner + extent), 1), size)
            target.add_field("labels", torch.randint(1, 21, (count,), generator=generator))
            relation = torch.randint(1, 11, (count, count), generator=generator)
            relation *= torch.rand(count, count, generator=generator) < 0.2
            target.add_field("relation", relation.fill_diagonal_(0), is_triplet=True)
            targets.append(target)
        return targets

    return make


@pytest.fixture
def images():
    """Two pictures of 96 x 64."""
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(9)) * 50
