"""A scene graph as data: what ``hml predict`` writes and ``hml draw`` draws. No torch, no benchmark.

Scores are fractions from 0 to 1. Boxes are corners (x1, y1, x2, y2) in pixels of the picture as it is displayed, that
is after its EXIF rotation. The score of a relation is the product of the predicate's, the subject's and the object's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import HMLError

FORMAT, VERSION = "hml scene graph", 1
#: Tasks as the benchmarks write them in results -> as people do.
TASK_TITLES = {"predcls": "PredCls", "sgcls": "SGCls", "sgdet": "SGDet"}


@dataclass(frozen=True)
class SceneObject:
    """An object: its class, its box in pixels (x1, y1, x2, y2), and its score; None if class and box were given."""

    name: str
    box: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True)
class Relation:
    """A relation: ``subject`` and ``object`` are positions in the graph's objects; the score ranks it."""

    subject: int
    object: int
    predicate: str
    score: float | None = None


@dataclass(frozen=True)
class SceneGraph:
    """The objects and relations of one picture, relations with the highest score first.

    Attributes:
        picture: the file's name as it was given; empty if unknown.
        width: of the picture in pixels. height: likewise.
        task: predcls, sgcls or sgdet; ``annotation`` for an annotated graph.
        image_id: the dataset's id of the picture, as text; empty without one.
    """

    picture: str
    width: int
    height: int
    task: str
    objects: tuple[SceneObject, ...] = field(default=())
    relations: tuple[Relation, ...] = field(default=())
    image_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``json.dump`` takes it; ``from_json`` gives an equal graph back."""
        content: dict[str, Any] = {
            "format": FORMAT, "version": VERSION, "picture": self.picture, "image_id": self.image_id,
            "width": self.width, "height": self.height, "task": self.task, "scores": "fractions from 0 to 1",
            "boxes": "x1, y1, x2, y2 in pixels of the picture",
            "objects": [{"name": o.name, "box": list(o.box), "score": o.score} for o in self.objects],
            "relations": [{"subject": r.subject, "object": r.object, "predicate": r.predicate, "score": r.score}
                          for r in self.relations],
        }  # fmt: skip
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SceneGraph:
        """Of one picture's JSON.

        Raises:
            HMLError: not a scene graph of this version, or a part of it is missing or has the wrong type.
        """
        if not isinstance(content, Mapping) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise HMLError(f"this is no {FORMAT} of version {VERSION}; make it again with hml predict")
        try:
            objects = tuple(_object(o) for o in content["objects"])
            relations = tuple(
                Relation(int(r["subject"]), int(r["object"]), str(r["predicate"]), _score(r))
                for r in content["relations"]
            )
            return cls(
                str(content["picture"]), int(content["width"]), int(content["height"]), str(content["task"]),
                objects, relations, str(content.get("image_id", "")),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise HMLError(f"the scene graph is not complete ({error!r}); make it again with hml predict") from error


def _object(part: Mapping[str, Any]) -> SceneObject:
    x1, y1, x2, y2 = map(float, part["box"])
    return SceneObject(str(part["name"]), (x1, y1, x2, y2), _score(part))


def _score(part: Mapping[str, Any]) -> float | None:
    return None if part.get("score") is None else float(part["score"])
