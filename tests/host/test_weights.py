"""The checks around a checkout's checkpointer and tests, on stand-ins with SGB's shape."""

from __future__ import annotations

import pickle
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


CLASSIFIER, CONVOLUTION = "roi_heads.box.predictor.cls_score.weight", "rpn.head.conv.weight"


def detector_checkpointer(script, folder, relation_on=True, boxes=True, labels=True, weight=""):
    """One whose model has a classifier of five classes, as SGB's has in every task."""
    checkpointer = script.DetectronCheckpointer()
    own = {CLASSIFIER: torch.ones(5, 2), CONVOLUTION: torch.ones(1)}
    checkpointer.model = SimpleNamespace(state_dict=lambda: {f"module.{name}": value for name, value in own.items()})
    head = {"USE_GT_BOX": boxes, "USE_GT_OBJECT_LABEL": labels}
    checkpointer.cfg = SimpleNamespace(MODEL=SimpleNamespace(ROI_RELATION_HEAD=head, RELATION_ON=relation_on,
                                                             WEIGHT=weight))
    checkpointer.save_dir = str(folder)
    return checkpointer


def test_a_detector_of_another_vocabulary(script, tmp_path, caplog):
    path = tmp_path / "d.pth"
    torch.save({"model": {CLASSIFIER: torch.ones(9, 2), CONVOLUTION: torch.ones(1)}}, path)
    for options, said in (({}, "PredCls does not use it"), ({"relation_on": False}, "it is trained anew")):
        caplog.clear()
        got = detector_checkpointer(script, tmp_path, **options)._load_file(str(path))
        assert list(got["model"]) == [CONVOLUTION] and said in caplog.text
    for options in ({"labels": False}, {"boxes": False, "labels": False}):
        with pytest.raises(HMLError, match=r"cls_score.weight is \(9, 2\), not \(5, 2\).*another voc.*train one"):
            detector_checkpointer(script, tmp_path, **options)._load_file(str(path))
    torch.save({"model": {CONVOLUTION: torch.ones(3)}}, path)
    with pytest.raises(HMLError, match=r"conv.weight is \(3,\), not \(1,\).*use the settings that it was trained with"):
        detector_checkpointer(script, tmp_path)._load_file(str(path))


def test_the_advice_fits_where_the_file_was_named(script, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": 1})[:-3])
    with pytest.raises(HMLError, match="model.pkl does not load .*taken for a Caffe2 model") as caught:
        detector_checkpointer(script, tmp_path)._load_file(str(tmp_path / "model.pkl"))
    assert "last_checkpoint" not in str(caught.value)
    (tmp_path / "model_final.pth").write_text("<html>sign in</html>")
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    with pytest.raises(HMLError, match=r"is an HTML page.*\(named by last_checkpoint\)"):
        detector_checkpointer(script, tmp_path)._load_file(str(tmp_path / "model_final.pth"))


def test_flipped_bytes_of_a_run_without_hml(script, tmp_path):
    path = tmp_path / "model_final.pth"
    torch.save({"model": {CLASSIFIER: torch.ones(5, 2), "a": torch.zeros(4000)}}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    detector_checkpointer(script, tmp_path)._load_file(str(path))  # a stranger's file: its CRC-32 need not be there
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    with pytest.raises(HMLError, match=r"the checkpoint .*model_final.pth is damaged \(.*data/1\)"):
        detector_checkpointer(script, tmp_path)._load_file(str(path))


def test_a_weight_that_is_not_used_is_said(tmp_path, caplog):
    class Loads(DetectronCheckpointer):
        def load(self, f=None):
            return f

    namespace = {"DetectronCheckpointer": Loads}
    wrap_weights(namespace)
    checkpointer = detector_checkpointer(SimpleNamespace(**namespace), tmp_path, weight="other.pth")
    assert checkpointer.load("other.pth") == "other.pth" and not caplog.text
    (tmp_path / "model_final.pth").touch()
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    checkpointer.load("other.pth")
    assert f"MODEL.WEIGHT other.pth is not used: last_checkpoint in OUTPUT_DIR names {tmp_path}" in caplog.text
    checkpointer.cfg.MODEL.WEIGHT = "catalog://ImageNetPretrained/X"  # as in SGB's configs
    caplog.clear()
    checkpointer.load()
    assert not caplog.text
