"""``BoxList``: the boxes of one image together with what is known about each of them.

Boxes are inclusive: a box from pixel 3 to pixel 3 is one pixel wide, hence the 1 in widths, heights and areas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

FLIP_LEFT_RIGHT = 0
FLIP_TOP_BOTTOM = 1

TO_REMOVE = 1
"""Width of a box whose two ends are the same pixel."""

_MODES = ("xyxy", "xywh")


class BoxList:
    """Boxes of one image.

    Args:
        bbox: (N, 4) tensor or nested list, kept as float32; corners (``xyxy``) or corner, width and height (``xywh``).
        image_size: (width, height) in pixels of the image that the coordinates refer to.
        mode: ``xyxy`` or ``xywh``.

    Attributes:
        extra_fields: field name to its value; a tensor has one row per box.
        triplet_extra_fields: names of the fields that have one row *and* one column per box, as ``relation`` does:
            (N, N), entry (i, j) belonging to subject i and object j. Selecting boxes selects both.
    """

    def __init__(self, bbox: Tensor | list, image_size: tuple[int, int], mode: str = "xyxy") -> None:
        bbox = torch.as_tensor(bbox, dtype=torch.float32)
        if bbox.dim() != 2 or bbox.shape[1] != 4:
            raise ValueError(f"boxes have shape {tuple(bbox.shape)}; give (N, 4)")
        _check_mode(mode)
        self.bbox = bbox
        self.size = image_size
        self.mode = mode
        self.extra_fields: dict[str, Any] = {}
        self.triplet_extra_fields: list[str] = []

    # ---- fields ----

    def add_field(self, field: str, field_data: Any, is_triplet: bool = False) -> None:
        """Sets ``field``, replacing an earlier value; ``is_triplet``: it has a row and a column per box."""
        self.extra_fields[field] = field_data
        if is_triplet and field not in self.triplet_extra_fields:
            self.triplet_extra_fields.append(field)

    def get_field(self, field: str) -> Any:
        return self.extra_fields[field]

    def has_field(self, field: str) -> bool:
        return field in self.extra_fields

    def fields(self) -> list[str]:
        return list(self.extra_fields)

    def _copy_extra_fields(self, bbox: BoxList) -> None:
        self.extra_fields.update(bbox.extra_fields)
        self.triplet_extra_fields = list(dict.fromkeys(self.triplet_extra_fields + bbox.triplet_extra_fields))

    def _derived(
        self, boxes: Tensor, size: tuple[int, int], mode: str, method: str | None = None, *args: Any
    ) -> BoxList:
        """New boxes with this list's fields; fields that are not tensors go through their own ``method``."""
        result = BoxList(boxes, size, mode)
        for name, value in self.extra_fields.items():
            if method is not None and not isinstance(value, Tensor):
                value = getattr(value, method)(*args)
            result.add_field(name, value, is_triplet=name in self.triplet_extra_fields)
        return result

    def copy(self) -> BoxList:
        """The same boxes without fields."""
        return BoxList(self.bbox, self.size, self.mode)

    def copy_with_fields(self, fields: str | Iterable[str], skip_missing: bool = False) -> BoxList:
        """The same boxes with the named fields only. KeyError for an absent one unless ``skip_missing``."""
        result = self.copy()
        for name in [fields] if isinstance(fields, str) else fields:
            if name in self.extra_fields:
                result.add_field(name, self.extra_fields[name], is_triplet=name in self.triplet_extra_fields)
            elif not skip_missing:
                raise KeyError(f"no field {name!r} in {self}; it has {self.fields()}")
        return result

    # ---- geometry ----

    def _corners(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x1, y1, x2, y2, each (N, 1), whatever the mode."""
        x1, y1, c, d = self.bbox.split(1, dim=-1)
        if self.mode == "xyxy":
            return x1, y1, c, d
        return x1, y1, x1 + (c - TO_REMOVE).clamp(min=0), y1 + (d - TO_REMOVE).clamp(min=0)

    def convert(self, mode: str) -> BoxList:
        """These boxes in ``mode``; the object itself when it is in that mode already."""
        _check_mode(mode)
        if mode == self.mode:
            return self
        x1, y1, x2, y2 = self._corners()
        ends = (x2, y2) if mode == "xyxy" else (x2 - x1 + TO_REMOVE, y2 - y1 + TO_REMOVE)
        return self._derived(torch.cat((x1, y1, *ends), dim=-1), self.size, mode)

    def resize(self, size: tuple[int, int], *args: Any, **kwargs: Any) -> BoxList:
        """The boxes in the image scaled to ``size`` = (width, height)."""
        ratio_w, ratio_h = (float(new) / float(old) for new, old in zip(size, self.size))
        if ratio_w == ratio_h:
            return self._derived(self.bbox * ratio_w, size, self.mode, "resize", size)
        x1, y1, x2, y2 = self._corners()
        boxes = torch.cat((x1 * ratio_w, y1 * ratio_h, x2 * ratio_w, y2 * ratio_h), dim=-1)
        return self._derived(boxes, size, "xyxy", "resize", size).convert(self.mode)

    def transpose(self, method: int) -> BoxList:
        """The boxes in the mirrored image: ``FLIP_LEFT_RIGHT`` (0) or ``FLIP_TOP_BOTTOM`` (1).

        The vertical mirror does not subtract the inclusive pixel; checkpoints were trained with that convention.
        """
        width, height = self.size
        x1, y1, x2, y2 = self._corners()
        if method == FLIP_LEFT_RIGHT:
            x1, x2 = width - x2 - TO_REMOVE, width - x1 - TO_REMOVE
        elif method == FLIP_TOP_BOTTOM:
            y1, y2 = height - y2, height - y1
        else:
            raise ValueError(f"transpose method {method!r}; use FLIP_LEFT_RIGHT (0) or FLIP_TOP_BOTTOM (1)")
        boxes = torch.cat((x1, y1, x2, y2), dim=-1)
        return self._derived(boxes, self.size, "xyxy", "transpose", method).convert(self.mode)

    def crop(self, box: tuple[float, float, float, float]) -> BoxList:
        """The boxes in the part ``box`` = (x1, y1, x2, y2) of the image, cut at its border; none is dropped."""
        left, top, right, bottom = box
        w, h = right - left, bottom - top
        x1, y1, x2, y2 = self._corners()
        xs = [(x - left).clamp(min=0, max=w) for x in (x1, x2)]
        ys = [(y - top).clamp(min=0, max=h) for y in (y1, y2)]
        boxes = torch.cat((xs[0], ys[0], xs[1], ys[1]), dim=-1)
        return self._derived(boxes, (w, h), "xyxy", "crop", box).convert(self.mode)

    def clip_to_image(self, remove_empty: bool = True) -> BoxList:
        """Cuts the corners to the image *in place*; ``remove_empty`` returns those with positive extent."""
        limit = self.bbox.new_tensor([self.size[0], self.size[1]] * 2) - TO_REMOVE
        self.bbox.copy_(torch.minimum(self.bbox.clamp(min=0), limit))
        if not remove_empty:
            return self
        return self[(self.bbox[:, 2:] > self.bbox[:, :2]).all(dim=1)]

    def area(self) -> Tensor:
        """(N,) areas in pixels, both ends included."""
        _, _, c, d = self.bbox.unbind(dim=1)
        if self.mode == "xywh":
            return c * d
        return (c - self.bbox[:, 0] + TO_REMOVE) * (d - self.bbox[:, 1] + TO_REMOVE)

    # ---- like a tensor ----

    def to(self, device: torch.device | str) -> BoxList:
        """These boxes on ``device``, in this process's own memory.

        A tensor from a loader's worker lies in memory shared with it and holds a file open; ``Tensor.to("cpu")``
        would hand out that very tensor, and predictions made from it keep one file per tensor until the test ends.
        """
        result = BoxList(_moved(self.bbox, device), self.size, self.mode)
        for name, value in self.extra_fields.items():
            value = _moved(value, device) if hasattr(value, "to") else value
            result.add_field(name, value, is_triplet=name in self.triplet_extra_fields)
        return result

    def __getitem__(self, item: Any) -> BoxList:
        """The boxes that ``item`` (slice, mask or indices) selects, with their fields."""
        result = BoxList(self.bbox[item], self.size, self.mode)
        for name, value in self.extra_fields.items():
            if name in self.triplet_extra_fields:
                result.add_field(name, value[item][:, item], is_triplet=True)
            else:
                result.add_field(name, value[item])
        return result

    def __len__(self) -> int:
        return self.bbox.shape[0]

    def __repr__(self) -> str:
        width, height = self.size
        return f"BoxList({len(self)} boxes, {width} x {height} image, mode={self.mode}, fields={self.fields()})"


def _moved(value: Any, device: torch.device | str) -> Any:
    moved = value.to(device)
    if isinstance(moved, Tensor) and moved.device.type == "cpu" and moved.is_shared():
        return moved.clone()
    return moved


def _check_mode(mode: str) -> None:
    if mode not in _MODES:
        raise ValueError(f"box mode {mode!r}; use xyxy or xywh")


# Test results hold BoxLists; this lets torch.load(..., weights_only=True) read them (torch >= 2.4).
if hasattr(torch.serialization, "add_safe_globals"):
    torch.serialization.add_safe_globals([BoxList])
