"""Where a later answer goes: to a webhook, to a live channel, to a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..core.agents import Delivery
from ..core.errors import BadRequest
from ..core.events import Delta, Done, Event, Failed, ToolEnded, ToolNoted, ToolStarted
from ..delivery.live import Hub
from ..delivery.webhook import Webhook, Webhooks
from ..runs.run import Run
from ..store.jobs import Job
from ..store.ledger import DeliveryAdded, Record

_encode = msgspec.json.Encoder().encode


class Deliver:
    """Answers of jobs on their way. What is told on live channels is told as it happens; the rest is in the store."""

    def __init__(self, webhooks: Webhooks, hub: Hub) -> None:
        self._webhooks = webhooks
        self._hub = hub
        self._followers: set[asyncio.Task[None]] = set()

    def records(self, job: Job, delivery: Delivery, payload: bytes, now: float) -> Sequence[Record]:
        """Committed together with the job's end."""
        id = "dlv_" + job.id.removeprefix("msg_")
        if delivery.kind == "webhook":
            target = self._webhooks.sealed(webhook_of(delivery), job.org_id, id)
            return [DeliveryAdded(id, job.org_id, "webhook", target, payload, now, now)]
        if delivery.kind == "queue":
            target = queue_target(queue_of(delivery))
            return [DeliveryAdded(id, job.org_id, "queue", target, payload, now, now)]
        return ()

    def follow(self, job: Job, run: Run, delivery: Delivery) -> None:
        """Tells a live channel what happens in the run."""
        if delivery.kind == "live":
            task = asyncio.get_running_loop().create_task(self._tell(job, run, channel_of(delivery)))
            self._followers.add(task)
            task.add_done_callback(self._followers.discard)

    async def _tell(self, job: Job, run: Run, channel: str) -> None:
        follower = run.log.follow()
        try:
            while events := await follower.take():
                for event in events:
                    told = told_of(event)
                    if told is not None:
                        self._hub.publish(job.org_id, channel, _encode({**told, "message_id": job.id}))
                    if isinstance(event, Done | Failed):
                        return
        finally:
            follower.leave()

    def ended(self, job: Job, delivery: Delivery, payload: bytes) -> None:
        """The end is durable: it may be told."""
        if delivery.kind == "live":
            body = {"event": "done", "message_id": job.id, "data": msgspec.Raw(payload)}
            self._hub.publish(job.org_id, channel_of(delivery), _encode(body))
        elif delivery.kind == "webhook":
            self._webhooks.wake()


def told_of(event: Event) -> dict[str, Any] | None:
    """An event as listeners of a live channel are told of it; None for what they need not know."""
    match event:
        case Delta():
            return {"event": "delta", "content": event.text}
        case ToolStarted():
            return {"event": "tool_call", "id": event.id, "name": event.name, "arguments": event.arguments}
        case ToolNoted():
            return {"event": "tool_progress", "id": event.id, "text": event.text}
        case ToolEnded():
            return {"event": "tool_result", "id": event.id, "name": event.name, "status": event.status,
                    "text": event.text, "ms": event.ms}  # fmt: skip
    return None


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
        raise _invalid(str(error)) from None
    if not is_web(found.url):
        raise _invalid("cred.url must be an http or https address")
    return found


def is_web(url: str) -> bool:
    """Whether this can be the address of a webhook."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not pair, a port that is none
        return False


def queue_of(delivery: Delivery) -> str:
    name = delivery.target.get("name", delivery.target.get("queue", "default"))
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise _invalid("cred.name must be a queue's name")
    return name


def queue_target(name: str) -> bytes:
    """As it stands in the store: a queue's messages are found by it."""
    return _encode({"name": name})


def channel_of(delivery: Delivery) -> str:
    channel = delivery.target.get("channel", "")
    if not isinstance(channel, str) or not 0 < len(channel) <= 200:
        raise _invalid("cred.channel must name the channel")
    return channel


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"response_format: {why}", param="response_format", code="response_format_invalid")
