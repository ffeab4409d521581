"""The ends of batches: when the last turn of one has ended, its results are on their way, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..core.errors import StoreDown
from ..delivery.webhook import KIND, Webhook, Webhooks
from ..store import Store
from ..store.batches import Batch, Batches, OrgBatches
from ..store.jobs import Job, OrgJobs
from ..store.ledger import DeliveryAdded, Record
from ..store.secrets import SealingKey
from .clock import Clock


class BatchAsked(Struct, frozen=True):
    """messages: ids of the turns, in the order that they were asked in. webhook: hears of the end."""

    messages: tuple[str, ...]
    webhook: Webhook | None = None


class BatchEnds:
    def __init__(self, store: Store, seal: SealingKey, webhooks: Webhooks, clock: Clock) -> None:
        self._store = store
        self._batches = Batches(store.db)
        self._seal = seal
        self._webhooks = webhooks
        self._clock = clock

    def sealed(self, asked: BatchAsked, org: str, id: str) -> bytes:
        """As it stands in the store: a webhook's headers often hold credentials."""
        return self._seal.seal(msgspec.json.encode(asked), org, id)

    async def told(self, org: str, id: str) -> dict[str, Any]:
        """How a batch stands. Raises NotFound."""
        return await self._told(await OrgBatches(self._store.db, org).one(id))

    async def _told(self, batch: Batch) -> dict[str, Any]:
        asked = self._opened(batch)
        jobs = {job.id: job for job in await OrgJobs(self._store.db, batch.org_id).of_batch(batch.id)}
        return {
            "success": True,
            "batch_id": batch.id,
            "status": "completed" if all(job.ended_at is not None for job in jobs.values()) else "running",
            "data": _results(asked.messages, jobs),
        }

    def _opened(self, batch: Batch) -> BatchAsked:
        return msgspec.json.decode(self._seal.open(batch.body, batch.org_id, batch.id), type=BatchAsked)

    async def ended(self, job: Job) -> None:
        """One of its turns has ended: maybe it was the last."""
        if job.batch_id is not None and await self._batches.is_over(job.org_id, job.batch_id):
            await self._end(await OrgBatches(self._store.db, job.org_id).one(job.batch_id))

    async def sweep(self) -> None:
        """Ends of batches whose server died before it told them."""
        for batch in await self._batches.over():
            await self._end(batch)

    async def _end(self, batch: Batch) -> None:
        if batch.ended_at is not None:
            return
        now, also = self._clock.wall(), list[Record]()
        try:
            webhook = self._opened(batch).webhook
        except StoreDown:  # sealed with another key of the server: nobody knows any more who should hear of it
            webhook = None
        if webhook is not None:
            id = "dlv_" + batch.id.removeprefix("batch_")
            target = self._webhooks.sealed(webhook, batch.org_id, id)
            payload = msgspec.json.encode(await self._told(batch))
            also.append(DeliveryAdded(id, batch.org_id, KIND, target, payload, now, now))
        await self._batches.end(batch.id, now, also)
        self._webhooks.wake()


def _results(messages: Sequence[str], jobs: Mapping[str, Job]) -> list[dict[str, Any]]:
    """What each turn came to, in its face's own words; in the order that they were asked in."""
    told = []
    for index, id in enumerate(messages):
        job = jobs[id]
        result = msgspec.json.decode(job.result, type=dict[str, Raw]) if job.result is not None else {}
        told.append({**result, "message_id": id, "index": index, "status": job.status})
    return told
