"""A benchmark's settings: its defaults, then a YAML file, then KEY VALUE pairs; every mistake is one sentence."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .config_keys import KEYS, fitted, refuse_value
from .errors import HMLError
from .yaml_file import YamlFile, read_config, read_settings

__all__ = ["merge_file", "merge_settings", "our_reader", "read_config"]

#: What yacs raises for keys and values that do not fit.
_MISFITS = (KeyError, ValueError, AssertionError, AttributeError, TypeError, IndexError)
_HML = {f"HML.{key.name}": key for key in KEYS}
_DEFAULTS = "the benchmark's config/defaults.py"
#: What a value must be, by the type of its default.
_KINDS = {bool: "True or False", int: "a whole number", float: "a number with a decimal point", str: "a text",
          tuple: "a list", list: "a list"}
_yacs_merge_from_file = CfgNode.merge_from_file


def merge_settings(cfg: CfgNode, file: str, options: Sequence[str], defaults: str = _DEFAULTS) -> None:
    """Merge a config file ('' for none), then KEY VALUE pairs into ``cfg``, in place.

    Args:
        defaults: where a user finds all keys; named in the error.

    Raises:
        HMLError: a file that is no YAML, a key that does not exist (with the nearest one that does) or has no value, a
            value of the wrong type.
    """
    if file:
        merge_file(cfg, file, defaults)
    _check_pairs(options)
    for name, text in zip(options[::2], options[1::2]):
        try:
            value = cfg._decode_cfg_value(text)
            value = _check(name, value, _default(cfg, name, defaults), defaults)
            cfg.merge_from_list([name, text if isinstance(value, str) else value])
        except HMLError as error:
            raise HMLError(f"command line: {error}") from error
        except _MISFITS as error:
            raise HMLError(f"command line: {_reason(error, cfg, defaults)}") from error


def merge_file(cfg: CfgNode, path: str, defaults: str = _DEFAULTS) -> None:
    """Merge a config file into ``cfg``, in place; values of HML's keys as on the command line (5 for 5.0, a for (a,)).

    Raises:
        HMLError: as :func:`merge_settings`; names the file and, for a refused value, YAML's reading of it.
    """
    file = YamlFile({}, ())
    try:
        if Path(path).suffix == ".py":
            _yacs_merge_from_file(cfg, path)
            return
        file = read_settings(path)
        cfg.merge_from_other_cfg(CfgNode(_fitting(file.content, cfg, cfg, "", defaults)))
    except SyntaxError as error:
        raise HMLError(f"{path} is not valid Python at line {error.lineno}; correct it there") from error
    except HMLError as error:
        text = str(error)
        raise HMLError(text if text.startswith(str(path)) else f"{path}: {file.explained(text)}") from error
    except _MISFITS as error:
        raise HMLError(f"{path}: {file.explained(_reason(error, cfg, defaults))}") from error


@contextlib.contextmanager
def our_reader() -> Iterator[None]:
    """While entered, ``cfg.merge_from_file`` is :func:`merge_file`: a host's script merges the file by itself."""
    CfgNode.merge_from_file = merge_file
    try:
        yield
    finally:
        CfgNode.merge_from_file = _yacs_merge_from_file


def _fitting(content: Mapping[str, Any], node: CfgNode, cfg: CfgNode, prefix: str, defaults: str) -> dict[str, Any]:
    """What a file holds for a section, checked against the section's defaults; empty sections are left out."""
    result = {}
    for name, value in content.items():
        key = f"{prefix}{name}"
        if name not in node:
            if "." in str(name):
                raise HMLError(f"the key {key} is written with dots; in a file, nest it: {_nested(key)}")
            if not (node.is_new_allowed() or cfg.key_is_deprecated(key) or cfg.key_is_renamed(key)):
                raise HMLError(_unknown(key, cfg, defaults))
            result[name] = value
        elif not isinstance(node[name], CfgNode):
            if isinstance(value, Mapping):
                raise HMLError(f"{key} is a single setting, but there are keys below it; give a value after '{name}:'")
            value = cfg._decode_cfg_value(value)
            result[name] = _check(key, value, node[name], defaults)
        elif isinstance(value, Mapping):
            result[name] = _fitting(value, node[name], cfg, f"{key}.", defaults)
        elif value is not None:
            raise HMLError(_section(key, value, node[name]))
    return result


