"""Short texts that servers on one PostgreSQL tell each other; nothing of them is kept."""

from __future__ import annotations

from collections.abc import Callable

from .database import Database, Statement
from .postgres import PostgresDatabase

_NOTIFY = "SELECT pg_notify($1, $2)"


def notice(name: str, text: str) -> Statement:
    """Heard by those who listen to that name once its transaction is durable, and never if that fails."""
    return _NOTIFY, (name, text)


async def follow(db: Database, name: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
    """Until it is cancelled: heard is told each notice, in the order of each server's commits; began that from now on
    none is missed. Raises errors.StoreDown when that is over."""
    assert isinstance(db, PostgresDatabase)  # a SQLite has no other servers beside it
    await db.follow(name, heard, began)
