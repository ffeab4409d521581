"""Messages on their way to webhooks and queues, and those that live channels keep for a while.

waiting -> delivered | dead        a dead one can be sent again; what a channel keeps waits until it is forgotten"""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ..core.ids import new_id
from .database import Database, Statement
from .owned import Owned

DeliveryStatus: TypeAlias = Literal["waiting", "delivered", "dead"]
PAGE = 100


class DeliveryRow(Struct, frozen=True):
    """kind: webhook | queue | live. target: JSON text of where to (sealed when it holds a secret). tries: made so far.
    available_at: not tried before, unix seconds as all times here; of kind live: when it is forgotten.
    last_error: of the last try that failed. endpoint: of whoever is asked, "" = not known. holder: whose it is now."""

    id: str
    org_id: str
    kind: str
    target: bytes
    payload: bytes
    status: DeliveryStatus
    tries: int
    available_at: float
    last_error: str | None
    created_at: float
    ended_at: float | None
    endpoint: str = ""
    holder: str = ""

    COLUMNS = (
        "id, org_id, kind, target, payload, status, tries, available_at, last_error, created_at, ended_at, endpoint"
    )


_COLUMNS = DeliveryRow.COLUMNS
#: Each endpoint for which anything waits, by when the first of it is due: read from the index alone, by leaps.
_ENDPOINTS = """
WITH RECURSIVE ends(endpoint) AS (
    SELECT min(endpoint) FROM deliveries WHERE status = 'waiting' AND kind = $1
    UNION ALL
    SELECT (SELECT min(one.endpoint) FROM deliveries AS one
        WHERE one.status = 'waiting' AND one.kind = $1 AND one.endpoint > ends.endpoint)
    FROM ends WHERE ends.endpoint IS NOT NULL
), firsts AS (
    SELECT ends.endpoint, (SELECT min(one.available_at) FROM deliveries AS one
        WHERE one.status = 'waiting' AND one.kind = $1 AND one.endpoint = ends.endpoint) AS due
    FROM ends WHERE ends.endpoint IS NOT NULL
) SELECT endpoint, due FROM firsts WHERE due IS NOT NULL ORDER BY due, endpoint"""
_DUE = f"""
SELECT {_COLUMNS} FROM deliveries WHERE status = 'waiting' AND kind = $1 AND endpoint = $2 AND available_at <= $3
ORDER BY available_at, id LIMIT $4"""
_HOLD = """
UPDATE deliveries SET available_at = $3, holder = $4, tries = tries + 1
WHERE id = $1 AND status = 'waiting' AND available_at = $2"""
_HELD = "SELECT tries FROM deliveries WHERE id = $1 AND status = 'waiting' AND holder = $2"
_PUT_BACK = """
UPDATE deliveries SET available_at = $3, endpoint = $4, holder = NULL, tries = tries - 1
WHERE id = $1 AND status = 'waiting' AND holder = $2"""
_FAILED = "UPDATE deliveries SET available_at = $2, last_error = $3 WHERE id = $1 AND status = 'waiting'"
_ENDED = """
UPDATE deliveries SET status = $2, ended_at = $3, last_error = $4 WHERE id = $1 AND status = 'waiting'"""
_ONE = f"SELECT {_COLUMNS} FROM deliveries WHERE id = $1 AND org_id = $2"
_LIST = f"""
SELECT {_COLUMNS} FROM deliveries
WHERE org_id = $1 AND ($2 = '' OR status = $2) AND (created_at, id) > ($3, $4) ORDER BY created_at, id LIMIT $5"""
_AGAIN = """
UPDATE deliveries SET status = 'waiting', tries = 0, available_at = $3, ended_at = NULL
WHERE id = $1 AND org_id = $2 AND status = 'dead'"""
_WAITING = f"""
SELECT {_COLUMNS} FROM deliveries WHERE org_id = $1 AND kind = 'queue' AND target = $2 AND status = 'waiting'
ORDER BY created_at, id LIMIT $3"""
_TAKEN_OUT = """
UPDATE deliveries SET status = 'delivered', ended_at = $4
WHERE id = $1 AND org_id = $2 AND kind = 'queue' AND target = $3 AND status = 'waiting'"""
_IS_OUT = """
SELECT id FROM deliveries
WHERE id = $1 AND org_id = $2 AND kind = 'queue' AND target = $3 AND status = 'delivered'"""
_SAID = """
SELECT created_at, payload FROM deliveries WHERE org_id = $1 AND kind = 'live' AND target = $2 AND created_at > $3
ORDER BY created_at DESC LIMIT $4"""
_UNSAID = """
DELETE FROM deliveries WHERE id = $1 AND org_id = $2
    AND NOT EXISTS (SELECT 1 FROM conversations WHERE id = $3 AND org_id = $2 AND title = $4)"""
_FORGET_SAID = (
    "DELETE FROM deliveries WHERE status = 'waiting' AND kind = 'live' AND endpoint = '' AND available_at < $1"
)


