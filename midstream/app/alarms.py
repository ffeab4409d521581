"""The topic "alert": what happened is told to webhooks of those who want to know; and who rings it besides turns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import msgspec

from ..core.errors import LimitReached, StoreDown
from ..core.secret import Secret
from ..delivery.webhook import Webhook, Webhooks
from ..metering.alerts import Alarm, Alert, alarms_in, digest, fingerprint, raised, told
from ..store import Store
from ..store.alerts import told_once
from ..store.database import Statement
from ..store.ledger import DeliveryAdded, statement
from ..store.nouns import NounRow
from ..store.outbox import OutboxRow
from .clock import Clock

#: Alerts of one org that are looked at, and limits remembered as told before those that are over are forgotten.
MOST, KEPT = 1000, 10_000


def org_of(row: OutboxRow) -> str:
    """The lane: what happens in one org is told in order."""
    return row.org_id


class Telling:
    """Makes one message for each alert that wants it, at most one in its window."""

    def __init__(self, store: Store, webhooks: Webhooks, now: Callable[[], float]) -> None:
        self._store = store
        self._webhooks = webhooks
        self._now = now

    async def handle(self, row: OutboxRow) -> Iterable[Statement]:
        found = await self._store.org(row.org_id).nouns.sealed("alert", MOST)
        alerts = [(noun, msgspec.convert(noun.value(), Alert), secret) for noun, secret in found]
        caused: list[Statement] = []
        for place, alarm in enumerate(alarms_in(row.payload)):
            for noun, alert, secret in alerts:
                if alert.wants(alarm):
                    caused += self._told(noun, alert, secret, alarm, f"{row.id}:{place}")
        return caused

    def _told(
        self, noun: NounRow, alert: Alert, secret: Secret | None, alarm: Alarm, occasion: str
    ) -> Iterable[Statement]:
        now, org = self._now(), noun.org_id
        id = "dlv_" + digest(noun.id, occasion)
        headers = {} if secret is None else msgspec.json.decode(secret.reveal(), type=dict[str, str])
        target = self._webhooks.sealed(Webhook(alert.webhook.url, headers), org, id)
        message = DeliveryAdded(id, org, "webhook", target, told(noun.id, alert, org, alarm), now, now)
        if not alert.window_seconds:  # the id alone says which occasion it is
            return [statement(message)]
        return told_once(message, noun.id, fingerprint(alarm), occasion, alert.window_seconds)


class Bell:
    """Rings for what no turn tells of itself."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: Until when a limit that was reached has been told, steady seconds.
        self._told: dict[tuple[str, ...], float] = {}

    async def limit_reached(self, org: str, agent: str, thread: str, error: LimitReached) -> None:
        """Once in the window whose points are used up, however many are refused in it."""
        limit = error.limit or {}
        kind = str(limit.get("limit_type", ""))
        name, now = (org, agent, kind, thread if kind == "thread" else ""), self._clock.steady()
        if self._told.get(name, now) > now:
            return
        if len(self._told) >= KEPT:
            self._told = {one: until for one, until in self._told.items() if until > now}
        self._told[name] = now + (error.retry_after or 0.0)
        alarm = Alarm("metrix_limit_reached", agent, kind, error.message, self._clock.wall(), {**limit}, thread=thread)
        window = digest(*name, str(error.since))  # the same on every server
        await self._ring(f"limit:{window}", org, alarm)

    async def disliked(self, org: str, agent: str, thread: str, message: str) -> None:
        """A user's dislike of an answer. Once for each message."""
        alarm = Alarm(
            "thumbsdown", agent, message, "an answer was disliked", self._clock.wall(), thread=thread, message=message
        )
        await self._ring(f"thumbsdown:{message}", org, alarm)

    async def _ring(self, id: str, org: str, alarm: Alarm) -> None:
        with contextlib.suppress(StoreDown):  # what the caller came for goes on without it
            await self._store.ledger.commit(*raised(id, org, [alarm], self._clock.wall()))
