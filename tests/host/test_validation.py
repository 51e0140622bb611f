"""HML.VAL_METRIC mR: mR@100 is read from what the host's inference writes, which stores no more than it must."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.validation import mean_recall


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("by_name", [True, False])
def test_mean_recall_is_returned_and_predictions_are_not_stored(tmp_path, embedded, by_name):
    cfg = CfgNode({"TEST": {"SAVE_PREDICTIONS": True} if embedded else {"IMS_PER_BATCH": 1}})
    cfg.freeze()
    seen = []

    def inference(cfg, model, output_folder):
        seen.append(dict(cfg.TEST))
        means = {"predcls_ng_mean_recall": {100: 0.9}, "predcls_mean_recall": {100: 0.25}}
        torch.save({"predcls_recall": {100: [0.8]}, **means}, Path(output_folder) / "result_dict.pytorch")
        return 0.8

    args, kwargs = ((), {"cfg": cfg, "model": "m"}) if by_name else ((cfg, "m"), {})
    assert mean_recall(inference, tmp_path / "val", 0, args, kwargs) == 0.25
    assert mean_recall(inference, tmp_path / "val", 1, args, kwargs) == 0.8
    assert seen[0] == ({"SAVE_PREDICTIONS": False} if embedded else {"IMS_PER_BATCH": 1})
    assert not embedded or cfg.TEST.SAVE_PREDICTIONS


def test_an_earlier_result_is_never_taken_for_this_one(tmp_path):
    torch.save({"predcls_mean_recall": {100: 0.25}}, tmp_path / "result_dict.pytorch")
    with pytest.raises(HMLError, match="wrote no .*result_dict.pytorch"):
        mean_recall(lambda cfg, output_folder: 0.8, tmp_path, 0, (CfgNode({"TEST": {}}),), {})


def test_a_host_without_mean_recall_is_named(tmp_path):
    def inference(cfg, output_folder):
        torch.save({"predcls_recall": {100: [0.8]}}, Path(output_folder) / "result_dict.pytorch")

    with pytest.raises(HMLError, match="no mean recall"):
        mean_recall(inference, tmp_path, 0, (CfgNode({"TEST": {}}),), {})
