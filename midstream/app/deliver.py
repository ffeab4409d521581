"""Where a later answer goes: to a webhook, to a queue, to a live channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from ..core.agents import Delivery
from ..core.dialect import AnswerWriter
from ..core.errors import BadRequest, MidstreamError
from ..core.events import Done, Event, Failed, Opened, ToolEnded, ToolNoted, ToolStarted
from ..core.http import HEADER_NAME, HEADER_VALUE
from ..core.misread import member_of, place_of
from ..core.turn import Turn
from ..delivery.live import ENDS, KEEP_SECONDS, Body, Ends, Held, Hub, Said
from ..delivery.signing import secret_bytes
from ..delivery.webhook import WRITTEN, Webhook, Webhooks
from ..runs.run import Run
from ..store.database import Database
from ..store.deliveries import Deliveries, OrgDeliveries
from ..store.jobs import Job
from ..store.ledger import DeliveryAdded, Record
from ..wire.sse import SSEReader
from .faces import Face

_encode = msgspec.json.Encoder().encode
_ENDS = (Done, Failed)
_TOOLS = (Opened, ToolStarted, ToolNoted, ToolEnded)
#: Characters of the names of channels and queues.
MAX_NAME = 200
#: After a queue's name, the path that takes its messages out.
ACKNOWLEDGE = "/ack"


class Deliver:
    """Answers of jobs on their way: rows of the store until they have arrived."""

    def __init__(self, webhooks: Webhooks, hub: Hub, deliveries: Deliveries) -> None:
        self._webhooks = webhooks
        self._hub = hub
        self._deliveries = deliveries
        #: Ends that are stored before they are told, each with its channel, by their job.
        self._held: dict[str, list[tuple[str, Held]]] = {}

    def follow(self, job: Job, turn: Turn, run: Run, writer: AnswerWriter) -> None:
        """A try of the turn begins. A live channel is told what happens in it, but for its end, as a stream of the
        turn's face would tell it; without `stream`, what the tools do. writer: of that face, whose streams are
        server-sent events."""
        delivery = delivery_of(turn)
        if delivery.kind != "live":
            return
        channel = channel_of(delivery)

        def hear(events: Sequence[Event]) -> None:
            told = writer.write([event for event in events if isinstance(event, _TOOLS) or turn.stream])
            for frame in SSEReader().feed(told):
                if frame.data is not None:
                    self._hub.say(job.org_id, channel, live_said(frame.event.decode(), job.id, frame.data))

        # What was told of a try that was cut is void.
        self._hub.say(job.org_id, channel, live_said("started", job.id, b"{}"))
        run.log.attach(lambda events: hear([event for event in events if not isinstance(event, _ENDS)]))

    def records(
        self, job: Job, delivery: Delivery, payload: bytes, now: float, *, failed: bool, thread: str = ""
    ) -> Sequence[Record]:
        """Committed together with the job's end; `over` is called after that. thread: the channel of the turn's thread,
        when nobody else tells it."""
        records: list[Record] = []
        id = "dlv_" + job.id.removeprefix("msg_")
        if delivery.kind == "webhook":
            target = self._webhooks.sealed(webhook_of(delivery), job.org_id, id)
            records.append(DeliveryAdded(id, job.org_id, "webhook", target, payload, now, now))
        elif delivery.kind == "queue":
            target = queue_target(queue_of(delivery))
            records.append(DeliveryAdded(id, job.org_id, "queue", target, payload, now, now))
        channels = {id: channel_of(delivery)} if delivery.kind == "live" else {}
        if thread:
            channels[row_of(job.run_id)] = thread
        for row, channel in channels.items():
            held = self._hub.hold(job.org_id, channel, live_said("error" if failed else "done", job.id, payload))
            self._held.setdefault(job.id, []).append((channel, held))
            records.append(live_record(row, job.org_id, channel, held))
        return records

    def ended(self, job: Job, delivery: Delivery) -> None:
        """The end is durable: it may be sent."""
        if delivery.kind == "webhook":
            self._webhooks.wake()
        for channel, held in self._held.pop(job.id, ()):
            self._hub.tell(job.org_id, channel, held)

    async def sweep(self) -> None:
        """Channels forget what is too old."""
        self._hub.sweep()
        await self._deliveries.forget_said()

    def over(self, job: Job) -> None:
        """Nothing more comes of this job here, so nothing in its channels waits for it."""
        for channel, held in self._held.pop(job.id, ()):
            self._hub.drop(job.org_id, channel, held)


def failure(face: Face, error: MidstreamError, id: str) -> bytes:
    """The face's own error body, with the id that the caller was told."""
    body = msgspec.json.decode(face.DIALECT.write_error(error, id))
    return msgspec.json.encode({**body, "message_id": id})


