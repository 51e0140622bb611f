"""The test loop: order, gathering, the user's own pictures, the progress bar."""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource

import pytest
import torch
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.structures.bounding_box import BoxList

from maskrcnn_benchmark_hml.errors import HMLError

# The package re-exports nothing, but a function of the module bears the module's name.
inference_module = importlib.import_module("maskrcnn_benchmark.engine.inference")
progress = importlib.import_module("maskrcnn_benchmark.engine.progress")
LOG = logging.getLogger("test_inference")


class Loader(list):
    dataset = range(4)


class Model(torch.nn.Module):
    def forward(self, images, targets):
        assert not self.training and not torch.is_grad_enabled()
        return [prediction(float(t.bbox[0, 0])) for t in targets]


def prediction(x):
    boxes = BoxList(torch.tensor([[x, 0.0, 9.0, 9.0], [1.0, 1.0, 5.0, 5.0]]), (10, 10))
    boxes.add_field("pred_scores", torch.tensor([0.2, 0.9]))
    boxes.add_field("pred_labels", torch.tensor([3, 4]))
    boxes.add_field("pred_rel_scores", torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.2, 0.7]]))
    boxes.add_field("rel_pair_idxs", torch.tensor([[0, 1], [1, 0]]))
    return boxes


def loader(numbers=((2, 0), (3, 1))):
    return Loader(
        (torch.zeros(1), [BoxList(torch.tensor([[float(n), 0.0, 9.0, 9.0]]), (10, 10)) for n in batch], batch)
        for batch in numbers
    )


def test_predictions_come_in_image_order(monkeypatch, caplog):
    handed = {}
    monkeypatch.setattr(inference_module, "evaluate", lambda **kw: handed.update(kw) or 0.25)
    with caplog.at_level(logging.INFO):
        result = inference_module.inference(
            cfg, Model(), loader(), "some_val", iou_types=("bbox", "relations"), device="cpu", logger=LOG,
            output_folder="out",
        )
    assert result == 0.25
    assert [float(p.bbox[0, 0]) for p in handed["predictions"]] == [0.0, 1.0, 2.0, 3.0]
    assert handed["iou_types"] == ("bbox", "relations") and handed["output_folder"] == "out"
    assert "Start evaluation on some_val dataset (4 images)." in caplog.text


class Images(torch.utils.data.Dataset):
    """80 images, each with two boxes and the fields of an annotation."""

    def __len__(self):
        return 80

    def __getitem__(self, index):
        target = BoxList(torch.tensor([[float(index), 0.0, 9.0, 9.0], [1.0, 1.0, 5.0, 5.0]]), (10, 10))
        target.add_field("labels", torch.tensor([3, 4]))
        target.add_field("relation", torch.zeros(2, 2), is_triplet=True)
        return torch.zeros(1), target, index


def batch_of(rows):
    images, targets, numbers = zip(*rows)
    return torch.stack(images), targets, numbers


class GivenBoxes(torch.nn.Module):
    """Predicts on the annotated boxes, as PredCls does: its results are the targets with further fields."""

    def forward(self, images, targets):
        for target in targets:
            for name in ("pred_scores", "pred_labels", "pred_rel_scores", "rel_pair_idxs"):
                target.add_field(name, prediction(0.0).get_field(name))
        return list(targets)


