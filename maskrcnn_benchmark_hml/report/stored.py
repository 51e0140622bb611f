"""Reads what SGB's scripts store with pickle, without the benchmark; a ``BoxList`` comes out as a record."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import HMLError
from ..files import load_torch


class StoredBoxes:
    """A ``BoxList`` as it was stored: ``bbox``, ``size``, ``mode``, ``extra_fields``."""

    bbox: torch.Tensor
    size: tuple[int, int]
    mode: str
    extra_fields: dict[str, Any]

    def field(self, name: str) -> torch.Tensor:
        """HMLError if the boxes lack it."""
        if name not in self.extra_fields:
            raise HMLError(f"the stored boxes have no {name}; give the results of a test with relations")
        return self.extra_fields[name]

    def numbers(self, name: str) -> np.ndarray:
        """A field as an array; HMLError as for ``field``."""
        value = self.field(name).detach()
        return (value if value.is_floating_point() else value.long()).numpy()

    def corners(self) -> np.ndarray:
        """(n, 4) x1, y1, x2, y2; HMLError if the boxes are stored in another way."""
        if self.mode != "xyxy":
            raise HMLError(f"stored boxes are in the mode {self.mode}, not xyxy; run the test script again")
        return self.bbox.detach().numpy()


def _stand_in(module: str, name: str) -> type | None:
    return StoredBoxes if name == "BoxList" and module.endswith("structures.bounding_box") else None


def load_stored(path: str | Path) -> Any:
    """The content of a file of ``torch.save``; tensors stay on disk until they are looked at, if the format allows.

    Raises:
        HMLError: no such file, torn, or with other things in it than results have.
    """
    path = Path(path)
    if not path.is_file():
        raise HMLError(f"there is no file {path}; correct the path")
    try:
        # Files of torch < 1.6 are no zip archives and cannot be mapped.
        return load_torch(path, classes=_stand_in, mmap=zipfile.is_zipfile(path) or None)
    except HMLError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, AttributeError, LookupError,
            TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HMLError(f"{path} cannot be read as results ({reason}); run the test script again") from error


def load_predictions(path: str | Path) -> tuple[list[StoredBoxes], list[StoredBoxes]]:
    """Annotations and predictions of a test, one of each for every image, in the dataset's order.

    Raises:
        HMLError: as for ``load_stored``, or the file holds something else.
    """
    content = load_stored(path)
    if not isinstance(content, dict) or not {"groundtruths", "predictions"} <= set(content):
        raise HMLError(f"{path} holds no groundtruths and predictions; run the test script again")
    truths, predictions = list(content["groundtruths"]), list(content["predictions"])
    if len(truths) != len(predictions) or not all(isinstance(one, StoredBoxes) for one in (*truths, *predictions)):
        raise HMLError(f"{path} has other things than one annotation and one prediction an image; test again")
    return truths, predictions