def live_said(event: str, id: str, data: bytes) -> Body:
    """A message of a live channel. data: JSON text. id: of the turn."""
    return lambda number: _encode({"id": number, "event": event, "message_id": id, "data": Raw(data)})


def delivery_of(turn: Turn) -> Delivery:
    """Where the answer of an agent's turn goes."""
    assert turn.agent is not None
    return turn.agent.delivery


def checked(delivery: Delivery) -> None:
    """Raises BadRequest for a target that cannot be used."""
    if delivery.kind == "webhook":
        webhook_of(delivery)
    elif delivery.kind == "queue":
        queue_of(delivery)
    elif delivery.kind == "live":
        channel_of(delivery)


def webhook_of(delivery: Delivery) -> Webhook:
    try:
        found = msgspec.convert(delivery.target, Webhook)
    except msgspec.ValidationError as error:
        raise _misread(error) from None
    if not is_web(found.url):
        raise _invalid("cred.url", "must be an http or https address")
    for name, value in found.headers.items():
        if re.fullmatch(HEADER_NAME, name) is None or re.fullmatch(HEADER_VALUE, value) is None:
            raise _invalid("cred.headers", "a name or value holds a character that cannot be sent")
        if name.lower() in WRITTEN:
            raise _invalid("cred.headers", f"{name} is written by the server itself")
    if found.secret:
        try:
            secret_bytes(found.secret)
        except BadRequest as error:  # nothing could ever be signed with it
            raise _invalid("cred.secret", error.message) from None
    return found


def is_web(url: str) -> bool:
    """Whether this can be the address of a webhook."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            return False
        return "@" not in parts.netloc and url.isprintable() and " " not in url
    except ValueError:  # brackets that do not pair, a port that is none
        return False


def queue_of(delivery: Delivery) -> str:
    target = delivery.target
    _check_members(target, ("name", "queue"))
    name = target.get("name", target.get("queue", "default"))
    if not isinstance(name, str) or not can_be_named(name):
        raise _invalid("cred.name", "must be a queue's name")
    if name.endswith(ACKNOWLEDGE):
        raise _invalid("cred.name", f"a queue's name cannot end in {ACKNOWLEDGE}, which is the path that empties one")
    return name


def queue_target(name: str) -> bytes:
    """As it stands in the store: a queue's messages are found by it."""
    return _encode({"name": name})


def channel_of(delivery: Delivery) -> str:
    _check_members(delivery.target, ("channel",))
    channel = delivery.target.get("channel")
    if not isinstance(channel, str) or not can_be_named(channel):
        raise _invalid("cred.channel", "must name the channel")
    return channel


def ends_of(db: Database, clock: Callable[[], float]) -> Ends:
    """How a channel's messages are found in the store."""

    async def ends(org: str, channel: str, after: int) -> Sequence[Said]:
        since = max(seconds_of(after), clock() - KEEP_SECONDS)
        rows = await OrgDeliveries(db, org, clock).said(live_target(channel), since, ENDS)
        return [Said(number_of(at), payload, kept=True) for at, payload in rows]

    return ends


def live_record(id: str, org: str, channel: str, held: Held) -> Record:
    """What a channel keeps of how a turn ended. id: of the row."""
    at = seconds_of(held.number)
    return DeliveryAdded(id, org, "live", live_target(channel), held.body, at, at + KEEP_SECONDS)


def row_of(run: str) -> str:
    """The id of the row that a thread's channel keeps of how this run ended."""
    return "dlv_" + run.removeprefix("run_")


def can_be_named(name: str) -> bool:
    """A channel or a queue, so."""
    return 0 < len(name) <= MAX_NAME


def live_target(channel: str) -> bytes:
    """As it stands in the store: what a channel keeps is found by it."""
    return _encode({"channel": channel})


def seconds_of(number: int) -> float:
    """When a live message was said; told from each other to the microsecond, as their numbers are."""
    return number / 1_000_000


def number_of(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _check_members(target: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in target:
        if name not in known:
            raise _invalid(f"cred.{name}", "not known here")


def _misread(error: msgspec.ValidationError) -> BadRequest:
    path, why = place_of(error)
    name, why, _ = member_of(why) or ("", why, "")
    return _invalid(".".join(piece for piece in ("cred", path, name) if piece), why)


def _invalid(where: str, why: str) -> BadRequest:
    path = f"response_format.{where}"
    return BadRequest(f"{path}: {why}", param=path, code="response_format_invalid")
