"""The run's logger: console and a file, main process only."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

_FORMAT = "%(asctime)s %(name)s %(levelname)s: %(message)s"


def setup_logger(
    name: str, save_dir: str | Path | None, distributed_rank: int = 0, filename: str = "log.txt"
) -> logging.Logger:
    """The logger ``name`` writing to stdout and, with a ``save_dir``, appending to ``save_dir/filename``.

    Calling it again replaces the handlers, so a process that runs several stages does not write lines twice. Processes
    other than the main one log nothing.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    if distributed_rank > 0:
        logger.addHandler(logging.NullHandler())
        return logger
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if save_dir:
        handlers.append(logging.FileHandler(Path(save_dir) / filename, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
    return logger


def debug_print(logger: logging.Logger, info: str) -> None:
    """A line that marks a milestone of the set-up."""
    logger.info("---- %s ----", info)
