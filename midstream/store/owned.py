"""What belongs to an org is reached through an object that cannot be made without one."""

from __future__ import annotations

from collections.abc import Callable

from .database import Database, Row, Value
from .reading import missing


class Owned:
    """One org's rows of some kind. An id of another org raises the same errors.NotFound as one that does not exist."""

    def __init__(self, db: Database, org_id: str, clock: Callable[[], float]) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._org = org_id
        self._clock = clock

    async def _found(self, what: str, sql: str, id: str, *more: Value) -> Row:
        """The row that the statement finds: $1 the id, $2 the org. Raises errors.NotFound."""
        rows = await self._db.look_up(sql, id, self._org, *more)
        if not rows:
            raise missing(what, id)
        return rows[0]
