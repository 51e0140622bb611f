"""A checkout's checkpointer and tests with our checks: files of other trainers, files that do not load, NaN.

Predictions that an earlier test stored are not evaluated again: nothing says which weights they are of. The bundled
benchmark does all this itself. Weights, scores and results stay as the host makes them.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ..compat.checkpoint_file import LOAD_ERRORS, is_local, not_loaded, unwrapped_content
from ..errors import HMLError
from ..files import tensor_bytes, why_unwritable, write_error
from ..finite import check_scores, check_weights
from ..run_folder import PREDICTIONS, newest_checkpoint

_log = logging.getLogger("maskrcnn_benchmark.hml")


def wrap_weights(namespace: dict[str, Any]) -> None:
    """Check what a script's checkpointer loads and what its ``inference`` predicts (a training script's validations
    and test included); what the script lacks is left out."""
    if isinstance(namespace.get("DetectronCheckpointer"), type):
        namespace["DetectronCheckpointer"] = _checked_checkpointer(namespace["DetectronCheckpointer"])
    if namespace.get("inference") is not None:
        namespace["inference"] = _checked_inference(namespace["inference"])


def _checked_checkpointer(base: type) -> type:
    class CheckedCheckpointer(base):
        def save(self, name: str, **kwargs: Any) -> None:
            path = Path(self.save_dir or ".") / f"{name}.pth"
            try:
                super().save(name, **kwargs)
            except (OSError, RuntimeError) as error:
                if (failed := write_error(error)) is None:
                    raise
                path.unlink(missing_ok=True)  # half a file
                raise HMLError(why_unwritable(path, "checkpoint", failed, _size_of(self))) from error

        def has_checkpoint(self) -> bool:
            return newest_checkpoint(self.save_dir) is not None

        def get_checkpoint_file(self) -> str:
            return str(newest_checkpoint(self.save_dir) or "")  # in a copied folder, not that of the original

        def _load_file(self, f: str) -> Any:
            try:
                loaded = super()._load_file(f)
            except LOAD_ERRORS as error:
                if isinstance(error, HMLError) or not is_local(f):
                    raise
                raise HMLError(
                    f"{not_loaded(f, error)} (named by MODEL.WEIGHT, MODEL.PRETRAINED_DETECTOR_CKPT or last_checkpoint)"
                ) from error
            if not is_local(f):
                return loaded
            plain, notes = unwrapped_content(loaded.get("model", loaded) if isinstance(loaded, dict) else loaded, f)
            if notes:
                for note in notes:
                    _log.info("%s: %s", f, note)
                loaded = {**loaded, "model": plain["model"]}
            check_weights(plain["model"].items(), f)
            return loaded

    CheckedCheckpointer.__name__ = CheckedCheckpointer.__qualname__ = base.__name__
    return CheckedCheckpointer


def _size_of(checkpointer: Any) -> int:
    """Bytes of the tensors that a checkpointer saves."""
    states = [part.state_dict() for part in (checkpointer.model, checkpointer.optimizer) if part is not None]
    return tensor_bytes(states)


def _checked_inference(inference: Callable) -> Callable:
    signature = inspect.signature(inference)

    @functools.wraps(inference)
    def inferred(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        call.arguments["cfg"] = _computing(call.arguments.get("cfg"), call.arguments.get("output_folder"))
        args, kwargs = call.args, call.kwargs
        model = call.arguments.get("model")
        if not isinstance(model, nn.Module):
            return inference(*args, **kwargs)
        check_weights(model.named_parameters(), "the model to test")
        images = iter(range(1, 1 << 62))

        def check(module: nn.Module, inputs: tuple, output: Any) -> None:
            for boxes in output if not module.training and isinstance(output, (list, tuple)) else ():
                check_scores(getattr(boxes, "extra_fields", {}), f"number {next(images)} of the test", module)

        handle = model.register_forward_hook(check)
        try:
            return inference(*args, **kwargs)
        finally:
            handle.remove()

    return inferred


def _computing(cfg: Any, folder: Any) -> Any:
    """The same settings without TEST.ALLOW_LOAD_FROM_CACHE, with which SGB evaluates the predictions in the folder,
    whichever model's they are: all validations after the first would then give the first one's result."""
    if cfg is None or not cfg["TEST"].get("ALLOW_LOAD_FROM_CACHE", False):
        return cfg
    if folder and (stored := Path(folder) / PREDICTIONS).is_file():
        _log.info("HML: %s may hold another model's predictions: they are computed anew, in spite of "
                  "TEST.ALLOW_LOAD_FROM_CACHE True", stored)
    own = cfg.clone()
    own.defrost()
    own.TEST.ALLOW_LOAD_FROM_CACHE = False
    own.freeze()
    return own
