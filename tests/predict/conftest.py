"""A run whose model answers without a network, and odd pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.scene_graph import Relation, SceneGraph, SceneObject

OBJECTS = ("__background__", "dog", "man", "tree")
PREDICATES = ("__background__", "near", "on")


class FakeModel:
    """Finds two objects, or those that are given, and says which batches it saw.

    Attributes:
        batches: the sizes of the pictures of every call. fails: called with each picture's size.
    """

    def __init__(self, task: str = "sgdet") -> None:
        self.task, self.object_names, self.predicate_names = task, OBJECTS, PREDICATES
        self.batches: list[list[tuple[int, int]]] = []
        self.fails = lambda size: None

    def predict(self, batch, top):
        assert all(photo.mode == "RGB" for photo, _ in batch)
        self.batches.append([photo.size for photo, _ in batch])
        for photo, _ in batch:
            self.fails(photo.size)
        return [self._graph(photo, given, top) for photo, given in batch]

    def _graph(self, photo, given, top):
        width, height = photo.size
        if width == 7:  # nothing to see
            return SceneGraph("", width, height, self.task)
        if given is None:
            objects = [SceneObject("dog", (0.0, 0.0, width / 2, height), 0.5), SceneObject("man", (0, 0, 1, 1), 0.25)]
        else:
            names = given.labels or ["tree"] * len(given.boxes)
            objects = [SceneObject(name, tuple(box)) for name, box in zip(names, given.boxes.tolist())]
        pairs = [(s, o) for s in range(len(objects)) for o in range(len(objects)) if s != o][:top]
        relations = [Relation(s, o, "near", 1 / (2 + k)) for k, (s, o) in enumerate(pairs)]
        return SceneGraph("", width, height, self.task, tuple(objects), tuple(relations))


@pytest.fixture
def host(monkeypatch, tmp_path):
    """What stands for ``host``: ``model`` and ``task`` may be replaced, ``opened`` counts the models made."""
    checkpoint = tmp_path / "run" / "model_final.pth"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    state = SimpleNamespace(model=FakeModel(), opened=0, run=checkpoint.parent, checkpoint=checkpoint)

    def read_run(run, sgb=None, device=None):
        if Path(run) != state.run:
            raise HMLError(f"there is no folder {run}")
        return SimpleNamespace(folder=state.run, task=state.model.task, object_names=OBJECTS, checkpoint=checkpoint)

    def open_model(found):
        assert found.folder == state.run
        state.opened += 1
        return state.model

    for name, function in (("finished_run", read_run), ("inference", open_model)):
        module = ModuleType(name)
        setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, f"maskrcnn_benchmark_hml.host.{name}", module)
    return state


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with pictures of several shapes, a folder inside it, and a file that is no picture."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for k, size in enumerate([(40, 30), (30, 40), (80, 60), (40, 30), (30, 40)]):
        Image.new("RGB", size, (40 * k, 90, 9)).save(folder / f"{k}.jpg")
    Image.new("RGB", (50, 50)).save(folder / "more" / "0.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder
