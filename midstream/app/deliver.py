"""Where a later answer goes: to a webhook or to a queue."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from ..core.agents import Delivery
from ..core.errors import BadRequest, NotBuilt
from ..delivery.webhook import Webhook, Webhooks
from ..store.jobs import Job
from ..store.ledger import DeliveryAdded, Record

_encode = msgspec.json.Encoder().encode


class Deliver:
    """Answers of jobs on their way: rows of the store until they have arrived."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

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

    def ended(self, delivery: Delivery) -> None:
        """The end is durable: it may be sent."""
        if delivery.kind == "webhook":
            self._webhooks.wake()


def checked(delivery: Delivery) -> None:
    """Raises BadRequest for a target that cannot be used, NotBuilt for a way that is not offered."""
    if delivery.kind == "webhook":
        webhook_of(delivery)
    elif delivery.kind == "queue":
        queue_of(delivery)
    elif delivery.kind == "live":
        raise NotBuilt(
            "response_format: live channels (RTLayer) are not offered by this server", param="response_format"
        )


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


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"response_format: {why}", param="response_format", code="response_format_invalid")
