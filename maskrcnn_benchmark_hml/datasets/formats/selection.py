"""Choose a vocabulary for images that a reader has read, and give the images their indices of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ..layout import Vocabulary
from .names import Names, select
from .raw import Found, RawImage
from .source import SourceImage

UNKNOWN_OBJECT, UNKNOWN_PREDICATE = "the name is not in the vocabulary", "the predicate is not in the vocabulary"


class Selection:
    """The vocabulary of a data set, and each found name's index in it (0: it has none).

    Args:
        images: all images; objects with several names count for each of them.
        objects, predicates, attributes: a number (the most frequent names) or the names themselves.
    """

    def __init__(
        self, images: Sequence[RawImage], found: Found, objects: int | list[str], predicates: int | list[str],
        attributes: int | list[str] = 0,
    ) -> None:  # fmt: skip
        self._found = found
        self._counts = _counted(len(found.objects.names), (
            names for image in images for row, names in enumerate(image.names) if row not in image.dropped))
        of_predicates = np.zeros(len(found.predicates.names), dtype=np.int64)
        for image in images:
            np.add.at(of_predicates, image.relations[:, 2], 1)
        of_attributes = _counted(len(found.attributes.names), (a for image in images for a in image.attributes))
        chosen = [
            self._choose("object classes", found.objects, self._counts, objects),
            self._choose("predicates", found.predicates, of_predicates, predicates),
            self._choose("attributes", found.attributes, of_attributes, attributes),
        ]
        self.vocabulary = Vocabulary(*(tuple(names) for names, _ in chosen))
        self._object: list[int] = chosen[0][1].tolist()
        self._predicate, self._attribute = chosen[1][1], chosen[2][1]

    def _choose(self, kind: str, names: Names, counts: np.ndarray, wanted: int | list[str]) -> tuple[list, np.ndarray]:
        """The vocabulary, and (names,) the index of each found name in it; says what was chosen."""
        chosen, absent = select(names.names, counts.tolist(), wanted)
        at = {name: i for i, name in enumerate(chosen, 1)}
        index = np.array([at.get(name, 0) for name in names.names], dtype=np.int64)
        covered = int(counts[index > 0].sum())
        if wanted:
            how = "the most frequent" if isinstance(wanted, int) else "as given"
            self._found.tally.say(
                f"{kind}: {len(chosen)} of {int((counts > 0).sum()):,} names ({how}), {covered:,} of "
                f"{int(counts.sum()):,} occurrences" + (f"; never found: {', '.join(absent)}" if absent else "")
            )
        return chosen, index

    def images(self, images: Iterable[RawImage], split: Callable[[int], int]) -> Iterator[SourceImage]:
        """The images with indices of the vocabulary; objects and relations outside it are dropped and counted.

        Args:
            split: the split of the image at each place.
        """
        for place, image in enumerate(images):
            labels = np.array([self._label(names) for names in image.names], dtype=np.int64)
            predicates = self._predicate[image.relations[:, 2]] if len(image.relations) else np.zeros(0, np.int64)
            relations = np.column_stack([image.relations[:, :2], predicates])
            dropped = int((predicates == 0).sum())
            self._found.tally.drop("relations", UNKNOWN_PREDICATE, dropped, f"image {image.source_id}")
            yield SourceImage(
                image.source_id, image.file_name, image.width, image.height, split(place), image.corners, labels,
                relations[predicates > 0], self._attributes(image),
                dropped={**dict.fromkeys(np.flatnonzero(labels == 0).tolist(), UNKNOWN_OBJECT), **image.dropped},
            )  # fmt: skip

    def _label(self, names: tuple[int, ...]) -> int:
        """Index of the name that is the most frequent one of those in the vocabulary; 0 if none is."""
        if len(names) == 1:
            return self._object[names[0]]
        known = [name for name in names if self._object[name]]
        return self._object[max(known, key=lambda name: int(self._counts[name]))] if known else 0

    def _attributes(self, image: RawImage) -> list[tuple[int, ...]]:
        if not len(self.vocabulary.attributes):
            return []
        return [tuple(int(i) for i in self._attribute[list(of)] if i) for of in image.attributes]


def _counted(size: int, groups: Iterable[tuple[int, ...]]) -> np.ndarray:
    counts = [0] * size
    for group in groups:
        for index in group:
            counts[index] += 1
    return np.array(counts, dtype=np.int64)
