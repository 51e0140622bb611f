"""Scene graphs of pictures from a finished run, by the host's own model, transforms and post-processing.

    model = open_run("runs/hml")
    graph, = model.predict([(PIL.Image.open("street.jpg").convert("RGB"), None)], top=20)

The result is what the host's test script stores for the same picture in a batch of the same pictures: a batch is padded
to its largest picture, and the padding changes features near a picture's border a little.

``HML.TEST.TAU`` has no effect here: its adjusted logits are further results of a test, beside those of the model.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from PIL import Image
from torch import nn

from ..compat.amp import amp
from ..compat.checkpoint_file import weight_names
from ..errors import HMLError
from ..finite import check_scores, check_weights
from ..scene_graph import TASK_TITLES, SceneGraph
from . import hook_points, settings
from .as_scene_graph import as_scene_graph
from .finished_run import FinishedRun, read_run
from .found_objects import FoundObjects
from .given_boxes import Given, as_target, check_inside, class_indices, rows_of
from .weights import wrap_weights

_PACKAGE = "maskrcnn_benchmark"
_COUNT = "get_dataset_statistics"
#: A picture, RGB and as it is displayed, and its given boxes.
Item = tuple[Image.Image, Optional[Given]]


class TrainedModel:
    """A run's model, ready to predict; see :func:`open_run`.

    Attributes:
        task: predcls, sgcls or sgdet.
        object_names, predicate_names: in index order, background first.
        device: where the model is.
    """

    def __init__(self, run: FinishedRun, model: nn.Module) -> None:
        self.run, self.task, self.device = run, run.task, torch.device(run.cfg.MODEL.DEVICE)
        self.object_names, self.predicate_names = run.object_names, run.predicate_names
        self._model = model
        self._found = FoundObjects(model, run.cfg.MODEL.ROI_HEADS.SCORE_THRESH)
        self._transform = _imported("data.transforms").build_transforms(run.cfg, is_train=False)
        self._collate = _imported("data.collate_batch").BatchCollator(run.cfg.DATALOADER.SIZE_DIVISIBILITY)
        self._one_by_one = self.task != "predcls" and hook_points.decodes_one_image(
            settings.predictor_name(run.cfg), run.cfg)

    @property
    def needs_boxes(self) -> bool:
        """Whether every picture must come with boxes (PredCls, SGCls)."""
        return self.task != "sgdet"

    @property
    def needs_labels(self) -> bool:
        """Whether these boxes must have classes (PredCls)."""
        return self.task == "predcls"

    def check(self, picture: Image.Image, given: Given | None) -> None:
        """Refuse a picture or its boxes before anything is computed, as :meth:`predict` does for its batch.

        Raises:
            HMLError: boxes are missing, have no or unknown classes or lie outside the picture, or there are boxes where
                the model finds them itself; the picture is too narrow to be scaled.
        """
        self._target(picture, given)
        self._check_size(picture.size)

    def predict(self, batch: Sequence[Item], top: int = 100) -> list[SceneGraph]:
        """The scene graphs of pictures, computed together (one by one where the host's test decodes single pictures).

        Args:
            batch: RGB pictures as they are displayed, each with its boxes or None.
            top: the most relations of a graph.

        Returns:
            One graph per picture, with ``picture`` "": boxes in pixels of the picture, objects without score in
            PredCls; relations by descending score, at most one per ordered pair. A picture in which nothing is detected
            has no objects, one with a single object no relations.

        Raises:
            HMLError: as :meth:`check`, or the model's scores are not finite.
        """
        for picture, given in batch:
            self.check(picture, given)
        step = 1 if self._one_by_one else max(len(batch), 1)
        graphs: list[SceneGraph] = []
        for start in range(0, len(batch), step):
            graphs += self._predict(batch[start : start + step], top)
        return graphs

    def _predict(self, batch: Sequence[Item], top: int) -> list[SceneGraph]:
        graphs = [SceneGraph("", *picture.size, self.task) for picture, _ in batch]
        asked = [k for k, (_, given) in enumerate(batch) if given is None or len(rows_of(given))]
        if not asked:
            return graphs
        predictions = self._forward([batch[k] for k in asked])
        for place, prediction in zip(self._found.kept, predictions):
            k = asked[place]
            picture, given = batch[k]
            check_scores(prediction.extra_fields, f"number {k + 1} of the batch", self._model)
            graphs[k] = as_scene_graph(
                prediction, picture.size, self.task, self.object_names, self.predicate_names, top,
                None if given is None else rows_of(given),
            )  # fmt: skip
        return graphs

    def _forward(self, batch: Sequence[Item]) -> Sequence[Any]:
        """The host's predictions of the pictures in ``self._found.kept``."""
        samples = [self._transform(picture, self._target(picture, given)) for picture, given in batch]
        images, targets, _ = self._collate([(*sample, k) for k, sample in enumerate(samples)])
        predictions: Sequence[Any] = ()
        with torch.no_grad(), _precision(self.run.cfg.DTYPE), self._watching(len(batch)):
            predictions = self._model(images.to(self.device), [target.to(self.device) for target in targets])
        return predictions

    def _watching(self, pictures: int) -> contextlib.AbstractContextManager:
        if self.task == "sgdet":
            return self._found.watching(pictures)
        self._found.kept = list(range(pictures))
        return contextlib.nullcontext()

    def _target(self, picture: Image.Image, given: Given | None) -> Any:
        """What stands for the picture's annotation. In SGDet hosts want one too, and their result does not depend on
        it: it is one box of no class."""
        width, height = picture.size
        if given is None:
            if self.needs_boxes:
                raise HMLError(f"the run is {TASK_TITLES[self.task]}, which predicts on given boxes, and a picture of "
                               f"{width} x {height} pixels has none; give boxes (--boxes FILE)")
            return as_target(torch.tensor([[0.0, 0.0, width, height]]), [0], picture.size)
        if not self.needs_boxes:
            raise HMLError("the run is SGDet, which finds the boxes itself; leave the boxes out")
        boxes = rows_of(given)
        check_inside(boxes, picture.size)
        return as_target(boxes, self._classes(given, len(boxes)), picture.size)

    def _classes(self, given: Given, count: int) -> list[int]:
        """SGCls predicts the classes, so it is not told them."""
        if not self.needs_labels:
            return [0] * count
        if given.labels is None and count:
            raise HMLError("the run is PredCls, which predicts on boxes of known classes; give each box a name")
        names = list(given.labels or ())
        if len(names) != count:
            raise HMLError(f"there are {count} given boxes and {len(names)} names; give each box one name")
        return class_indices(names, self.object_names)

    def _check_size(self, size: tuple[int, int]) -> None:
        """Hosts scale the shorter side down to no pixel at all where the longer one is their limit."""
        limit = self.run.cfg.INPUT.MAX_SIZE_TEST
        if round(limit * min(size) / max(size)) < 1:
            raise HMLError(f"a picture of {size[0]} x {size[1]} pixels is too narrow: scaled to {limit} pixels "
                           "(INPUT.MAX_SIZE_TEST) its shorter side vanishes; cut it to a wider part")


def open_run(run: str | Path, sgb: str | None = None, device: str | None = None) -> TrainedModel:
    """The model of a finished run, trained by the bundled benchmark, SGB or a fork, with or without HML.

    Nothing is written, and the data that it was trained on need not be there. One process can open runs of one
    benchmark.

    Args:
        run: its OUTPUT_DIR.
        sgb: folder of the checkout that trained it; None: the bundled benchmark if the run is of that, else SGB_HOME or
            the current folder.
        device: ``cpu`` or ``cuda``; None: that of the run, the CPU if this machine has no such GPU.

    Raises:
        HMLError: the run is not finished or not of that benchmark, a file of it is missing or damaged, or its weights
            are not those of its settings.
    """
    return open_model(read_run(run, sgb, device))


def open_model(found: FinishedRun) -> TrainedModel:
    """The model of a run that is read already; raises as :func:`open_run` does."""
    with contextlib.redirect_stdout(sys.stderr), _counted(found.statistics):  # SGB prints
        model = _imported("modeling.detector").build_detection_model(found.cfg)
    _load(found, model)
    return TrainedModel(found, model.to(found.cfg.MODEL.DEVICE).eval())


def _imported(name: str) -> Any:
    return importlib.import_module(f"{_PACKAGE}.{name}")


@contextlib.contextmanager
def _counted(statistics: Mapping[str, Any]) -> Iterator[None]:
    """While entered, the host's predictors are given these statistics, whether the data that they were counted in are
    there or not; they are only what their parameters start from."""
    importlib.import_module("maskrcnn_benchmark.modeling.detector")
    original = _imported("data.build").get_dataset_statistics
    holders = [module for name, module in list(sys.modules.items())
               if name.partition(".")[0] == _PACKAGE and getattr(module, _COUNT, None) is original]

    def get_dataset_statistics(cfg: Any) -> dict[str, Any]:
        return dict(statistics)

    for module in holders:
        setattr(module, _COUNT, get_dataset_statistics)
    try:
        yield
    finally:
        for module in holders:
            setattr(module, _COUNT, original)


def _load(run: FinishedRun, model: nn.Module) -> None:
    """The run's weights, by the host's checkpointer.

    Raises:
        HMLError: they are damaged, not finite, or of another model.
    """
    classes: dict[str, Any] = {"DetectronCheckpointer": _imported("utils.checkpoint").DetectronCheckpointer}
    if not run.benchmark.embedded:
        wrap_weights(classes)
        lacking = sorted(set(model.state_dict()) - set(weight_names(run.checkpoint)))
        if lacking:  # SGB would leave these as they were drawn
            raise HMLError(f"{run.checkpoint} lacks {len(lacking)} tensors of the model, first {lacking[0]}; name the "
                           "checkout that trained the run with --sgb DIR")
    build: Callable = classes["DetectronCheckpointer"]
    logger = logging.getLogger("maskrcnn_benchmark.hml.predict")
    with contextlib.redirect_stdout(sys.stderr):
        build(run.cfg, model, save_dir=str(run.folder), logger=logger).load("")
    check_weights(model.named_parameters(), str(run.checkpoint))


@contextlib.contextmanager
def _precision(dtype: str) -> Iterator[None]:
    """The precision in which the host's test script runs a model of this DTYPE."""
    if dtype == "float32":
        yield
        return
    amp.init(enabled=True)
    try:
        yield
    finally:
        amp.deactivate()
