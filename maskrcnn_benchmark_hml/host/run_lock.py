"""One training at a time in an OUTPUT_DIR, and none in one that was deleted meanwhile; how it ended is recorded."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from ..errors import HMLError
from ..files import one_at_a_time
from ..run_folder import run_lock
from ..run_status import record_end, record_start

#: Seconds. The loader workers of a killed run may hold its lock until they notice that it is gone.
_LEFT_OVER = 10.0


class RunLock:
    """The lock of a training's OUTPUT_DIR; rank 0 alone holds one. Entered around the whole script.

    While it is held, and when it is given back, the folder's ``status.json`` says how the run goes or ended.
    """

    def __init__(self) -> None:
        self.file: Path | None = None
        self._begun = False
        self._held = ExitStack()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, *trace) -> None:
        try:
            if self.file is not None and self._begun and self.file.is_file():
                record_end(self.file.parent, error)
        finally:
            self._held.close()
            self.file, self._begun = None, False

    def take(self, output_dir: str, *, existing: bool = False) -> None:
        """Hold the lock from now on.

        Args:
            existing: only if the folder had a lock before, for a refusal before the long checks that writes nothing.

        Raises:
            HMLError: another process trains in the folder.
        """
        file = run_lock(output_dir)
        if self.file is not None or not output_dir or int(os.environ.get("RANK", 0)):
            return
        if existing and not file.is_file():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        busy = f"another process is training in {output_dir}; wait for it or end it, or choose another OUTPUT_DIR"
        try:
            self._held.enter_context(one_at_a_time(file, busy, _LEFT_OVER))
        except OSError as error:
            print(f"hml: {output_dir} cannot be locked ({error}); start no second run there", file=sys.stderr)
        self.file = file if file.is_file() else None

    def begin(self, output_dir: str) -> None:
        """Hold the lock; from now on the folder is this run's, and its end is recorded."""
        self.take(output_dir)
        if self.file is not None:
            self._begun = True
            record_start(output_dir)

    def check(self) -> None:
        """HMLError if the folder is no longer there: everything that is written from now on would be incomplete."""
        if self.file is None:
            return
        try:
            os.stat(self.file)
        except (FileNotFoundError, NotADirectoryError):
            raise HMLError(
                f"the folder {self.file.parent} was deleted or moved while this run trained in it, and its checkpoints "
                "and settings with it; start the run again, after moving the folder back if it still exists"
            ) from None
