"""The JSON file of a predicate tree: written for people to read and edit, read with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import HMLError

if TYPE_CHECKING:
    from .tree import PredicateTree

_FORMAT = "hml-predicate-tree"
_VERSION = 1


def read_json(path: str | Path, what: str) -> Any:
    """The content of a JSON file; HMLError, naming ``what`` it is, if it is absent or not JSON."""
    path = Path(path)
    if not path.is_file():
        raise HMLError(f"the {what} {path} does not exist; correct the path")
    try:
        return files.read_json(path)
    except HMLError as error:
        raise HMLError(f"the {what} {error}") from error


def read_overrides(path: str | Path) -> dict[str, Any]:
    """The content of an override file; HMLError if it is absent or holds no JSON object."""
    content = read_json(path, "override file")
    if not isinstance(content, dict):
        raise HMLError(f"the override file {path} must hold one object, predicate -> group or layer; rewrite it")
    return content


def write_tree_file(path: str | Path, tree: PredicateTree) -> None:
    """Write a tree's file; HMLError if the place cannot be written."""
    layers = {str(k): list(tree.layer(k)) for k in range(1, tree.num_layers + 1)}
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "builder": tree.builder,
        "vectors": tree.vectors,
        "vectors_digest": tree.vectors_digest,
        "threshold": tree.threshold,
        "skip_words": list(tree.skip_words),
        "actions": list(tree.actions),
        "overrides": tree.overrides,
        "layers": layers,
        "groups": [list(group) for group in tree.groups],
        "predicates": list(tree.predicates),
        "counts": tree.counts,
    }
    files.write_text(path, _readable(content), "tree")


def _readable(content: dict[str, Any]) -> str:
    """JSON with one line per entry and, in the longer parts, one line per group or layer."""
    lines = []
    for key, value in content.items():
        if isinstance(value, dict) and value and key != "counts":
            body = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            text = "{\n" + body + "\n  }"
        elif key == "groups":
            text = "[\n" + ",\n".join(f"    {json.dumps(group)}" for group in value) + "\n  ]"
        else:
            text = json.dumps(value)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_tree_file(path: str | Path) -> dict[str, Any]:
    """The fields of a PredicateTree out of its file.

    Raises:
        HMLError: absent, no JSON, no tree, another version, or a field that is missing or of a wrong kind.
    """
    content = read_json(path, "predicate tree")
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise HMLError(f"{path} is no predicate tree; make one with hml tree")
    if content.get("version") != _VERSION:
        version = content.get("version")
        raise HMLError(f"the tree {path} has the version {version}, this hml reads {_VERSION}; update hml")
    kinds: dict[str, type | tuple[type, ...]] = {
        "builder": str, "vectors": (str, type(None)), "vectors_digest": (str, type(None)),
        "threshold": (int, float, type(None)), "skip_words": list, "actions": list, "overrides": dict,
        "layers": dict, "groups": list, "predicates": list, "counts": dict,
    }  # fmt: skip
    for key, kind in kinds.items():
        if key not in content:
            raise HMLError(f"the tree {path} lacks {key!r}; make it again with hml tree")
        if not isinstance(content[key], kind):
            raise HMLError(f"{key!r} in the tree {path} is of a wrong kind; make it again with hml tree")
    for key in ("skip_words", "actions", "predicates"):
        _check_strings(path, key, content[key])
    for group in content["groups"]:
        _check_strings(path, "groups", group)
    layers: dict[str, int] = {}
    for k, names in content["layers"].items():
        if not (k.isascii() and k.isdecimal()):
            raise HMLError(f"the tree {path} has a layer called {k!r}; layers are numbered from 1")
        _check_strings(path, "layers", names)
        for name in names:
            if name in layers:
                raise HMLError(f"the tree {path} puts {name!r} into layers {layers[name]} and {k}; choose one")
            layers[name] = int(k)
    for name, count in content["counts"].items():
        if not isinstance(count, int) or isinstance(count, bool):
            raise HMLError(f"the count of {name!r} in the tree {path} is {count!r}; counts are whole numbers")
    fields = {key: content[key] for key in ("builder", "vectors", "vectors_digest", "threshold", "overrides", "counts")}
    fields.update({key: tuple(content[key]) for key in ("skip_words", "actions", "predicates")})
    fields["groups"] = tuple(tuple(group) for group in content["groups"])
    fields["layers"] = {name: layers[name] for name in sorted(layers, key=_position(content["predicates"]))}
    fields["num_layers"] = len(content["layers"])
    return fields


def _check_strings(path: str | Path, key: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise HMLError(f"{key!r} in the tree {path} must hold lists of names; make it again with hml tree")


def _position(predicates: list[str]) -> Any:
    rank = {name: position for position, name in enumerate(predicates)}
    return lambda name: rank.get(name, len(rank))
