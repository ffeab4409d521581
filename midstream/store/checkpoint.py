"""Moves SQLite's write-ahead log into the database file from a thread, so that no request waits for the disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Bytes of log after which it is moved.
LOG_LIMIT = 4 * 1024 * 1024
#: Seconds that the end of a checkpoint waits for readers of the log; they hold up writers for as long.
PATIENCE = 0.05


class Checkpointer:
    """hold(True) stops the writer, hold(False) lets it go on; called on the event loop's thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection, hold: Callable[[bool], None]) -> None:
        self._log = f"{path}-wal"
        self._connection = connection
        self._hold = hold
        self._thread = ThreadPoolExecutor(1, "store-checkpoint")
        self._task: asyncio.Task[None] | None = None
        self._limit = LOG_LIMIT

    def check(self) -> None:
        """Starts a checkpoint when the log has grown enough."""
        if self._task is None and self.log_size() > self._limit:
            self._task = asyncio.get_running_loop().create_task(self._move())

    def log_size(self) -> int:
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0

    async def _move(self) -> None:
        """Most of it beside the writer; then the writer waits while the little that came meanwhile is moved and the
        log is emptied. Without that moment a log under steady writing would grow for ever."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._run, "PASSIVE")
            self._hold(True)
            try:
                await loop.run_in_executor(self._thread, self._run, "TRUNCATE")
            finally:
                self._hold(False)
            self._limit = self.log_size() + LOG_LIMIT  # a reader kept it from being emptied: not again at once
        finally:
            self._task = None

    def _run(self, mode: str) -> None:
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {round(PATIENCE * 1000)}")
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.OperationalError:  # locked or a full disk: the log stays as it is, and nothing is lost
            pass

    async def close(self) -> None:
        """Empties the log a last time. The writer must be idle."""
        if self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._run, "TRUNCATE")
        self._thread.shutdown()
        self._connection.close()
