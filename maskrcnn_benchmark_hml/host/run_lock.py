"""One training at a time in an OUTPUT_DIR, and none in one that was deleted meanwhile."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from ..errors import HMLError
from ..files import one_at_a_time
from ..run_folder import run_lock

#: Seconds. The loader workers of a killed run may hold its lock until they notice that it is gone.
_LEFT_OVER = 10.0


class RunLock:
    """The lock of a training's OUTPUT_DIR; rank 0 alone holds one. Entered around the whole script."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self._held = ExitStack()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exc) -> None:
        self._held.close()
        self.file = None

    def take(self, output_dir: str, *, existing: bool = False) -> None:
        """Hold the lock from now on.

        Args:
            existing: only if the folder had a lock before, for a refusal before the long checks that writes nothing.

        Raises:
            HMLError: another process trains in the folder.
        """
        if self.file is not None or not output_dir or int(os.environ.get("RANK", 0)):
            return
        file = run_lock(output_dir)
        if existing and not file.is_file():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        busy = f"another process is training in {output_dir}; wait for it or end it, or choose another OUTPUT_DIR"
        try:
            self._held.enter_context(one_at_a_time(file, busy, _LEFT_OVER))
        except OSError as error:
            print(f"hml: {output_dir} cannot be locked ({error}); start no second run there", file=sys.stderr)
        self.file = file if file.is_file() else None

    def check(self) -> None:
        """HMLError if the folder is no longer there: everything that is written from now on would be incomplete."""
        try:
            if self.file is not None:
                os.stat(self.file)
        except (FileNotFoundError, NotADirectoryError):
            raise HMLError(
                f"the folder {self.file.parent} was deleted or moved while this run trained in it, and its checkpoints "
                "and settings with it; start the run again, after moving the folder back if it still exists"
            ) from None
