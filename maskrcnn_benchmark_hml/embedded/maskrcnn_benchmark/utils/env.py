"""Custom set-up before anything else: the file that ``TORCH_DETECTRON_ENV_MODULE`` names, if it is set."""

from __future__ import annotations

import os

from maskrcnn_benchmark_hml.errors import HMLError

from .imports import import_file

VARIABLE = "TORCH_DETECTRON_ENV_MODULE"


def setup_environment() -> None:
    """Call ``setup_environment()`` of the user's module; nothing happens if the variable is not set."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    module = import_file(f"{__name__}.custom_module", path)
    if not callable(getattr(module, "setup_environment", None)):
        raise HMLError(f"{VARIABLE} names {path}, which has no function setup_environment(); add one or unset it")
    module.setup_environment()


setup_environment()
