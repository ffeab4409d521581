"""PostgreSQL: the database that many servers share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError, UnknownPostgresError

from ..core.errors import BadRequest, Conflict, StoreDown
from .database import DialectName, Row, Statement, Value
from .group import Entry, Flusher, batched
from .metrics import ARRIVES

CONNECTIONS = 10
#: Seconds: for a free connection, for a new one, for reading much, for bringing tables to a new form.
ACQUIRE_TIMEOUT, CONNECT_TIMEOUT, READ_TIMEOUT, ALTER_TIMEOUT = 2.0, 5.0, 10.0, 3600.0
#: Seconds for what a request waits for: a look-up, a commit. After a server has let that pass without a word, those who
#: ask within SILENT seconds of it get HURRIED each, so that nobody queues behind others who wait in vain.
PATIENCE, HURRIED, SILENT = 3.0, 1.0, 10.0
#: Seconds in which whoever uses a connection that was cut has to notice: the driver does not while it waits to send.
NOTICED = 0.5
#: Seconds between looks whether a connection that only listens still does.
LOOK = 5.0
#: Seconds for a row that another transaction holds: longer than PostgreSQL takes to see a deadlock, and within PATIENCE
#: twice, as one waits where several do (for its turn, then for the holder). And for whoever holds rows and asks nothing
#: more: a server that stands still (stopped, a machine that sleeps) lets go of what the others need. Longer than a live
#: one takes.
LOCK_TIMEOUT, IDLE_TIMEOUT = 1.4, 4.0
#: Times that a batch is run when other servers' transactions get in its way, and a single write when its row is held:
#: for longer than a server that stands still can hold it.
TRIES, OF_HELD = 4, 3

#: The connection went away: what it was doing may or may not have happened.
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    InterfaceError,
    InternalClientError,  # the driver lost count of a connection that broke in the middle of something
    OSError,
)
#: The server is there and cannot serve now, or may not: for reasons of its own, whatever was asked.
_UNABLE = (
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.ConfigFileError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidCachedStatementError,  # another server has brought the tables to a new form
    UnknownPostgresError,  # no SQL of ours can cause what the driver has no name for
    TimeoutError,
)
#: Nobody may make tables, or there is no place for them.
_UNMADE = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError, asyncpg.ReadOnlySQLTransactionError)
#: What a database may be in: SQL_ASCII, which takes every byte as it comes, is what a server made in the locale C has.
_ENCODINGS = ("UTF8", "SQL_ASCII")
#: Everything that reading and writing may raise.
_ANY = (PostgresError, *_GONE, ValueError, OverflowError)


def mapped(error: BaseException) -> BaseException:
    """The error that callers are shown; what only a bug can cause stays as it is."""
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict("it exists already", code="already_exists")
    if isinstance(error, (*_GONE, *_UNABLE, asyncpg.TransactionRollbackError)):
        return StoreDown()
    if isinstance(error, asyncpg.DataError | OverflowError | UnicodeEncodeError):
        return BadRequest("a value is larger than the store can hold, or is not text", code="invalid_value")
    return error


def _words(error: BaseException) -> str:
    """Why, for whoever starts a server, in one line. What the driver says of an address may repeat its password."""
    if isinstance(error, PostgresError):
        return str(error).partition("\n")[0]
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _bounded() -> str:
    """Begins a transaction in which nobody waits for ever. In one message, and not as settings of the connection: those
    a pooler may refuse, or keep for somebody else."""
    lock, idle = int(LOCK_TIMEOUT * 1000), int(IDLE_TIMEOUT * 1000)
    return f"BEGIN; SET LOCAL lock_timeout = {lock}; SET LOCAL idle_in_transaction_session_timeout = {idle}"


@asynccontextmanager
async def _transaction(connection: Any, begin: str) -> AsyncIterator[None]:
    await connection.execute(begin)
    try:
        yield
    except BaseException:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


def _arrives(entry: Entry) -> bool:
    return any(sql == ARRIVES for sql, _ in entry.statements)


class PostgresDatabase:
    """Use `connect`; dsn as libpq's URL."""

    dialect: DialectName = "postgres"
    trouble = ""

    def __init__(self, pool: Any, dsn: str = "") -> None:
        self._pool = pool
        self._dsn = dsn
        self._flusher = Flusher(self._commit)
        self._closed = False
        #: Loop time at which the server was last given up.
        self._gave_up = -math.inf

    @classmethod
    async def connect(cls, dsn: str, *, connections: int = CONNECTIONS) -> PostgresDatabase:
        """Raises errors.StoreDown when the server cannot be reached or refuses the login, and when the database has no
        place for all text."""
        try:
            pool = await asyncpg.create_pool(  # type: ignore[no-untyped-call]
                dsn,
                min_size=1,
                max_size=connections,
                timeout=CONNECT_TIMEOUT,
                server_settings={"application_name": "midstream"},
            )
            async with pool.acquire() as connection:
                encoding = connection.get_settings().server_encoding
        except _ANY as error:
            raise StoreDown(f"PostgreSQL cannot be used: {_words(error)}") from error
        database = cls(pool, dsn)
        if encoding not in _ENCODINGS:
            await database.close()
            raise StoreDown(f"PostgreSQL cannot be used: the database is in {encoding}: make one with ENCODING 'UTF8'")
        return database

    @asynccontextmanager
    async def _connection(self, seconds: float) -> AsyncIterator[Any]:
        """For so long: then it is cut, because a server that stands still would not take a rollback either.
        Raises TimeoutError for that, and when every connection is busy for too long; ConnectionError when the server
        lets nobody in, for whatever reason."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._gave_up + SILENT:
            seconds = min(seconds, HURRIED)
        try:
            connection = await self._pool.acquire(timeout=min(seconds, ACQUIRE_TIMEOUT))
        except PostgresError as error:
            raise ConnectionError from error
        given_up = False

        def give_up() -> None:
            nonlocal given_up
            given_up = True
            self._gave_up = loop.time()
            connection.terminate()

        timer = loop.call_later(seconds, give_up)
        try:
            async with asyncio.timeout(seconds + NOTICED):
                yield connection
            self._gave_up = -math.inf
        except _ANY as error:
            if given_up:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
            await self._pool.release(connection, timeout=ACQUIRE_TIMEOUT)

    async def _renew(self) -> None:
        """When one connection went away, idle ones may have as well: none of them is used again."""
        await self._pool.expire_connections()

    async def read(self, sql: str, *args: Value) -> list[Row]:
        return await self._read(READ_TIMEOUT, sql, args)

    async def look_up(self, sql: str, *args: Value) -> list[Row]:
        return await self._read(PATIENCE, sql, args)

    async def _read(self, seconds: float, sql: str, args: tuple[Value, ...]) -> list[Row]:
        if self._closed:
            raise StoreDown("the store is closed")
        try:
            try:
                return await self._fetch(seconds, sql, args)
            except TimeoutError:
                raise
            except _GONE:
                await self._renew()
                return await self._fetch(seconds, sql, args)
        except _ANY as error:
            raise mapped(error) from error

    async def _fetch(self, seconds: float, sql: str, args: tuple[Value, ...]) -> list[Row]:
        async with self._connection(seconds) as connection:
            return [tuple(row) for row in await connection.fetch(sql, *args)]

    async def write(self, statements: Sequence[Statement]) -> None:
        await self._flusher.write(statements)

    async def alter(self, statements: Sequence[Statement]) -> None:
        try:  # in line behind all others who bring tables to a new form
            await self._transact([Entry(statements)], "BEGIN", ALTER_TIMEOUT)
        except _UNMADE as error:
            raise StoreDown(f"PostgreSQL makes no tables here: {_words(error)}") from error
        except _ANY as error:
            raise mapped(error) from error

    async def _commit(self, entries: list[Entry]) -> None:
        """All in one transaction; when one fails, each in its own."""
        try:
            await self._transact(entries, _bounded(), PATIENCE)
        except _ANY as error:
            shown = mapped(error)
            one_of_them = isinstance(error, asyncpg.LockNotAvailableError) or not isinstance(shown, StoreDown)
            if len(entries) > 1 and one_of_them:
                for entry in sorted(entries, key=_arrives):
                    await self._commit([entry])
                return
            for entry in entries:
                entry.error = shown

    async def _transact(self, entries: list[Entry], begin: str, seconds: float) -> None:
        """Runs again what a lost connection left undecided: every statement bears it."""
        # What every server needs is held as short as can be: until the end, so from late on.
        batches = batched(sorted(entries, key=_arrives))
        tries, lost = 0, False
        while True:
            try:
                async with self._connection(seconds) as connection, _transaction(connection, begin):
                    for sql, rows in batches:
                        if len(rows) == 1:
                            await connection.execute(sql, *rows[0])
                        else:
                            await connection.executemany(sql, rows)
                return
            except asyncpg.LockNotAvailableError:  # others of the batch need not wait for that row
                tries += 1
                if len(entries) > 1 or tries >= OF_HELD:
                    raise
            except asyncpg.TransactionRollbackError:  # deadlock, serialization: another server was first
                tries += 1
                if tries >= TRIES:
                    raise
            except TimeoutError:
                raise
            except _GONE:
                if lost:
                    raise
                lost = True
                await self._renew()

    async def follow(self, name: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
        """store.notices.follow. On a connection of its own, outside of the pool."""
        try:
            connection = await asyncpg.connect(  # type: ignore[no-untyped-call]
                self._dsn, timeout=CONNECT_TIMEOUT, server_settings={"application_name": "midstream"}
            )
            try:
                await connection.add_listener(name, lambda _, pid, channel, text: heard(text))
                began()
                while True:
                    await asyncio.sleep(LOOK)
                    await connection.execute("SELECT 1", timeout=PATIENCE)
            finally:
                connection.terminate()
        except _ANY as error:
            raise StoreDown from error

    async def close(self) -> None:
        if self._closed:
            return
        await self._flusher.close()
        self._closed = True
        try:
            await asyncio.wait_for(self._pool.close(), ACQUIRE_TIMEOUT)
        except _ANY:
            self._pool.terminate()
