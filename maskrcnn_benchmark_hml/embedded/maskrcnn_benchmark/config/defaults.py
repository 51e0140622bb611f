"""Reads ``defaults.yaml``, the nested tree of every key with its default, into a yacs ``CfgNode``."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

HERE = Path(__file__).resolve().parent


def _with_tuples(value: Any) -> Any:
    """YAML has no tuple: a string in round brackets becomes one, as yacs itself reads it in an override."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("("):
        return ast.literal_eval(value)
    return value


def load_defaults(path: str | Path = HERE / "defaults.yaml") -> CfgNode:
    """The configuration tree of ``path``, with the two paths that depend on where the package lies."""
    with open(path, encoding="utf-8") as file:
        tree = CfgNode(_with_tuples(yaml.safe_load(file)))
    tree.PATHS_CATALOG = str(HERE / "paths_catalog.py")
    tree.PATHS_DATA = str(HERE.parent / "data" / "datasets")
    return tree


_C = load_defaults()
