"""Webhooks: each message is tried eight times over a little more than a day, then it is dead and can be sent anew."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import BadRequest, MidstreamError, StoreDown, forget_frames
from ..core.http import OWN_HEADERS, Outgoing, Send, Timeouts
from ..store.deliveries import Deliveries, DeliveryRow
from ..store.secrets import SealingKey
from .signing import org_secret, signed

logger = logging.getLogger("midstream.delivery")

KIND = "webhook"
#: Seconds from one try to the next; the last try is the eighth.
LADDER = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
#: A try takes this long at most; whoever has taken a message keeps it from others a little longer.
TIMEOUTS = Timeouts(connect=5.0, write=10.0, first_byte=10.0, between=10.0, total=10.0)
HOLD = 30.0
AT_ONCE, PER_ENDPOINT = 64, 4
#: Seconds between looks for what others have left, and characters kept of why a try failed.
LOOK_EVERY, MAX_WHY = 5.0, 300
#: Headers that we write ourselves, so that nobody else may give them.
WRITTEN = OWN_HEADERS | {"content-type", "webhook-id", "webhook-timestamp", "webhook-signature"}


class Webhook(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where to. secret: `whsec_...`; "" = the org's own."""

    url: str
    headers: dict[str, str] = {}
    secret: str = ""


class Webhooks:
    """seal: targets are kept sealed with it, as their headers often hold credentials. key: of the server.
    jitter: from 0 to 1."""

    def __init__(
        self, deliveries: Deliveries, send: Send, key: bytes, wall: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._deliveries = deliveries
        self._send = send
        self._key = key
        self._seal = SealingKey(key)
        self._wall = wall
        self._jitter = jitter
        self._news = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        #: Tries under way, by endpoint.
        self._busy: Counter[str] = Counter()

    def sealed(self, target: Webhook, org: str, id: str) -> bytes:
        """As it stands in the store."""
        return self._seal.seal(msgspec.json.encode(target), org, id)

    def opened(self, row: DeliveryRow) -> Webhook | None:
        """Where a message goes; None when it cannot be told: sealed with another key, written by a newer server."""
        try:
            return self._open(row)
        except StoreDown:
            return None

    def _open(self, row: DeliveryRow) -> Webhook:
        """Raises StoreDown: with a later try it may be read."""
        try:
            return msgspec.json.decode(self._seal.open(row.target, row.org_id, row.id), type=Webhook)
        except msgspec.DecodeError:
            raise StoreDown("where it goes cannot be read here") from None

    def secret(self, org: str) -> str:
        """What an org's messages are signed with when their target names no secret of its own."""
        return org_secret(self._key, org)

    def wake(self) -> None:
        self._news.set()

    async def send(self) -> float:
        """Begins to send what is due, then waits until there may be more. Seconds until it is worth calling again."""
        self._news.clear()
        room = AT_ONCE - len(self._sending)
        too_many = [
            replace(row, endpoint=endpoint)
            for row in await self._deliveries.take(KIND, room, HOLD, self._busy, PER_ENDPOINT)
            if (endpoint := self._began(row))
        ]
        if too_many:
            await self._deliveries.put_back(too_many)
            return 0.0  # it is known now whose they are; others may be behind them
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(await self._pause()):
                await self._news.wait()
        return 0.0

    async def _pause(self) -> float:
        """Seconds until something can be sent that nobody tells of."""
        if len(self._sending) >= AT_ONCE:
            return LOOK_EVERY  # the end of a try wakes
        full = [endpoint for endpoint, tries in self._busy.items() if tries >= PER_ENDPOINT]
        due = await self._deliveries.next_at(KIND, full)
        return LOOK_EVERY if due is None else min(max(due - self._wall(), 0.05), LOOK_EVERY)

    def close(self) -> None:
        """A try that is under way is made again by the next server."""
        for task in self._sending:
            task.cancel()

    def _began(self, row: DeliveryRow) -> str:
        """Begins to send it; else the endpoint that gets as much as it may already: a slow one holds up nobody."""
        target = self.opened(row)
        endpoint = "" if target is None else _endpoint(target)
        if endpoint and self._busy[endpoint] >= PER_ENDPOINT:
            return endpoint
        task = asyncio.get_running_loop().create_task(self._try(row, target))
        self._sending.add(task)
        self._busy[endpoint] += 1
        task.add_done_callback(partial(self._sent, endpoint))
        return ""

    def _sent(self, endpoint: str, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._busy[endpoint] -= 1
        if not self._busy[endpoint]:
            del self._busy[endpoint]
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a webhook's outcome could not be written down: %s", error)

    async def _try(self, row: DeliveryRow, target: Webhook | None) -> None:
        """target: None where it could not be opened."""
        try:
            why, final = await self._post(row, target or self._open(row))
        except MidstreamError as error:
            why, final = error.message, isinstance(error, BadRequest)
            forget_frames(error)
        if not why:
            await self._deliveries.delivered(row.id)
        elif final or row.tries > len(LADDER):
            await self._deliveries.failed(row.id, why[:MAX_WHY], None)
        else:
            pause = LADDER[row.tries - 1] * (0.9 + 0.2 * self._jitter())
            await self._deliveries.failed(row.id, why[:MAX_WHY], self._wall() + pause)

    async def _post(self, row: DeliveryRow, target: Webhook) -> tuple[str, bool]:
        """Why it did not arrive ("" = it did), and whether no other try would help."""
        secret = target.secret or self.secret(row.org_id)
        own = tuple((name.lower(), value) for name, value in target.headers.items() if name.lower() not in WRITTEN)
        headers = (
            ("content-type", "application/json"),
            *signed(secret, row.id, int(self._wall()), row.payload),
            *own,
        )
        incoming = await self._send(Outgoing("POST", target.url, headers, row.payload, timeouts=TIMEOUTS))
        status = incoming.status
        incoming.close()
        if 200 <= status < 300:
            return "", False
        return f"it answered {status}", status == 410


def _endpoint(target: Webhook) -> str:
    """Which host it is of. Rows name it so: where messages go is sealed."""
    try:
        host = urlsplit(target.url).netloc
    except ValueError:  # its try will be refused; the round, in which others' messages are begun too, goes on
        host = target.url
    return hashlib.sha256(host.encode("utf-8", "surrogatepass")).hexdigest()[:16]
