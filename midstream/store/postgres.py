"""PostgreSQL: the database that many servers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError

from ..core.errors import BadRequest, Conflict, StoreDown
from .database import DialectName, Row, Statement, Value
from .group import Entry, Flusher, batched

CONNECTIONS = 10
#: Seconds: for a free connection, for one statement, for a new connection.
ACQUIRE_TIMEOUT, STATEMENT_TIMEOUT, CONNECT_TIMEOUT = 2.0, 10.0, 5.0
#: Times that a batch is run again when other servers' transactions got in its way.
TRIES = 4

#: The connection went away: what it was doing may or may not have happened.
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    InterfaceError,
    InternalClientError,  # the driver lost count of a connection that broke in the middle of something
    OSError,
)
#: The server is there and cannot serve now.
_UNABLE = (
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.LockNotAvailableError,
    TimeoutError,
)
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


class PostgresDatabase:
    """Use `connect`; dsn as libpq's URL."""

    dialect: DialectName = "postgres"

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._flusher = Flusher(self._commit)
        self._closed = False

    @classmethod
    async def connect(cls, dsn: str, *, connections: int = CONNECTIONS) -> PostgresDatabase:
        """Raises errors.StoreDown when the server cannot be reached or refuses the login."""
        try:
            pool = await asyncpg.create_pool(  # type: ignore[no-untyped-call]
                dsn,
                min_size=1,
                max_size=connections,
                timeout=CONNECT_TIMEOUT,
                command_timeout=STATEMENT_TIMEOUT,
                server_settings={"application_name": "midstream"},
            )
        except _ANY as error:
            raise StoreDown(f"PostgreSQL cannot be used: {type(error).__name__}") from error
        return cls(pool)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Raises TimeoutError when every connection is busy for too long."""
        connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT)
        try:
            yield connection
        finally:
            await self._pool.release(connection, timeout=ACQUIRE_TIMEOUT)

    async def _renew(self) -> None:
        """When one connection went away, idle ones may have as well: none of them is used again."""
        await self._pool.expire_connections()

    async def read(self, sql: str, *args: Value) -> list[Row]:
        if self._closed:
            raise StoreDown("the store is closed")
        try:
            try:
                return await self._fetch(sql, args)
            except TimeoutError:
                raise
            except _GONE:
                await self._renew()
                return await self._fetch(sql, args)
        except _ANY as error:
            raise mapped(error) from error

    look_up = read

    async def _fetch(self, sql: str, args: tuple[Value, ...]) -> list[Row]:
        async with self._connection() as connection:
            return [tuple(row) for row in await connection.fetch(sql, *args)]

    async def write(self, statements: Sequence[Statement]) -> None:
        await self._flusher.write(statements)

    async def _commit(self, entries: list[Entry]) -> None:
        """All in one transaction; when one fails, each in its own."""
        try:
            await self._transact(entries)
        except _ANY as error:
            shown = mapped(error)
            if len(entries) > 1 and not isinstance(shown, StoreDown):
                for entry in entries:
                    await self._commit([entry])
                return
            for entry in entries:
                entry.error = shown

    async def _transact(self, entries: list[Entry]) -> None:
        """Runs again what a lost connection left undecided: every statement bears it."""
        batches = batched(entries)
        lost = False
        for number in range(TRIES):
            try:
                async with self._connection() as connection, connection.transaction():
                    for sql, rows in batches:
                        if len(rows) == 1:
                            await connection.execute(sql, *rows[0])
                        else:
                            await connection.executemany(sql, rows)
                return
            except asyncpg.TransactionRollbackError:  # deadlock, serialization: another server was first
                if number == TRIES - 1:
                    raise
            except TimeoutError:
                raise
            except _GONE:
                if lost:
                    raise
                lost = True
                await self._renew()

    async def close(self) -> None:
        if self._closed:
            return
        await self._flusher.close()
        self._closed = True
        try:
            await asyncio.wait_for(self._pool.close(), ACQUIRE_TIMEOUT)
        except _ANY:
            self._pool.terminate()
