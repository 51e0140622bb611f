"""How OpenMP's threads wait for each other on a CPU. The standard library alone: it acts before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

#: GOMP_SPINCOUNT is read by libgomp (torch's wheels for Linux): how often a waiting thread asks before it sleeps, by
#: default 300,000 times. KMP_BLOCKTIME is read by libiomp and libomp (conda, macOS): milliseconds, by default 200.
#: Each library ignores the other's variable. ``benchmarks/spinning.py`` measured the numbers.
SHORT_WAIT = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
#: With one of these a user has chosen how threads wait.
USERS_CHOICE = (*SHORT_WAIT, "OMP_WAIT_POLICY", "KMP_LIBRARY")


def limit_spinning(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Let threads that wait sleep soon, so that they leave the core to the thread that they wait for.

    OpenMP reads the environment once, when it is loaded, that is with torch. So this must come before the first
    ``import torch``; afterwards it acts on child processes alone. Results do not change.

    Args:
        environ: the environment to change.

    Returns:
        True if it was changed; False if the user has set one of USERS_CHOICE, which then stands.
    """
    if any(name in environ for name in USERS_CHOICE):
        return False
    environ.update(SHORT_WAIT)
    return True
