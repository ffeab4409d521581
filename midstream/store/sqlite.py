"""SQLite: the database of one machine, in one file, with nothing to install.

A commit with synchronous NORMAL is a few microseconds of write(), so groups are committed on the event loop itself:
handing them to a thread costs more, and the thread and the loop then fight for the interpreter's lock. With FULL a
commit waits for the disk, so groups go through one worker thread. Readers have their own connections in threads."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

from ..core.errors import BadRequest, Conflict, StoreDown
from .checkpoint import PATIENCE, Checkpointer
from .cjk import apart
from .database import DialectName, Row, Statement, Value
from .exact import ExactSum
from .group import Entry, Flusher, Group, batched
from .lock import NAME, DirectoryLock

logger = logging.getLogger("midstream.store")

READERS = 2
CACHED_STATEMENTS = 256
#: Turns of the event loop that a growing group is waited for.
RIPE_TURNS = 8
#: Seconds to wait for another process's lock (a backup, a shell): the event loop stands still meanwhile.
WRITER_PATIENCE, READER_PATIENCE = 0.25, 5.0

#: Seconds that a refused commit speaks for the next ones, and after which the same is told in the log again.
HOLDS, TOLD_AGAIN = 5.0, 60.0
#: Bytes on the disk below which nothing more should be sent here: a commit or two may still find room.
ROOM = 1024 * 1024

# Every value that is no int, float or str is asked how it wants to be stored, which costs as much as a good part of its
# row: to the commonest it is said. The identity, without a step of Python.
sqlite3.register_adapter(type(None), {None: None}.get)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)

_PLACEHOLDER = re.compile(r"\$(\d+)")
#: What one row of an insertion holds. Not of one that computes any of it: that may depend on the row before.
_VALUES = re.compile(r"\nVALUES (\([^()]*\))(?= ON CONFLICT [^$]*$)")
#: So many rows of one table are inserted by one statement, which opens its table and its indexes once for all of them.
ROWS = 8


class _Translated(dict[str, str]):
    """$1 -> ?1, once per statement text."""

    def __missing__(self, sql: str) -> str:
        text = self[sql] = _PLACEHOLDER.sub(r"?\1", sql)
        return text


class _InRows(dict[str, str]):
    """The insertion of ROWS rows at once, "" for a statement of which there is none."""

    def __missing__(self, sql: str) -> str:
        text = ""
        if found := _VALUES.search(sql):
            width = max(map(int, _PLACEHOLDER.findall(sql)))
            rows = [_shifted(found[1], width * row) for row in range(ROWS)]
            text = sql[: found.start(1)] + ", ".join(rows) + sql[found.end(1) :]
        self[sql] = text
        return text


def _shifted(values: str, by: int) -> str:
    return _PLACEHOLDER.sub(lambda place: f"?{int(place[1]) + by}", values)


def connect(
    path: str, *, full_sync: bool = False, patience: float = READER_PATIENCE, is_uri: bool = False
) -> sqlite3.Connection:
    """A connection that may be used from any one thread at a time."""
    connection = sqlite3.connect(
        path,
        timeout=patience,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
        check_same_thread=False,
        uri=is_uri,
    )
    connection.execute("PRAGMA synchronous = FULL" if full_sync else "PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA cache_size = -1024")  # what is written lies together, and readers come seldom
    connection.create_aggregate("exact_sum", 1, ExactSum)  # type: ignore[arg-type]
    connection.execute("PRAGMA trusted_schema = ON")  # triggers call the next
    connection.create_function("apart", 1, apart, deterministic=True)
    return connection


def mapped(error: BaseException) -> BaseException:
    """The error that callers are shown; what only a bug can cause stays as it is."""
    if isinstance(error, sqlite3.IntegrityError):
        if error.sqlite_errorcode in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
            return Conflict("it exists already", code="already_exists")
        return error
    # Without a code it is Python that could not read what the file says.
    if isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
        return StoreDown()
    if type(error) is sqlite3.DatabaseError:  # not a database, malformed
        return StoreDown()
    if isinstance(error, sqlite3.DataError | OverflowError | UnicodeEncodeError):
        return BadRequest("a value is larger than the store can hold, or is not text", code="invalid_value")
    return error


class _Refusal:
    """What keeps commits from happening, in SQLite's own words. One that is small may find room where most do not, so a
    refusal holds for a while. goes_on: a commit has happened since."""

    def __init__(self) -> None:
        self.goes_on = True
        self._why = ""
        self._at = self._told_at = -math.inf

    def seen(self, why: str) -> None:
        """Told in the log, but not with every request."""
        self._at, self.goes_on = time.monotonic(), False
        if why != self._why or self._at - self._told_at > TOLD_AGAIN:
            self._why, self._told_at = why, self._at
            logger.error("the database does not take what is written: %s", why)

    @property
    def now(self) -> str:
        return "" if self.goes_on and time.monotonic() - self._at > HOLDS else self._why


class SqliteDatabase:
    """path: the file, or None for a database in memory (gone when closed). looks: a file that is there is read as it
    is. Nothing can be written then, none of its settings is changed, and no file is made beside it.

    Raises errors.StoreDown when another server uses the directory or the file cannot be opened."""

    dialect: DialectName = "sqlite"

    def __init__(self, path: Path | None, *, full_sync: bool = False, looks: bool = False) -> None:
        self._path = path
        self._refusal = _Refusal()
        self._lock: DirectoryLock | None = None
        self._checkpointer: Checkpointer | None = None
        self._readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None
        self._flusher: Flusher | None = None
        self._text = _Translated()
        self._in_rows = _InRows()
        self._group: Group | None = None
        self._held = False
        self._closed = False
        try:
            if path is not None and looks:
                self._look(path)
                return
            if path is not None:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = DirectoryLock(path.parent)
                # What people said stands in it: nobody else reads it. SQLite gives its log the same mode.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._open(path, full_sync)
        except (sqlite3.Error, OSError) as error:
            self._release()
            raise StoreDown(f"the database {path} cannot be opened: {error}") from None

    def _look(self, path: Path) -> None:
        if (path.parent / NAME).exists():
            self._lock = DirectoryLock(path.parent)
        log = Path(f"{path}-wal")
        # To read a file that may have a log SQLite makes one, unless it is told that nobody changes anything. A log
        # that is there has to be read.
        still = "" if log.exists() and log.stat().st_size else "&immutable=1"
        self._near = self._writer = connect(f"{path.absolute().as_uri()}?mode=ro{still}", is_uri=True)
        self._near.execute("SELECT count(*) FROM sqlite_master")

    def _open(self, path: Path | None, full_sync: bool) -> None:
        name = ":memory:" if path is None else str(path)
        self._writer = connect(name, full_sync=full_sync, patience=WRITER_PATIENCE)
        self._near = self._writer
        if path is None:
            return
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._near = connect(name)
        for _ in range(READERS):
            self._readers.put(connect(name))
        self._threads = ThreadPoolExecutor(READERS, "store-read")
        self._checkpointer = Checkpointer(path, connect(name, full_sync=full_sync, patience=PATIENCE), self.hold)
        if full_sync:
            self._writing = ThreadPoolExecutor(1, "store-write")
            self._flusher = Flusher(self._commit_in_thread)

    @property
    def trouble(self) -> str:
        if self._path is not None:
            try:
                disk = os.statvfs(self._path)
            except OSError as error:  # what is written goes into a file that nobody will find again
                return f"the database {self._path} cannot be found: {error.strerror}"
            if (free := disk.f_bavail * disk.f_frsize) < ROOM:
                return f"the disk of {self._path.parent} is full ({free >> 10} KiB are free)"
        return self._refusal.now

    # reading

    async def read(self, sql: str, *args: Value) -> list[Row]:
        if self._closed:
            raise StoreDown("the store is closed")
        if self._threads is None:
            return self._fetch(self._near, self._text[sql], args)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._fetch_far, self._text[sql], args)

    async def look_up(self, sql: str, *args: Value) -> list[Row]:
        if self._closed:
            raise StoreDown("the store is closed")
        return self._fetch(self._near, self._text[sql], args)

    def _fetch_far(self, sql: str, args: tuple[Value, ...]) -> list[Row]:
        connection = self._readers.get()
        try:
            return self._fetch(connection, sql, args)
        finally:
            self._readers.put(connection)

    def _fetch(self, connection: sqlite3.Connection, sql: str, args: tuple[Value, ...]) -> list[Row]:
        try:
            return connection.execute(sql, args).fetchall()
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise mapped(error) from error

    # writing

    async def write(self, statements: Sequence[Statement]) -> None:
        if self._flusher is not None:
            await self._flusher.write(statements)
            return
        if self._closed:
            raise StoreDown("the store is closed")
        group = self._group
        if group is None:
            loop = asyncio.get_running_loop()
            group = self._group = Group(loop)
            if not self._held:
                loop.call_soon(self._ripen)
        entry = Entry(statements)
        group.entries.append(entry)
        await group.outcome
        if entry.error is not None:
            raise entry.error

    alter = write

    def _ripen(self) -> None:
        """A commit writes whole pages, so it is cheaper for many: while every turn of the loop brings more callers,
        it waits a few turns. A lone caller waits for one."""
        group = self._group
        if group is not None and group.grows() and group.turns <= RIPE_TURNS:
            asyncio.get_running_loop().call_soon(self._ripen)
        else:
            self._flush()

    def _flush(self) -> None:
        group = self._group
        if group is None or self._held:
            return
        self._group = None
        try:
            self._commit(group.entries)
        except BaseException as error:  # nobody may take silence for success
            group.fail(error)
            raise
        finally:
            group.decided()
        if self._checkpointer is not None:
            self._checkpointer.committed(len(group.entries))

    def hold(self, held: bool) -> None:
        """While held, groups wait: the end of a checkpoint needs the log to itself for a moment."""
        self._held = held
        if not held and self._group is not None:
            asyncio.get_running_loop().call_soon(self._flush)

    async def _commit_in_thread(self, entries: list[Entry]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writing, self._commit, entries)
        if self._checkpointer is not None:
            self._checkpointer.committed(len(entries))

    def _commit(self, entries: list[Entry]) -> None:
        """All in one transaction; when one fails, each in its own."""
        try:
            self._transact(entries)
            self._refusal.goes_on = True
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            away = isinstance(mapped(error), StoreDown)
            if len(entries) > 1 and not away:
                for entry in entries:
                    self._commit([entry])
                return
            if away:
                self._refusal.seen(str(error))
            for entry in entries:
                entry.error = mapped(error)

    def _transact(self, entries: list[Entry]) -> None:
        cursor, text = self._writer.cursor(), self._text
        execute, execute_all = cursor.execute, cursor.executemany
        execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in batched(entries):
                together = len(rows) // ROWS * ROWS if len(rows) >= ROWS and (several := self._in_rows[sql]) else 0
                for at in range(0, together, ROWS):
                    execute(several, [*chain.from_iterable(rows[at : at + ROWS])])
                if len(rows) - together == 1:
                    execute(text[sql], rows[-1])
                elif together < len(rows):
                    execute_all(text[sql], rows[together:])
            execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                execute("ROLLBACK")
            raise

    # closing

    async def close(self) -> None:
        if self._closed:
            return
        if self._flusher is not None:
            await self._flusher.close()
        self._closed = True
        if self._checkpointer is not None:
            await self._checkpointer.close()
        self._held = False
        self._flush()
        if self._threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, partial(self._threads.shutdown, wait=True))
        self._release()

    def _release(self) -> None:
        while not self._readers.empty():
            self._readers.get().close()
        for name in ("_near", "_writer"):
            if (connection := getattr(self, name, None)) is not None:
                connection.close()
        if self._flusher is not None:
            self._writing.shutdown()
        if self._lock is not None:
            self._lock.release()
