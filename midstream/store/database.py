"""What every room of the store asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

Value: TypeAlias = str | bytes | int | float | bool | None

#: SQL in the words that both databases know, with $1-style placeholders, and its values.
Statement: TypeAlias = tuple[str, tuple[Value, ...]]
Row: TypeAlias = tuple[Any, ...]
DialectName: TypeAlias = Literal["sqlite", "postgres"]


class Database(Protocol):
    """Raises errors.StoreDown when the database cannot be used now, errors.Conflict when a row that must be unique
    exists, errors.BadRequest for values that it cannot hold."""

    @property
    def dialect(self) -> DialectName: ...

    @property
    def trouble(self) -> str:
        """Why nothing that is written will be kept, as far as that is known here; "" = nothing is known."""

    async def read(self, sql: str, *args: Value) -> list[Row]: ...

    async def look_up(self, sql: str, *args: Value) -> list[Row]:
        """Like read, for a few rows found by an index: may be answered without leaving the event loop."""

    async def write(self, statements: Sequence[Statement]) -> None:
        """One transaction, in this order; durable on return. It is committed together with those of other callers,
        but fails alone. After StoreDown it may still have happened, so every statement must bear being run twice.
        A cancelled caller is told after the outcome is known, so what it writes next comes after it."""

    async def alter(self, statements: Sequence[Statement]) -> None:
        """Like write, for what may take long because nobody is served yet: it is given an hour."""

    async def close(self) -> None:
        """Writes what was handed in, then lets go of everything. Idempotent."""


#: The database's own clock, unix seconds: machines that share a database need not agree on the time.
_CLOCK: dict[DialectName, str] = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgres": "EXTRACT(EPOCH FROM clock_timestamp())::double precision",
}


#: A number above all that were given before, for those who wait in line. (SQLite has one writer.)
_PLACE: dict[DialectName, str] = {
    "sqlite": """(SELECT 1 + max(COALESCE((SELECT max(place) FROM jobs), 0),
        COALESCE((SELECT max(place) FROM turn_tickets), 0)))""",
    "postgres": "nextval('turn_places')",
}


def with_clock(sql: str, dialect: DialectName) -> str:
    """`@clock` in a statement stands for the database's own clock."""
    return sql.replace("@clock", _CLOCK[dialect])


def with_place(sql: str, dialect: DialectName) -> str:
    """`@place` in a statement stands for the next place in line."""
    return sql.replace("@place", _PLACE[dialect])


def in_turn(name: str, dialect: DialectName) -> list[Statement]:
    """To stand first in a transaction that writes only if others have not written something meanwhile: those of one
    name wait here for each other, so that each sees what the one before has done. (SQLite has one writer.)"""
    return [("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (name,))] if dialect == "postgres" else []
