"""HML.VAL_METRIC mR: validation returns mR@100 instead of R@100, which class-balanced training lowers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..files import load_torch
from ..run_folder import PREDICTIONS, RESULT_DICT


def mean_recall(inference: Callable, folder: Path, rank: int, args: tuple, kwargs: Mapping[str, Any]) -> Any:
    """Run the host's ``inference`` with an output folder and read mR@100 from the result it writes there.

    Returns:
        mR@100 in [0, 1] on rank 0; what the host returned (a negative number) on the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RESULT_DICT, PREDICTIONS) if rank == 0 else ():
        (folder / name).unlink(missing_ok=True)  # an earlier validation's must not be taken for this one's
    if args:
        args = (_storing_no_predictions(args[0]), *args[1:])
    else:
        kwargs = {**kwargs, "cfg": _storing_no_predictions(kwargs["cfg"])}
    value = inference(*args, **{**kwargs, "output_folder": str(folder)})
    if rank != 0:
        return value
    if not (folder / RESULT_DICT).is_file():
        raise HMLError(f"the benchmark wrote no {folder / RESULT_DICT}, where mR@100 is read; set HML.VAL_METRIC R")
    result = load_torch(folder / RESULT_DICT)
    for name, per_k in result.items():
        if name.endswith("_mean_recall") and "ng_" not in name and "_ng" not in name:
            return float(per_k[100])
    raise HMLError(f"{folder / RESULT_DICT} holds no mean recall; set HML.VAL_METRIC R")


def _storing_no_predictions(cfg: Any) -> Any:
    """The same settings, with which the embedded benchmark writes metrics alone; a checkout always writes all."""
    if "SAVE_PREDICTIONS" not in cfg["TEST"]:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(["TEST.SAVE_PREDICTIONS", False])
    cfg.freeze()
    return cfg