def _check(key: str, value: Any, default: Any, defaults: str) -> Any:
    """A value in the kind that its key has.

    Raises:
        HMLError: it is of another kind, or out of the range of an HML key.
    """
    if isinstance(default, CfgNode):
        raise HMLError(_section(key, value, default))
    if key in _HML:
        value = fitted(_HML[key], value)
        refuse_value(_HML[key], value)
    if value is None and default is not None:
        raise HMLError(f"{key} has no value; give {_KINDS.get(type(default), 'one')}, or leave the key out")
    kinds = {type(default), type(value)}
    if default is None or len(kinds) == 1 or kinds == {tuple, list} or type(default) not in _KINDS:
        return value
    number = type(default) is float and isinstance(value, int) and not isinstance(value, bool)
    like = f" such as {float(value)}" if number else " such as (1,) or ('a',)" if type(default) is tuple else ""
    raise HMLError(f"{key} is {value!r}; give {_KINDS[type(default)]}{like}; see {defaults} for the keys and their "
                   "types")  # fmt: skip


def _default(cfg: CfgNode, key: str, defaults: str) -> Any:
    node: Any = cfg
    for part in key.split("."):
        if not isinstance(node, CfgNode) or part not in node:
            if cfg.key_is_deprecated(key) or cfg.key_is_renamed(key):
                return None
            raise HMLError(_unknown(key, cfg, defaults))
        node = node[part]
    return node


def _check_pairs(options: Sequence[str]) -> None:
    """HMLError if the KEY VALUE pairs hold something else, an option of the script for one."""
    flag = next((word for word in options if word.startswith("--")), None)
    if flag is not None:
        name = flag.partition("=")[0]
        where = "before the script" if name in ("--data", "--sgb") else "before the first KEY VALUE pair"
        raise HMLError(f"{name} stands among the KEY VALUE pairs, where it has no effect; put it {where}")
    joined = next((word for word in options[::2] if "=" in word), None)
    if joined is not None:
        raise HMLError(f"options come as KEY VALUE pairs without '='; write {joined.replace('=', ' ', 1)}")
    if len(options) % 2:
        raise HMLError(f"options come as KEY VALUE pairs, but {options[-1]} has no value; add it")


def _section(key: str, value: Any, node: CfgNode) -> str:
    some = ", ".join(f"{key}.{name}" for name in list(node)[:2])
    return f"{key} is {value!r}, but it is a section with keys of its own, such as {some}; give those"


def _nested(key: str) -> str:
    *sections, name = key.split(".")
    return "".join(f"{section}: {{" for section in sections) + f"{name}: ..." + "}" * len(sections)


def _reason(error: Exception, cfg: CfgNode, defaults: str) -> str:
    """yacs' complaint with the remedy."""
    text = str(error.args[0] if error.args else error).strip().replace("\n", " ")
    if not text.startswith("Non-existent"):
        return f"{text}; see {defaults} for the keys and their types"
    return _unknown(text.rpartition(" ")[2], cfg, defaults)


def _unknown(name: str, cfg: CfgNode, defaults: str) -> str:
    if name.split(".")[0] == "HML" and "HML" not in cfg:
        return f"the key {name} is not known here; start the script through `hml run`"
    known = [*cfg, *_leaves(cfg)] if "." not in name else list(_leaves(cfg))
    by_upper = {key.upper(): key for key in known}
    near = difflib.get_close_matches(name.upper(), list(by_upper), n=1, cutoff=0.5)
    return f"there is no key {name}; " + (
        f"did you mean {by_upper[near[0]]}?" if near else f"{defaults} lists all keys")


def _leaves(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key
