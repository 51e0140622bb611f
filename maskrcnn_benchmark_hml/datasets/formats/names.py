"""Names of classes and predicates as they stand in a source: cleaned, replaced by aliases, counted, selected."""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import HMLError
from ...files import read_json, why_unreadable
from ..layout import BACKGROUND

NONE = -1
"""Index of a text that names nothing."""

_SPELLED = str.maketrans({"½": "half", "¢": "cent", "°": " degree"})
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
#: Keys under which a JSON file lists names, with the index of the first name; a background in front is left out.
_LISTED_UNDER = {
    "objects": ("label_to_idx", "idx_to_label", "ind_to_classes", "objects", "obj"),
    "predicates": ("predicate_to_idx", "idx_to_predicate", "ind_to_predicates", "predicates", "rel"),
    "attributes": ("attribute_to_idx", "idx_to_attribute", "ind_to_attributes", "attributes"),
}


def clean_name(text: str) -> str:
    """Free text in lower case without punctuation, accents, other characters than ASCII, and needless spaces.

    >>> clean_name(" Café's ")
    'cafes'
    """
    plain = unicodedata.normalize("NFKD", text.translate(_SPELLED)).encode("ascii", "ignore").decode()
    return " ".join(plain.lower().translate(_NO_PUNCTUATION).split())


class Names:
    """Every text that was met, as the index of the name it stands for.

    Args:
        clean: makes a name of a text.
        aliases: name -> the name that replaces it.
    """

    def __init__(self, clean: Callable[[str], str] = str.strip, aliases: Mapping[str, str] | None = None) -> None:
        self._clean, self._aliases = clean, aliases or {}
        self._of_text: dict[str, int] = {}
        self._of_name: dict[str, int] = {}
        self._tuples: dict[Any, tuple[int, ...]] = {}
        self.names: list[str] = []
        """The names in the order in which they were met; the index counts from 0."""
        self.replaced = 0
        """Texts, each counted once, that an alias replaced."""

    def index(self, text: Any) -> int:
        """Index of the name that ``text`` stands for; NONE if it is no text, or nothing is left of it."""
        if not isinstance(text, str):
            return NONE
        found = self._of_text.get(text)
        if found is None:
            name = self._clean(text)
            replaced = self._aliases.get(name, name)
            self.replaced += replaced != name
            found = self._of_text[text] = self._index_of(replaced) if replaced else NONE
        return found

    def indices(self, texts: Sequence[Any]) -> tuple[int, ...]:
        """The indices of the names that some texts stand for, each once; the same tuple for the same ones.

        Millions of objects have the same few names.
        """
        if len(texts) == 1:
            index = self.index(texts[0])
            return () if index == NONE else self._tuples.setdefault(index, (index,))
        found = tuple(dict.fromkeys(index for index in map(self.index, texts) if index != NONE))
        return self._tuples.setdefault(found, found)

    def _index_of(self, name: str) -> int:
        if name not in self._of_name:
            self._of_name[name] = len(self.names)
            self.names.append(name)
        return self._of_name[name]


def read_aliases(path: Path | None) -> dict[str, str]:
    """Aliases of a file of lines ``name,alias,alias``: the first word of a line replaces the others.

    A line whose first word is itself an alias of an earlier line leads on to that line's name; of two lines that name
    the same alias the later counts. Both are as in the program that made the VG150 split.

    Raises:
        HMLError: the file cannot be read.
    """
    found: dict[str, str] = {}
    for line in [] if path is None else _lines(path):
        name, *aliases = (clean_name(word) for word in line.split(","))
        target = found.get(name, name)
        found.update({alias: target for alias in (name, *aliases) if alias})
    return {alias: target for alias, target in found.items() if alias != target and target}


def given_names(given: str, kind: str, clean: Callable[[str], str] = str.strip) -> int | list[str]:
    """What an option such as ``--objects`` selects: a number of names, or the names of a file.

    A file holds one name a line, or JSON: a list, or an object with such a list or mapping (the names file of a
    dataset folder, GQA-200's ``GQA_200_ID_Info.json``). A background in front is left out.

    Args:
        kind: objects, predicates or attributes.
        clean: makes a name of a text, as in the source.

    Raises:
        HMLError: no file and no number above 0, or the file has no names, or one of them twice.
    """
    if given.isdecimal() and not Path(given).exists():
        if not int(given):
            raise HMLError(f"--{kind} is 0; give a number of names above 0, or a file of names")
        return int(given)
    path = Path(given)
    if not path.is_file():
        raise HMLError(f"--{kind} is {given!r}, which is neither a number nor a file of names; correct it")
    content = read_json(path) if path.suffix.lower() == ".json" else [line for line in _lines(path) if line.strip()]
    names = _listed(content, path, kind)
    names = names[1:] if names[:1] == [BACKGROUND] else names
    names = [clean(name) if isinstance(name, str) else name for name in names]
    wrong = next((name for name in names if not isinstance(name, str) or not name), None)
    if not names or wrong is not None:
        raise HMLError(f"{path} has {'no names' if wrong is None else f'the name {wrong!r}'}; it must list the "
                       f"{kind}, one a line or as JSON")  # fmt: skip
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise HMLError(f"{path} names {repeated[0]!r} twice; every name may occur once")
    return names


def _listed(content: Any, path: Path, kind: str) -> list[Any]:
    """The names in a JSON file in the order of their indices."""
    if isinstance(content, dict):
        key = next((key for key in _LISTED_UNDER[kind] if key in content), None)
        if key is None:
            raise HMLError(f"{path} has none of the keys {', '.join(_LISTED_UNDER[kind])}; give a list of names")
        content = content[key]
    if isinstance(content, dict):
        to_index = all(isinstance(value, int) for value in content.values())
        pairs = [(value, name) if to_index else (name, value) for name, value in content.items()]
        if not all(str(index).isdecimal() for index, _ in pairs):
            raise HMLError(f"{path} does not map names to numbers; give a list of names")
        return [name for _, name in sorted(pairs, key=lambda pair: int(pair[0]))]
    if not isinstance(content, list):
        raise HMLError(f"{path} holds no list of names; give one name a line, or a JSON list")
    return content


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise HMLError(why_unreadable(path, error, "a text file")) from error


def select(names: Sequence[str], counts: Sequence[int], wanted: int | list[str]) -> tuple[list[str], list[str]]:
    """The vocabulary: the most frequent names in alphabetical order, or the given ones in theirs.

    Of names that are equally frequent the first in the alphabet is taken.

    Returns:
        The vocabulary, and those of it that never occur (given names only).
    """
    occurs = {name: count for name, count in zip(names, counts) if count}
    if isinstance(wanted, int):
        ranked = sorted(occurs, key=lambda name: (-occurs[name], name))
        return sorted(ranked[:wanted]), []
    return wanted, [name for name in wanted if name not in occurs]
