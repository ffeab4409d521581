"""What is on its way elsewhere: messages to webhooks, the queues that applications empty themselves, later turns."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from ..core.errors import Conflict, MethodNotAllowed
from ..delivery.webhook import KIND, Webhook, Webhooks
from ..store.deliveries import DeliveryRow, DeliveryStatus, OrgDeliveries
from ..store.jobs import Job, OrgJobs
from .admin_keys import WORDS
from .admin_scope import After, Limit, OrgId, Scope
from .deliver import ACKNOWLEDGE, queue_target
from .noun_paths import QUEUES
from .nouns import ChatCaller, Who, json_reply, page
from .services import Services

#: Messages that are taken from a queue, or acknowledged, at once.
MAX_QUEUED = 100
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=WORDS)]


class Acknowledged(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[Word] = Field(min_length=1, max_length=MAX_QUEUED)


def delivery_admin_router(services: Services, webhooks: Webhooks) -> APIRouter:
    router = APIRouter(prefix="/v1/admin", tags=["deliveries"])
    scope, store = Scope(services), services.store

    def deliveries(org: str) -> OrgDeliveries:
        return OrgDeliveries(store.db, org, services.clock.wall)

    @router.get("/deliveries", summary="Messages to webhooks and queues, oldest first")
    async def listing(
        caller: Who,
        status: DeliveryStatus | None = None,
        org_id: OrgId = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        org = (await scope.of(caller, org_id)).org_id
        rows = await deliveries(org).list(status=status or "", after=after, limit=limit + 1)
        return page([_shown(row, webhooks) for row in rows], limit)

    @router.get("/deliveries/{delivery_id}", summary="One message: what it says, where to, and why it failed")
    async def get(caller: Who, delivery_id: str, org_id: OrgId = None) -> Response:
        row = await deliveries((await scope.of(caller, org_id)).org_id).one(delivery_id)
        return json_reply({**_shown(row, webhooks), "payload": msgspec.Raw(row.payload)})

    @router.post("/deliveries/{delivery_id}/replay", summary="Send a dead message anew, with all its tries")
    async def replay(caller: Who, delivery_id: str, org_id: OrgId = None) -> Response:
        mine = deliveries((await scope.of(caller, org_id)).org_id)
        row = await mine.one(delivery_id)
        if row.status != "dead":
            raise Conflict(f"this message is {row.status}: only a dead one is sent anew", code="delivery_not_dead")
        row = await mine.again(delivery_id)
        webhooks.wake()
        return json_reply(_shown(row, webhooks))

    @router.get("/webhook_secret", summary="The secret that an org's webhooks are signed with")
    async def secret(caller: Who, org_id: OrgId = None) -> Response:
        return json_reply({"secret": webhooks.secret((await scope.of(caller, org_id)).org_id)})

    @router.get("/jobs/{message_id}", summary="What became of a turn that is answered later")
    async def job(caller: Who, message_id: str, org_id: OrgId = None) -> Response:
        org = (await scope.of(caller, org_id)).org_id
        return json_reply(_shown_job(await OrgJobs(store.db, org).job(message_id)))

    return router


def queue_router(services: Services) -> APIRouter:
    """/v1/queues: for the applications that answers are queued for."""
    router = APIRouter(prefix=QUEUES, tags=["deliveries"])

    def deliveries(org: str) -> OrgDeliveries:
        return OrgDeliveries(services.store.db, org, services.clock.wall)

    @router.get("/{name:path}", summary="Messages that wait in a queue, oldest first; they stay until acknowledged")
    async def waiting(
        caller: ChatCaller, name: str, limit: Annotated[int, Query(ge=1, le=MAX_QUEUED)] = MAX_QUEUED
    ) -> Response:
        if name.endswith(ACKNOWLEDGE):
            raise MethodNotAllowed.of("GET", ["POST"])
        rows = await deliveries(caller.org).waiting(queue_target(name), limit + 1)
        told = [{"id": row.id, "created_at": row.created_at, "payload": msgspec.Raw(row.payload)} for row in rows]
        return page(told, limit)

    @router.post("/{name:path}" + ACKNOWLEDGE, summary="Take messages out of a queue; twice is as good as once")
    async def ack(caller: ChatCaller, name: str, body: Acknowledged) -> Response:
        gone = await deliveries(caller.org).taken(queue_target(name), body.ids)
        unknown = [id for id in dict.fromkeys(body.ids) if id not in gone]
        return json_reply({"acknowledged": gone, "unknown": unknown})

    return router


def _shown(row: DeliveryRow, webhooks: Webhooks) -> dict[str, Any]:
    target = _shown_webhook(webhooks.opened(row)) if row.kind == KIND else msgspec.Raw(row.target)
    return {
        "id": row.id,
        "kind": row.kind,
        "status": row.status,
        "target": target,
        "tries": row.tries,
        "next_try_at": row.available_at if row.kind == KIND and row.status == "waiting" else None,
        "last_error": row.last_error,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }


def _shown_webhook(target: Webhook | None) -> dict[str, Any] | None:
    """Where to, without what may be a credential: header values, the secret, whatever is in the address beside its
    host and path. None: it was sealed with another key of the server; of the address: it is none."""
    if target is None:
        return None
    try:
        parts = urlsplit(target.url)
        plain = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?..." if parts.query else "")
    except ValueError:
        plain = None
    return {"url": plain, "headers": sorted(target.headers), "own_secret": bool(target.secret)}


def _shown_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "batch_id": job.batch_id,
        "run_id": job.run_id,
        "status": job.status,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
        "tries": job.tries,
        "result": None if job.result is None else msgspec.Raw(job.result),
    }
