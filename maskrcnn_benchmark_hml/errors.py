"""The one error type that a user is meant to read."""

from __future__ import annotations


class HMLError(ValueError):
    """Bad input or state: the message is one sentence that names the thing and the remedy.

    The command line prints it as ``hml: error: <sentence>`` and exits with status 2.
    """