def unsaid_unless_titled(id: str, org: str, conversation: str, title: str) -> Statement:
    """To follow a title and the message that tells it, in their transaction: without the title no message."""
    return _UNSAID, (id, org, conversation, title)


def _put_back(row: DeliveryRow) -> Statement:
    return _PUT_BACK, (row.id, row.holder, row.available_at, row.endpoint)


class Deliveries:
    """All orgs' messages, for those who send them."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        #: Of what was taken and not tried, until that is written down.
        self._returned: list[Statement] = []

    async def take(
        self, kind: str, limit: int, hold: float, busy: Mapping[str, int] | None = None, most: int = PAGE
    ) -> list[DeliveryRow]:
        """Those that are due, out of others' reach for `hold` seconds; whoever takes one and dies lets go of it so.
        busy: how many of an endpoint are under way; of each, `most` at once. Raises StoreDown: what had been taken by
        then is due again with the next call."""
        await self._give_back()
        now = self._clock()
        rows: list[DeliveryRow] = []
        for endpoint, due in await self._db.read(_ENDPOINTS, kind):
            places = limit - len(rows)
            if endpoint:
                places = min(places, most - (busy or {}).get(endpoint, 0))
            if due <= now and places > 0:
                found = await self._db.look_up(_DUE, kind, endpoint, now, places)
                rows += [DeliveryRow(*row) for row in found]
        holder = new_id("hold_")
        rows = [replace(row, holder=holder) for row in rows]
        try:
            await self._db.write([(_HOLD, (row.id, row.available_at, now + hold, holder)) for row in rows])
            held = [await self._db.look_up(_HELD, row.id, holder) for row in rows]
        except BaseException:
            self._returned += map(_put_back, rows)
            raise
        return [replace(row, tries=found[0][0]) for row, found in zip(rows, held, strict=True) if found]

    async def put_back(self, rows: Iterable[DeliveryRow]) -> None:
        """They were taken and not tried, and are due as before: at once when the store is back, if it is away."""
        self._returned += map(_put_back, rows)
        await self._give_back()

    async def _give_back(self) -> None:
        if self._returned:
            returned = [*self._returned]
            await self._db.write(returned)
            del self._returned[: len(returned)]

    async def delivered(self, id: str) -> None:
        await self._db.write([(_ENDED, (id, "delivered", self._clock(), None))])

    async def failed(self, id: str, why: str, again_at: float | None) -> None:
        """again_at: None = never by itself."""
        if again_at is None:
            await self._db.write([(_ENDED, (id, "dead", self._clock(), why))])
        else:
            await self._db.write([(_FAILED, (id, again_at, why))])

    async def next_at(self, kind: str, full: Collection[str] = ()) -> float | None:
        """When the next one is due. full: endpoints that nothing more is sent to for now."""
        found = [due for endpoint, due in await self._db.read(_ENDPOINTS, kind) if endpoint not in full]
        return float(found[0]) if found else None

    async def forget_said(self) -> None:
        """What live channels need not keep any more."""
        await self._db.write([(_FORGET_SAID, (self._clock(),))])


class OrgDeliveries(Owned):
    """One org's messages, for those who look after them."""

    async def one(self, id: str) -> DeliveryRow:
        return DeliveryRow(*await self._found("delivery", _ONE, id))

    async def exists(self, id: str) -> bool:
        return bool(await self._db.look_up(_ONE, id, self._org))

    async def list(self, *, status: str = "", after: str | None = None, limit: int = PAGE) -> Sequence[DeliveryRow]:
        """Oldest first."""
        place = (0.0, "")
        if after is not None:
            row = await self.one(after)
            place = (row.created_at, row.id)
        return [DeliveryRow(*row) for row in await self._db.read(_LIST, self._org, status, *place, limit)]

    async def again(self, id: str) -> DeliveryRow:
        """A dead one is tried anew from now on."""
        await self.one(id)
        await self._db.write([(_AGAIN, (id, self._org, self._clock()))])
        return await self.one(id)

    async def waiting(self, queue: bytes, limit: int) -> Sequence[DeliveryRow]:
        """What is in a queue, oldest first. queue: its target, as it was written."""
        return [DeliveryRow(*row) for row in await self._db.read(_WAITING, self._org, queue, limit)]

    async def taken(self, queue: bytes, ids: Iterable[str]) -> Sequence[str]:
        """Takes messages out of a queue. Returns those that are out of it now, also when they were before."""
        named, now = [*dict.fromkeys(ids)], self._clock()
        await self._db.write([(_TAKEN_OUT, (id, self._org, queue, now)) for id in named])
        return [id for id in named if await self._db.look_up(_IS_OUT, id, self._org, queue)]

    async def said(self, channel: bytes, after: float, limit: int) -> Sequence[tuple[float, bytes]]:
        """(created_at, payload) of what was said in a live channel after that time, the newest ones, oldest first.
        channel: its target, as it was written."""
        rows = await self._db.read(_SAID, self._org, channel, after, limit)
        return [(float(at), bytes(payload)) for at, payload in reversed(rows)]
