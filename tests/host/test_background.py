"""In SGDet n_0 of eq. 4 is what the sampler returns of the detector's boxes, not what annotated boxes would give."""

from __future__ import annotations

from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.training.stage_method import StageMethod

from .conftest import run_options

DETECTED = ["MODEL.ROI_RELATION_HEAD.USE_GT_BOX", "False", "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL", "False",
            "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", "48", "MODEL.ROI_BOX_HEAD.POOLER_SCALES", "(0.25,0.125,0.0625)"]


def test_n_0_is_measured_in_sgdet(tiny_vg, tmp_path, monkeypatch):
    original, seen = StageMethod.relation_loss, []

    def spy(self, logits, labels):
        loss = original(self, logits, labels)
        seen.append((self, int((labels == 0).sum()), self.background.value))
        return loss

    monkeypatch.setattr(StageMethod, "relation_loss", spy)
    words = [*DETECTED, "HML.CONTROL", "class_balanced", "HML.STAGES.ITERATIONS", "3", "SOLVER.TO_VAL", "False"]
    options = run_options(tiny_vg, tmp_path / "out", *words, "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE", "256")
    run_script(options[2], options[3:], data=options[1])
    assert len(seen) == 6  # the control has both stages' iterations
    total = 0
    for step, (hml, pairs, n_0) in enumerate(seen, 1):
        total += pairs
        assert n_0 == hml.data.images * total / (2 * step)
    assert hml.background.pairs == total and n_0 != hml.data.counts[0]
