"""Fonts for names in any script: matplotlib's own font, DejaVu Sans, has no Chinese and draws boxes, silently."""

from __future__ import annotations

import contextlib
import functools
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator

from .drawing import font_manager, rc_context, rcParams

#: Fonts that are no choice for text: placeholders for every character, and mathematics in encodings of its own.
_NO_TEXT = ("Last Resort", "LastResort", "STIXSize", "STIXNonUnicode", "cmr10", "cmb10", "cmex10", "cmmi10", "cmss10",
            "cmsy10", "cmti10", "cmtt10")  # fmt: skip
#: First words of Unicode's names -> Debian's package with a font; others: the last line.
_PACKAGES = (
    (("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO"), "fonts-noto-cjk"),
    (("",), "fonts-noto-core"),
)
_SHOWN = 8


@contextlib.contextmanager
def readable(texts: Iterable[str]) -> Iterator[None]:
    """While entered, text is drawn in the usual font and, for characters of ``texts`` that it lacks, in installed ones.

    Characters that no installed font has are named on stderr, once, with how to install one.
    """
    families, missing = families_for(frozenset("".join(texts)))
    if missing:
        _say_missing(missing)
    with rc_context({"font.family": list(families)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # one line per character and file
        yield


def families_for(characters: frozenset[str]) -> tuple[tuple[str, ...], str]:
    """Font families to draw these characters with, the usual first, and the characters that none of them has."""
    usual = tuple(rcParams["font.family"])
    visible = {c for c in characters if unicodedata.category(c)[0] not in "CZ"}
    missing = visible.difference(*map(_glyphs, usual))
    added: list[str] = []
    for search in (_known_families, _new_families):
        candidates = search() if missing else []
        while missing and candidates:
            best = max(candidates, key=lambda family: len(missing & _glyphs(family)))
            found = missing & _glyphs(best)
            if not found:
                break
            added.append(best)
            missing -= found
    return (*usual, *added), "".join(sorted(missing))


def _known_families() -> list[str]:
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    return sorted(name for name in names if not name.startswith(_NO_TEXT))


def _new_families() -> list[str]:
    """Fonts installed after matplotlib listed them: its list is kept from run to run."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    before = len(manager.ttflist)
    for path in font_manager.findSystemFonts():
        if path not in known:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # bitmap fonts, damaged files
                manager.addfont(path)
    return sorted({entry.name for entry in manager.ttflist[before:] if not entry.name.startswith(_NO_TEXT)})


def has_glyph(family: str, character: str) -> bool:
    """Whether a family's regular font has the character."""
    return character in _glyphs(family)


@functools.cache
def _glyphs(family: str) -> frozenset[str]:
    """The characters that a family's regular font has; none if it is not installed or cannot be read."""
    try:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (ValueError, OSError, RuntimeError):
        return frozenset()


@functools.cache
def _say_missing(characters: str) -> None:
    first = unicodedata.name(characters[0], "")
    package = next(package for starts, package in _PACKAGES if first.startswith(starts))
    shown = " ".join(characters[:_SHOWN]) + (" ..." if len(characters) > _SHOWN else "")
    count = f"{len(characters)} character{'s' if len(characters) > 1 else ''}"
    print(f"hml: no installed font has {count} of the figure's names ({shown}), so they are drawn as boxes; "
          f"install a font, for instance with apt-get install {package}, or put a .ttf or .otf file into "
          "~/.local/share/fonts, and give the command again", file=sys.stderr)  # fmt: skip
