"""A benchmark's settings: its defaults, then a YAML file, then KEY VALUE pairs; every mistake is one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from .errors import HMLError

#: The kinds of config files that yacs reads as YAML, by suffix; it also reads Python source.
_YAML_SUFFIXES = (".yaml", ".yml", "")
#: What yacs raises for keys and values that do not fit.
_MISFITS = (KeyError, ValueError, AssertionError, AttributeError, TypeError, IndexError)


def read_config(path: str | Path) -> dict[str, Any]:
    """The content of a YAML config file; {} for an empty one.

    Raises:
        HMLError: it cannot be read, is no YAML, or holds something else than settings.
    """
    suffix = Path(path).suffix
    if suffix not in _YAML_SUFFIXES:
        raise HMLError(f"{path} has the suffix {suffix}, which yacs does not read; give a YAML file named *.yaml")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise HMLError(f"{path} is not valid YAML{line}; correct it or give another --config-file") from error
    except UnicodeDecodeError as error:
        raise HMLError(f"{path} is not a text file in UTF-8; give a YAML file of settings to --config-file") from error
    except OSError as error:
        raise HMLError(f"{path} cannot be read ({error.strerror}); give a readable YAML file") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise HMLError(f"{path} holds {_kind(content)} and no settings; it must be YAML with lines such as "
                       "'SOLVER:' and below it '  BASE_LR: 0.01'")  # fmt: skip
    return content


def _kind(content: Any) -> str:
    return "a list" if isinstance(content, list) else "a single value"


def merge_settings(
    cfg: CfgNode, file: str, options: Sequence[str], defaults: str = "the benchmark's config/defaults.py"
) -> None:
    """Merge a config file ('' for none), then KEY VALUE pairs into ``cfg``, in place.

    Args:
        defaults: where a user finds all keys; named in the error.

    Raises:
        HMLError: a file that is no YAML, a key that does not exist (with the nearest one that does) or has no value, a
            value of the wrong type.
    """
    if file:
        if Path(file).suffix != ".py":
            read_config(file)  # yacs' own complaints about a file's form are no sentences
        try:
            cfg.merge_from_file(file)
        except _MISFITS as error:
            raise HMLError(f"{file}: {_reason(error, cfg, defaults)}") from error
    if len(options) % 2:
        raise HMLError(f"options come as KEY VALUE pairs, but {options[-1]} has no value; add it")
    try:
        cfg.merge_from_list(list(options))
    except _MISFITS as error:
        raise HMLError(f"command line: {_reason(error, cfg, defaults)}") from error


def _reason(error: Exception, cfg: CfgNode, defaults: str) -> str:
    """yacs' complaint with the remedy."""
    text = str(error.args[0] if error.args else error).strip().replace("\n", " ")
    if not text.startswith("Non-existent"):
        return f"{text}; see {defaults} for the keys and their types"
    name = text.rpartition(" ")[2]
    if name.split(".")[0] == "HML" and "HML" not in cfg:
        return f"the key {name} is not known here; start the script through `hml run`"
    near = difflib.get_close_matches(name, list(_leaves(cfg)), n=1, cutoff=0.5)
    return f"there is no key {name}; " + (f"did you mean {near[0]}?" if near else f"{defaults} lists all keys")


def _leaves(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key
