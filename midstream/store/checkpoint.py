"""Moves SQLite's write-ahead log into the database file from a thread, so that no request waits for the disk.

A log is begun anew (its file is written over, which costs less than growing it) by the first commit that finds all
of it moved. Beside a busy writer that moment may never come, so past a limit the writer is made to wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Pages of log after which it is moved (32 MiB: more than one request in a hundred would feel it if it were half as
#: much), and after which the writer waits for its end (128 MiB).
PAGES, PAGES_AT_MOST = 8_192, 32_768
PAGE_SIZE = 4_096
#: What a commit writes, roughly: the pages at the ends of tables and indexes, then some for its transactions.
PAGES_PER_COMMIT, PAGES_PER_TRANSACTION = 10, 1
#: Every so many commits the file is looked at too: content may be far larger than assumed.
LOOK_EVERY = 64
#: Seconds that the end of a checkpoint waits for readers of the log; the writer waits as long.
PATIENCE = 0.05

_PASSIVE = "PRAGMA wal_checkpoint(PASSIVE)"
_RESTART = "PRAGMA wal_checkpoint(RESTART)"
_TRUNCATE = "PRAGMA wal_checkpoint(TRUNCATE)"


class Checkpointer:
    """connection: one that waits PATIENCE. hold(True) stops the writer, hold(False) lets it go on; called on the
    event loop's thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection, hold: Callable[[bool], None]) -> None:
        self._log = f"{path}-wal"
        self._connection = connection
        self._hold = hold
        self._thread = ThreadPoolExecutor(1, "store-checkpoint")
        self._task: asyncio.Task[None] | None = None
        self._pages = 0
        self._commits = 0
        self._size = 0

    def committed(self, transactions: int) -> None:
        """One commit of so many transactions was written. Starts a checkpoint when enough has come together."""
        self._pages += PAGES_PER_COMMIT + PAGES_PER_TRANSACTION * transactions
        self._commits += 1
        if self._commits % LOOK_EVERY == 0 and (size := self.log_size()) > self._size:
            self._pages += (size - self._size) // PAGE_SIZE
            self._size = size
        if self._pages > PAGES and self._task is None:
            self._pages = 0
            self._task = asyncio.get_running_loop().create_task(self._move())

    def log_size(self) -> int:
        """Bytes of the log's file."""
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0

    async def _move(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if await loop.run_in_executor(self._thread, self._run, _PASSIVE) > PAGES_AT_MOST:
                self._hold(True)
                try:
                    await loop.run_in_executor(self._thread, self._run, _RESTART)
                finally:
                    self._hold(False)
        finally:
            self._task = None

    def _run(self, checkpoint: str) -> int:
        """Pages in the log. A locked or spoiled database, or a full disk, leaves the log as it is: nothing is lost by
        that."""
        with contextlib.suppress(sqlite3.DatabaseError):
            _, pages, _ = self._connection.execute(checkpoint).fetchone()
            return int(pages)
        return 0

    async def close(self) -> None:
        """Empties the log a last time. The writer must be idle."""
        if self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._run, _TRUNCATE)
        self._thread.shutdown()
        self._connection.close()
