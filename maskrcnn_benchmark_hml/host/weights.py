"""A checkout's checkpointer and tests with our checks: files of other trainers, files that do not load, NaN.

Predictions that an earlier test stored are not evaluated again: nothing says which weights they are of. The bundled
benchmark does all this itself. Weights, scores and results stay as the host makes them.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..compat.checkpoint_file import (
    LOAD_ERRORS,
    NEEDED_CLASSIFIER,
    REMOTE,
    is_local,
    not_loaded,
    other_shapes,
    unwrapped_content,
    weight_not_used,
)
from ..errors import HMLError
from ..files import damaged_entry, tensor_bytes, why_unwritable, write_error
from ..finite import check_scores, check_weights
from ..run_folder import PREDICTIONS, newest_checkpoint
from . import hook_points

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

        def load(self, *args, **kwargs) -> Any:
            if self.has_checkpoint() and (said := weight_not_used(self.cfg.MODEL.WEIGHT, self.get_checkpoint_file())):
                _log.warning("HML: %s", said)
            return super().load(*args, **kwargs)

        def _load_file(self, f: str) -> Any:
            if self._is_own(f) and (damage := damaged_entry(Path(f))):
                raise HMLError(f"the checkpoint {f} is damaged ({damage}); restore it, or write the name of another "
                               "into last_checkpoint")
            try:
                loaded = super()._load_file(f)
            except LOAD_ERRORS as error:
                if isinstance(error, HMLError) or f.startswith(REMOTE):
                    raise
                raise HMLError(f"{_why_not_loaded(f, error)} ({self._named_by(f)})") from error
            if not is_local(f):
                return loaded
            plain, notes = unwrapped_content(loaded.get("model", loaded) if isinstance(loaded, dict) else loaded, f)
            if notes:
                for note in notes:
                    _log.info("%s: %s", f, note)
                loaded = {**loaded, "model": plain["model"]}
            check_weights(plain["model"].items(), f)
            if new := _new_classifier(self, plain["model"], f):
                loaded = {**loaded, "model": {name: value for name, value in plain["model"].items() if name not in new}}
            return loaded

        def _named_by(self, f: str) -> str:
            return "named by last_checkpoint" if self._is_own(f) else \
                "named by MODEL.WEIGHT or MODEL.PRETRAINED_DETECTOR_CKPT"

        def _is_own(self, f: str) -> bool:
            return bool(getattr(self, "save_dir", "")) and f == self.get_checkpoint_file() != ""

    CheckedCheckpointer.__name__ = CheckedCheckpointer.__qualname__ = base.__name__
    return CheckedCheckpointer


def _why_not_loaded(f: str, error: BaseException) -> str:
    if f.endswith(".pkl") and Path(f).is_file():
        return (f"{f} does not load ({type(error).__name__}: {str(error).partition(chr(10))[0]}): by its name it is "
                "taken for a Caffe2 model; give a checkpoint of torch.save, named .pth")
    return not_loaded(f, error)


def _new_classifier(checkpointer: Any, weights: Mapping[str, Any], f: str) -> list[str]:
    """The object classifier's tensors in a detector of another vocabulary, where they are not needed (PredCls) or will
    be trained (a detector's training): a checkout would end with a traceback.

    Raises:
        HMLError: other tensors have other shapes, or the frozen classifier is needed.
    """
    own = checkpointer.model.state_dict() if hasattr(checkpointer, "model") else {}
    own = {name[len("module."):] if name.startswith("module.") else name: value for name, value in own.items()}
    wrong = {name: (value.shape, own[name].shape) for name, value in weights.items()
             if name in own and getattr(value, "shape", None) != own[name].shape}
    if not wrong:
        return []
    head, classifier = checkpointer.cfg.MODEL.ROI_RELATION_HEAD, hook_points.BOX_CLASSIFIER
    trained = not checkpointer.cfg.MODEL.RELATION_ON
    unused = head.get("USE_GT_BOX", False) and head.get("USE_GT_OBJECT_LABEL", False)
    if (trained or unused) and all(name.startswith(classifier) for name in wrong) and not checkpointer.has_checkpoint():
        _log.warning("HML: %s is a detector of another vocabulary; its classifier (%s) is left out: %s", f,
                     ", ".join(wrong), "it is trained anew" if trained else "PredCls does not use it")
        return list(wrong)
    known = all(name.startswith(classifier) for name in wrong)
    raise HMLError(other_shapes(f, wrong, NEEDED_CLASSIFIER if known else "use the settings that it was trained with"))


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
