"""What single forks do otherwise, at run time: another argument name, another order, a checkpoint named alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml.host import restart
from maskrcnn_benchmark_hml.training.teacher import Teacher


class AsSGB(nn.Module):
    def forward(self, proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None):
        return None, proposals + roi_features + union_features, {}


class AsGPSNet(nn.Module):
    def forward(self, inst_proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features):
        return None, inst_proposals + roi_features + union_features, {}, "more"


class AsRTPB(nn.Module):
    def forward(self, proposals, rel_pair_idxs, rel_labels, roi_features, union_features, rel_binarys=None):
        return None, [proposals + roi_features + union_features], {}


class Head(nn.Module):
    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.predictor = predictor

    def box_feature_extractor(self, features, proposals):
        return features[0] * self.scale

    def union_feature_extractor(self, features, proposals, pairs):
        return 100 * pairs


@pytest.mark.parametrize("predictor", [AsSGB(), AsGPSNet(), AsRTPB()])
def test_the_teacher_takes_arguments_by_name_and_the_proposals_first(predictor):
    head = Head(predictor)
    teacher = Teacher(head, {"scale": torch.tensor(2.0)})
    proposals, pairs, ones = torch.ones(3), torch.full((3,), 2.0), torch.ones(3)
    places = {"AsRTPB": (proposals, pairs, None, ones, ones)}
    args = places.get(type(predictor).__name__, (proposals, pairs, None, None, ones, ones))
    logits = teacher.relation_logits([torch.full((3,), 10.0)], args, {})
    assert logits.tolist() == [1 + 20 + 200] * 3


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_checkpoint_tagged_with_or_without_its_folder(tmp_path, monkeypatch, with_folder):
    class Base:
        save_dir = str(tmp_path)

        def save(self, name, **kwargs):
            path = Path(self.save_dir) / f"{name}.pth"
            path.write_bytes(b"weights")
            self.tag_last_checkpoint(str(path) if with_folder else path.name)

    written = []
    monkeypatch.setattr(restart, "write_state", lambda whole, state, keep: written.append(whole))
    monkeypatch.setattr(restart, "training_state", lambda driver: {})
    driver = SimpleNamespace(cfg=SimpleNamespace(HML=SimpleNamespace(KEEP_STATES=2)))
    restart.checkpointer_class(Base, driver)().save("model_0000003")
    whole = tmp_path / "model_0000003.pth"
    assert written == [whole] and whole.read_bytes() == b"weights"
    assert (tmp_path / "last_checkpoint").read_text() == str(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last_checkpoint", "model_0000003.pth"]
