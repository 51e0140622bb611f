"""The one error type that a user is meant to read, and how a run ends that was asked to stop."""

from __future__ import annotations


class HMLError(ValueError):
    """Bad input or state: the message is one sentence that names the thing and the remedy.

    The command line prints it as ``hml: error: <sentence>`` and exits with status 2. Raised in a loader worker, torch
    raises it again with the worker's traceback in front: that is left out.
    """

    def __init__(self, message: str = "") -> None:
        if message.startswith("Caught HMLError in ") and "HMLError: " in message:
            message = message.rpartition("HMLError: ")[2].strip()
        super().__init__(message)


class Interrupted(SystemExit):
    """A signal asked the run to stop: no step is in flight. Whoever can save does so and raises it again.

    As a SystemExit it ends the process with status 128 + signal, and no ``except Exception`` of a host holds it up.
    """