@pytest.fixture
def forty_more_files():
    """No more than 40 open files beyond those that this process has."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 40, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_predictions_keep_no_file_of_the_loader_open(monkeypatch, forty_more_files):
    handed = {}
    monkeypatch.setattr(inference_module, "evaluate", lambda **kw: handed.update(kw))
    batches = torch.utils.data.DataLoader(Images(), 2, num_workers=1, collate_fn=batch_of)
    inference_module.inference(cfg, GivenBoxes(), batches, "val", device="cpu", logger=LOG, output_folder="out")
    kept = [t for p in handed["predictions"] for t in (p.bbox, *p.extra_fields.values())]
    assert len(kept) == 80 * 7 and not any(tensor.is_shared() for tensor in kept)
    assert [float(p.bbox[0, 0]) for p in handed["predictions"]] == [float(number) for number in range(80)]


def test_missing_image_is_an_error():
    with pytest.raises(HMLError, match="1 of 4 images .*first: 3"):
        inference_module.inference(
            cfg, Model(), loader(((0, 1), (2,))), "val", device="cpu", logger=LOG, output_folder="out"
        )


@pytest.fixture
def own(tmp_path):
    tree = cfg.clone()
    tree.TEST.CUSTUM_EVAL, tree.DETECTED_SGG_DIR = True, str(tmp_path)
    return tree


def test_scene_graphs_of_own_pictures(own, tmp_path):
    assert inference_module.inference(own, Model(), loader(), "custom", device="cpu", logger=LOG) == -1.0
    graphs = json.loads((tmp_path / "custom_prediction.json").read_text())
    assert sorted(graphs) == ["0", "1", "2", "3"]
    graph = graphs["0"]
    assert graph["bbox_labels"] == [4, 3]
    assert graph["rel_labels"] == [2, 1]
    assert graph["rel_pairs"] == [[0, 1], [1, 0]]
    assert graph["rel_scores"] == pytest.approx([0.7, 0.05])
    assert graph["bbox_size"] == [10, 10]
    assert graph["rel_all_scores"] == [[0.1, 0.2, 0.7], [0.9, 0.05, 0.05]]  # rounded: float32 has 0.10000000149


def test_own_pictures_are_written_one_by_one_and_whole_or_not_at_all(own, tmp_path, monkeypatch):
    lengths = []

    class Watched(Model):
        def forward(self, images, targets):
            lengths.append(sum(file.stat().st_size for file in tmp_path.glob(".*.part")))
            if len(lengths) == 3:
                raise KeyboardInterrupt
            return super().forward(images, targets)

    many = [tuple(range(k, k + 100)) for k in range(0, 300, 100)]
    with pytest.raises(KeyboardInterrupt):
        inference_module.inference(own, Watched(), loader(many), "custom", device="cpu", logger=LOG)
    assert 0 == lengths[0] < lengths[1] and not list(tmp_path.iterdir())
    with pytest.raises(HMLError, match="1 of 4 images .*first: 3"):
        inference_module.inference(own, Model(), loader(((0, 1), (2,))), "custom", device="cpu", logger=LOG)
    assert not list(tmp_path.iterdir())


class Detector(Model):
    """Its box head finds nothing in picture 1 and hands on the likeliest box; its relation head makes the pair 0, 0."""

    def __init__(self):
        super().__init__()
        self.roi_heads = torch.nn.ModuleDict({"box": Box()})

    def forward(self, images, targets):
        detections = self.roi_heads.box([float(target.bbox[0, 0]) for target in targets])[1]
        for boxes in detections:
            boxes.add_field("pred_rel_scores", torch.tensor([[0.1, 0.2, 0.7]]))
            boxes.add_field("rel_pair_idxs", torch.tensor([[0, 0]]))
        return detections


class Box(torch.nn.Module):
    def forward(self, numbers):
        found = [prediction(0.0)[torch.tensor([0])] for _ in numbers]
        for boxes, number in zip(found, numbers):
            boxes.add_field("pred_scores", torch.tensor([0.001 if number == 1 else 0.6]))
        return None, found, {}


def test_a_picture_without_detection_has_an_empty_graph(own, tmp_path):
    inference_module.inference(own, Detector(), loader(), "custom", device="cpu", logger=LOG)
    graphs = json.loads((tmp_path / "custom_prediction.json").read_text())
    assert [len(graphs[str(k)]["bbox"]) for k in range(4)] == [1, 0, 1, 1]
    for graph in graphs.values():  # one box has no relation with itself
        assert graph["rel_pairs"] == graph["rel_labels"] == graph["rel_scores"] == graph["rel_all_scores"] == []


def test_bar_only_with_a_terminal_or_reported_to_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv("HML_PROGRESS_FILE", raising=False)
    assert list(progress.progress_bar(range(3), desc="test")) == [0, 1, 2]
    assert progress.progress_bar(range(3)).disable
    monkeypatch.setenv("HML_PROGRESS_FILE", str(tmp_path / "states"))
    assert list(progress.progress_bar(range(3), desc="test", leave=False, mininterval=0)) == [0, 1, 2]
    states = [json.loads(line) for line in (tmp_path / "states").read_text().splitlines()]
    assert states[0] == {"what": "test", "done": 0, "total": 3, "terms": ""} and states[-1]["done"] == 3
    monkeypatch.setattr(progress, "is_main_process", lambda: False)
    assert progress.progress_bar(range(3)).disable


def test_training_log_lines_and_reported_states(monkeypatch, caplog, capfd, tmp_path):
    monkeypatch.setenv("HML_PROGRESS_FILE", str(tmp_path / "states"))
    log = progress.TrainingLog(LOG, max_iter=20, start_iter=10)
    with caplog.at_level(logging.INFO), log.running():
        for iteration in range(11, 21):
            log.data_ready()
            log.step_done(iteration, {"loss": 3.0, "loss_rel": 2.0, "loss_cr": 1.0}, lr=0.012)
    log.finish()
    lines = [r.getMessage() for r in caplog.records if "iter:" in r.getMessage()]
    assert [line.split("iter: ")[1].split()[0] for line in lines] == ["12", "14", "16", "18", "20"]
    assert "loss_rel: 2.0000 (2.0000)" in lines[-1] and "lr: 0.012000" in lines[-1]
    states = [json.loads(line) for line in (tmp_path / "states").read_text().splitlines()]
    assert [states[0]["done"], *(states[-1][key] for key in ("what", "done", "total"))] == [10, "train", 20, 20]
    assert "rel=2.000" in states[-1]["terms"] and "20/20" not in capfd.readouterr().err


def test_a_progress_file_that_cannot_be_written_ends_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("HML_PROGRESS_FILE", str(tmp_path / "missing" / "states"))
    assert list(progress.progress_bar(range(3), desc="test")) == [0, 1, 2]


def test_scores_that_are_nan_are_refused(tmp_path):
    class Overflowing(Model):
        def forward(self, images, targets):
            out = super().forward(images, targets)
            for boxes in out:
                if float(boxes.bbox[0, 0]) == 3.0:
                    boxes.get_field("pred_rel_scores")[1, 2] = float("nan")
            return out

    with pytest.raises(HMLError, match="pred_rel_scores of image 3 are NaN or infinite .its weights are finite"):
        inference_module.inference(
            cfg, Overflowing(), loader(), "some_test", device="cpu", logger=LOG, output_folder=str(tmp_path)
        )
    assert not list(tmp_path.iterdir())


def test_a_model_of_nan_is_refused_before_the_first_image():
    model = Model()
    model.layer = torch.nn.Linear(2, 2)
    model.layer.weight.data[1, 0] = float("nan")
    with pytest.raises(HMLError, match=r"the model to test holds NaN .* first in layer.weight \(1 of 2 tensors\)"):
        inference_module.inference(cfg, model, loader(), "some_val", device="cpu", logger=LOG)
