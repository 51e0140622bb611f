"""Reads the YAML files that people write, settings and experiments: one reader, so one rule for all of them.

Plain ``5e-1`` is a number, as in YAML 1.2. A key that occurs twice is refused, and so is a key that YAML reads as
something else than a name (``on:``, ``no:``, an empty one). A value that YAML reads as something else than what is
written (``on`` is True, ``1:30`` is 90) is kept, and :meth:`YamlFile.explained` says so if it is refused later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import HMLError

#: The kinds of config files that yacs reads as YAML, by suffix; it also reads Python source.
YAML_SUFFIXES = (".yaml", ".yml", "")
_TAG = "tag:yaml.org,2002:"
_ODD_NUMBER = re.compile(r"[-+]?0[0-7_]+$|.*[:_]")  # octal, base 60, or with underscores
_PLAIN_WORDS = ("true", "false", "null", "~", "")


class _Loader(yaml.SafeLoader):
    """YAML without objects, with the numbers of YAML 1.2 (``5e-1``, ``1e4``)."""


_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


@dataclass(frozen=True)
class Reading:
    """A plain word that YAML reads as something else: the key it stands under, the word, its value, its line."""

    key: str
    text: str
    value: Any
    line: int

    def __str__(self) -> str:
        return f"YAML reads {self.text} (line {self.line}) as {self.value!r}: if that is not meant, write '{self.text}'"


@dataclass(frozen=True)
class YamlFile:
    """A file's content, and the words in it that YAML reads as something else than what is written."""

    content: Any
    readings: tuple[Reading, ...]

    def explained(self, sentence: str) -> str:
        """A refusal with YAML's reading of the refused value, if that is not what is written."""
        said = {str(reading): None for reading in self.readings
                if reading.key.rpartition(".")[2] in sentence and repr(reading.value) in sentence}
        return "; ".join([sentence, *said])


def read_yaml(path: str | Path, what: str = "settings") -> YamlFile:
    """The content of a YAML file.

    Args:
        what: what the file should hold, for the error.

    Raises:
        HMLError: it cannot be read, is no YAML, or holds a key twice or one that is no name.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        loader = _Loader(text)
        node = loader.get_single_node()
        readings = tuple(_readings(node, "", [])) if node is not None else ()
        return YamlFile(None if node is None else loader.construct_document(node), readings)
    except yaml.YAMLError as error:
        where, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line, reason = f" at line {where.line + 1}" if where else "", f" ({problem})" if problem else ""
        raise HMLError(f"{path} is not valid YAML{line}{reason}; correct it there") from error
    except HMLError as error:
        raise HMLError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise HMLError(f"{path} is not a text file in UTF-8; give a YAML file of {what}") from error
    except OSError as error:
        raise HMLError(f"{path} cannot be read ({error.strerror}); give a readable YAML file") from error
    except (ValueError, TypeError, RecursionError) as error:  # 2020-99-99, a list as a key, an alias of itself
        raise HMLError(f"{path} is not valid YAML ({error}); correct it") from error


def read_config(path: str | Path) -> dict[str, Any]:
    """The content of a YAML config file; {} for an empty one. HMLError as :func:`read_settings`."""
    return read_settings(path).content


def read_settings(path: str | Path) -> YamlFile:
    """A YAML config file; its content is {} if it is empty.

    Raises:
        HMLError: as :func:`read_yaml`, or it has another suffix, or holds something else than settings.
    """
    suffix = Path(path).suffix
    if suffix not in YAML_SUFFIXES:
        raise HMLError(f"{path} has the suffix {suffix}, which yacs does not read; give a YAML file named *.yaml")
    file = read_yaml(path)
    if file.content is None:
        return YamlFile({}, ())
    if not isinstance(file.content, dict):
        kind = "a list" if isinstance(file.content, list) else "a single value"
        raise HMLError(f"{path} holds {kind} and no settings; it must be YAML with lines such as 'SOLVER:' and below "
                       "it '  BASE_LR: 0.01'")  # fmt: skip
    return file


def _readings(node: yaml.Node, key: str, above: list[yaml.Node]) -> Iterator[Reading]:
    """The odd words below a node; HMLError for a key that is repeated or no name."""
    if any(node is other for other in above):
        raise HMLError(f"line {node.start_mark.line + 1} is an alias of itself; write the value out")
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _readings(item, key, [*above, node])
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            _check_name(name, line)
            if lines.setdefault(name.value, line) != line:
                raise HMLError(f"line {line} repeats the key {name.value} of line {lines[name.value]}; keep one")
            yield from _readings(value, f"{key}.{name.value}".lstrip("."), [*above, node])
    elif isinstance(node, yaml.ScalarNode) and _is_odd(node):
        yield Reading(key, node.value, yaml.load(node.value, Loader=_Loader), node.start_mark.line + 1)


def _check_name(node: yaml.Node, line: int) -> None:
    if not isinstance(node, yaml.ScalarNode):
        raise HMLError(f"line {line} has a list or a mapping as a key; give a name")
    kind = node.tag.rpartition(":")[2]
    if kind in ("bool", "null", "timestamp"):
        read = yaml.load(node.value, Loader=_Loader)
        raise HMLError(f"YAML reads the key {node.value or '(empty)'} in line {line} as {read!r}; write '{node.value}'")


def _is_odd(node: yaml.ScalarNode) -> bool:
    """Whether a word without quotes stands for a value that it does not show."""
    kind = node.tag.rpartition(":")[2]
    if node.style is not None or not node.tag.startswith(_TAG) or node.value.lower() in _PLAIN_WORDS:
        return False
    return kind in ("bool", "timestamp") or (kind in ("int", "float") and bool(_ODD_NUMBER.match(node.value)))
