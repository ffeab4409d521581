"""One server per data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..core.errors import StoreDown

#: Its file in the directory.
NAME = "midstream.lock"


class DirectoryLock:
    """Held until `release` or the end of the process, however it ends. Raises errors.StoreDown when another process
    holds it."""

    def __init__(self, directory: Path) -> None:
        path = directory / NAME
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StoreDown(
                f"the data directory {directory} is in use by another midstream server"
                + (f" (process {holder})" if holder else "")
                + ": stop it, or give this one its own directory"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
