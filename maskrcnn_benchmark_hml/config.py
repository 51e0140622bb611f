"""The ``HML`` node of a benchmark's configuration: its defaults, profiles, command-line options and checks."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .config_keys import KEYS, Key, fitted, literal, profile_names, refuse_value
from .errors import HMLError
from .resources import config_file
from .settings_notes import page
from .yaml_file import read_config


def add_hml_config(cfg: CfgNode) -> CfgNode:
    """Add the ``HML`` node with its defaults to a yacs config (in place); nothing happens if it is there already."""
    if "HML" in cfg:
        return cfg
    frozen = cfg.is_frozen()
    cfg.defrost()
    cfg.HML = CfgNode()
    for key in KEYS:
        node = cfg.HML
        *parents, leaf = key.name.split(".")
        for parent in parents:
            if parent not in node:
                node[parent] = CfgNode()
            node = node[parent]
        node[leaf] = key.default
    if frozen:
        cfg.freeze()
    return cfg


def merge_profile(cfg: CfgNode, profile: str) -> None:
    """Merge ``configs/hml/<profile>.yaml`` into the config; later files and options still win."""
    known = profile_names()
    if profile not in known:
        raise HMLError(f"HML.PROFILE is {profile!r}; the profiles are: {', '.join(known)}")
    cfg.merge_from_file(str(config_file(f"hml/{profile}.yaml")))


def requested_profile(argv: list[str], file: str = "") -> str:
    """The profile that a host command line asks for: the last ``HML.PROFILE`` option, else the config file's.

    Args:
        argv: the command line.
        file: its config file, '' for none.

    Raises:
        HMLError: the config file is no YAML.
    """
    for at in range(len(argv) - 2, -1, -1):
        if argv[at] == "HML.PROFILE":
            return argv[at + 1]
    if file and Path(file).is_file() and Path(file).suffix != ".py":
        node = read_config(file).get("HML")
        return str(node.get("PROFILE", "paper")) if isinstance(node, dict) else "paper"
    return "paper"


def check_option_names(argv: list[str]) -> None:
    """Refuse an unknown ``HML.*`` key on a command line before the host script starts, naming the nearest key."""
    names = [f"HML.{key.name}" for key in KEYS]
    for word in argv:
        if word.startswith("HML.") and word not in names:
            near = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists the keys."
            raise HMLError(f"there is no setting {word}; {hint}")


def normalise_options(argv: list[str]) -> list[str]:
    """Write the values of ``HML.*`` options the way yacs wants them, and check each one alone.

    ``HML.CR.WEIGHT 5`` becomes ``5.0``, ``HML.STAGES.LABELS only,containing`` becomes a tuple: yacs itself refuses an
    int where the default is a float, and a bare word where it is a tuple.

    Raises:
        HMLError: unknown key, missing value, or a value of the wrong kind or range.
    """
    check_option_names(argv)
    keys = {f"HML.{key.name}": key for key in KEYS}
    out = list(argv)
    for at, word in enumerate(argv):
        if word not in keys:
            continue
        key = keys[word]
        if at + 1 == len(argv):
            raise HMLError(f"{word} has no value; give {key.allowed}")
        text = argv[at + 1]
        if isinstance(key.default, tuple) and not text.startswith(("(", "[")):
            text = repr(fitted(key, text))
        elif isinstance(key.default, float) and isinstance(literal(text), int):
            text = repr(fitted(key, literal(text)))
        probe = add_hml_config(CfgNode())
        try:
            probe.merge_from_list([word, text])
        except ValueError as error:
            raise HMLError(f"{word} is {argv[at + 1]!r}; give {key.allowed}") from error
        check_config(probe, only=key)
        out[at + 1] = text
    return out


def get(cfg: CfgNode, name: str) -> Any:
    """The value of ``HML.<name>``."""
    node = cfg.HML
    for part in name.split("."):
        node = node[part]
    return node


def check_config(cfg: CfgNode, only: Key | None = None) -> None:
    """Check every ``HML`` value (or that of ``only``) against its range.

    Raises:
        HMLError: names the key, its value and what is allowed.
    """
    for key in [only] if only else KEYS:
        refuse_value(key, get(cfg, key.name))
    repeats = get(cfg, "STAGES.OVERSAMPLE_REPEATS")
    if only is None and repeats and len(repeats) != len(get(cfg, "STAGES.OVERSAMPLE_RANKS")):
        raise HMLError("HML.STAGES.OVERSAMPLE_REPEATS and HML.STAGES.OVERSAMPLE_RANKS differ in length; give one each")


def settings(cfg: CfgNode) -> dict[str, Any]:
    """All HML settings as a flat dict ``HML.X`` -> plain value (tuples as lists), for provenance and comparison."""
    flat = {f"HML.{key.name}": get(cfg, key.name) for key in KEYS}
    return {name: list(v) if isinstance(v, (tuple, list)) else v for name, v in flat.items()}


def settings_page() -> str:
    """``docs/settings.md`` in Markdown."""
    return page(KEYS, {name: read_config(config_file(f"hml/{name}.yaml"))["HML"] for name in profile_names()})


if __name__ == "__main__":
    print(settings_page(), end="")
