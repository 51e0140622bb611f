"""The checks around a checkout's checkpointer and tests, on stand-ins with SGB's shape."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.weights import wrap_weights

WEIGHTS = {"backbone.w": torch.ones(2), "roi_heads.relation.p": torch.ones(3)}


class DetectronCheckpointer:
    """Loads as SGB does: any file, its content taken for the weights if it has no ``model``."""

    def _load_file(self, f):
        loaded = torch.load(f, map_location="cpu", weights_only=False)
        return loaded if "model" in loaded else {"model": loaded}


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.bad = -1

    def forward(self, image):
        scores = torch.ones(2)
        scores[0] = float("inf") if image == self.bad else 1.0
        boxes = SimpleNamespace(extra_fields={"pred_scores": scores, "pred_labels": torch.ones(2)})
        return {"loss": scores.sum()} if self.training else [boxes]


def inference(cfg, model, images, **kwargs):
    model.eval()
    return [model(image) for image in images]


@pytest.fixture
def script():
    namespace = {"DetectronCheckpointer": DetectronCheckpointer, "inference": inference, "train": None}
    wrap_weights(namespace)
    return SimpleNamespace(**namespace)


def load(script, path, content):
    torch.save(content, path)
    return script.DetectronCheckpointer()._load_file(str(path))


def test_a_plain_file_comes_as_the_host_loads_it(script, tmp_path, caplog):
    got = load(script, tmp_path / "m.pth", {"model": WEIGHTS, "iteration": 4, "optimizer": {"state": {}}})
    assert got["iteration"] == 4 and got["optimizer"] == {"state": {}} and list(got["model"]) == list(WEIGHTS)
    assert not caplog.text


def test_other_trainers_files(script, tmp_path, caplog):
    with caplog.at_level("INFO"):
        got = load(script, tmp_path / "m.pth", {"state_dict": {f"model.{n}": v for n, v in WEIGHTS.items()}})
    assert list(got["model"]) == list(WEIGHTS) and "under state_dict" in caplog.text


def test_nan_and_unreadable_files_are_refused(script, tmp_path):
    with pytest.raises(HMLError, match="m.pth holds NaN or infinite weights, first in roi_heads.relation.p"):
        load(script, tmp_path / "m.pth", {"model": {**WEIGHTS, "roi_heads.relation.p": torch.tensor([float("nan")])}})
    (tmp_path / "page.pth").write_text("<html>sign in</html>")
    with pytest.raises(HMLError, match="is an HTML page.*MODEL.WEIGHT"):
        script.DetectronCheckpointer()._load_file(str(tmp_path / "page.pth"))


def test_a_test_of_nan_is_refused(script):
    model = Model()
    assert len(script.inference(None, model, [1, 2])) == 2
    model.bad = 2
    with pytest.raises(HMLError, match="pred_scores of image number 2 of the test are NaN or infinite"):
        script.inference(None, model, [1, 2])
    assert not model._forward_hooks
    model.layer.bias.data.fill_(float("nan"))
    with pytest.raises(HMLError, match="the model to test holds NaN .* first in layer.bias"):
        script.inference(cfg=None, model=model, images=[1])


def test_training_forwards_are_not_looked_at(script):
    model = Model()
    namespace = {"inference": lambda cfg, model: [model.train()(1), model.train()(model.bad)]}
    wrap_weights(namespace)
    model.bad = 1
    namespace["inference"](None, model)


def test_a_fork_may_return_more_than_boxes(script):
    model = Model()
    model.register_forward_hook(lambda module, inputs, output: (output, {"loss": 1.0}))
    assert len(script.inference(None, model, [1])) == 1


@pytest.mark.parametrize("allowed", [True, False, None])
def test_stored_predictions_are_not_evaluated_again(script, tmp_path, caplog, allowed):
    """SGB takes those of any earlier model for the model's own, by default."""
    seen, cfg = [], CfgNode({"TEST": {} if allowed is None else {"ALLOW_LOAD_FROM_CACHE": allowed}})
    cfg.freeze()
    namespace = {"inference": lambda cfg, model, output_folder=None: seen.append(dict(cfg.TEST))}
    wrap_weights(namespace)
    (tmp_path / "eval_results.pytorch").write_bytes(b"an earlier model's")
    with caplog.at_level("INFO"):
        namespace["inference"](cfg, Model(), output_folder=str(tmp_path))
    assert seen == [{}] if allowed is None else seen == [{"ALLOW_LOAD_FROM_CACHE": False}]
    assert ("computed anew" in caplog.text) == bool(allowed)
    assert allowed is None or cfg.TEST.ALLOW_LOAD_FROM_CACHE == allowed  # the caller's own settings stay


def test_a_copied_folder_of_a_checkout_goes_on_from_its_own_file(script, tmp_path):
    """SGB itself reads the path in last_checkpoint, which is that of the original."""
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_final.pth").touch()
        (tmp_path / name / "last_checkpoint").write_text(str(tmp_path / "A" / "model_final.pth"))
    checkpointer = script.DetectronCheckpointer()
    checkpointer.save_dir = str(tmp_path / "B")
    assert checkpointer.has_checkpoint() and checkpointer.get_checkpoint_file() == str(tmp_path / "B/model_final.pth")
    (tmp_path / "B" / "last_checkpoint").unlink()
    assert not checkpointer.has_checkpoint() and checkpointer.get_checkpoint_file() == ""
    (tmp_path / "B" / "last_checkpoint").mkdir()
    with pytest.raises(HMLError, match="last_checkpoint is a folder"):
        checkpointer.has_checkpoint()
