"""Batches of our own format, version 2: many turns of one agent asked at once, worked off beside the requests."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..core.agents import Loaded
from ..core.errors import BadRequest
from ..core.http import HEADER_NAME, HEADER_VALUE
from ..core.ids import new_id
from ..core.turn import Turn
from ..core.web import Caller, Request
from ..delivery.webhook import WRITTEN, Webhook
from ..faces import completion_v2
from ..store.batches import Batch, added
from ..store.jobs import Job
from .admin_keys import WORDS
from .batch_ends import BatchAsked, BatchEnds
from .deliver import is_web
from .noun_paths import BATCHES
from .nouns import ChatCaller, json_reply
from .serve import MAX_BODY
from .services import Services
from .threads import conversation_of

MAX_ITEMS, MAX_TEXT = 1000, MAX_BODY
#: Where one turn of a batch would have been asked alone.
ALONE = "/api/v2/model/chat/completion"
#: Turns that are read before others on this server have a go.
AT_A_TIME = 32
Word = Annotated[str, Field(max_length=200, pattern=WORDS)]
HeaderName = Annotated[str, Field(pattern=f"^{HEADER_NAME}$")]
HeaderValue = Annotated[str, Field(max_length=4096, pattern=f"^{HEADER_VALUE}$")]


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    user: str = Field(max_length=MAX_TEXT)
    variables: dict[str, Any] | None = None


def _item(value: Any) -> Any:
    """A text alone is a message."""
    if isinstance(value, str):
        return {"user": value}
    if not isinstance(value, dict):
        raise ValueError("must be text, or an object with user and variables")
    return value


class Hook(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    url: str = Field(max_length=4096, pattern=WORDS)
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


class NewBatch(BaseModel):
    """What stands beside the batch is said of each of its turns."""

    model_config = ConfigDict(extra="forbid", strict=True)
    agent_id: Word | None = None
    bridge_id: Word | None = None
    version_id: Word | None = None
    batch: list[Annotated[Item, BeforeValidator(_item, json_schema_input_type=str | Item)]] = Field(
        min_length=1, max_length=MAX_ITEMS
    )
    variables: dict[str, Any] = Field(default_factory=dict)
    configuration: dict[str, Any] | None = None
    service: Word | None = None
    model: Word | None = None
    apikey: str | None = Field(None, max_length=4096)
    webhook: Hook | None = None


def batch_router(services: Services, ends: BatchEnds) -> APIRouter:
    router = APIRouter(prefix=BATCHES, tags=["batches"])

    @router.post("/chat/completion", summary="Ask an agent many things at once; at most 1,000")
    async def ask(caller: ChatCaller, new: NewBatch, http: HttpRequest) -> Response:
        services.limits.enter(caller, "chat")  # as one request: its turns wait for their agent's points
        try:
            return await accepted(caller, new, http)
        finally:
            services.limits.leave(caller)

    async def accepted(caller: Caller, new: NewBatch, http: HttpRequest) -> Response:
        webhook = _webhook(new.webhook)
        id = new_id("batch_")
        jobs = await _jobs(services, caller, new, id, http)
        messages = tuple(job.id for job in jobs)
        body = ends.sealed(BatchAsked(messages, webhook), caller.org, id)
        await services.jobs.add(jobs, [added(Batch(id, caller.org, body, services.clock.wall()))])
        told = [{"message_id": message, "index": index} for index, message in enumerate(messages)]
        return json_reply({"success": True, "batch_id": id, "messages": told})

    @router.get("/{batch_id}", summary="How a batch stands, and what its turns have come to")
    async def get(caller: ChatCaller, batch_id: str) -> Response:
        return json_reply(await ends.told(caller.org, batch_id))

    return router


def _webhook(hook: Hook | None) -> Webhook | None:
    if hook is None:
        return None
    if not is_web(hook.url):
        raise BadRequest("webhook.url: must be an http or https address", param="webhook.url")
    for name in hook.headers:
        if name.lower() in WRITTEN:
            path = f"webhook.headers.{name}"
            raise BadRequest(f"{path}: is written by the server itself", param=path)
    return Webhook(hook.url, hook.headers)


async def _jobs(services: Services, caller: Caller, new: NewBatch, id: str, http: HttpRequest) -> list[Job]:
    """One for each turn, all of them readable. The first one's point is spent now: who has none left is told so. The
    others' are spent as they begin."""
    face = services.faces[completion_v2.NAME]
    jobs: list[Job] = []
    loaded: Loaded | None = None
    headers, request_id = dict(http.headers), http.scope["state"]["request_id"]
    for index, item in enumerate(new.batch):
        request = Request("POST", ALONE, {}, headers, {}, request_id, msgspec.json.encode(_asked(new, item)))
        turn = _read(index, request)
        message = new_id("msg_")
        line = conversation_of(message)
        if loaded is None:
            loaded = await services.agents.admit(caller, turn, line)
        channel = await services.agents.channel(caller, turn, loaded, line)
        job = services.jobs.job(
            message, caller, face, "chat", request, kind="batch", channel=channel, batch=id, paid=not jobs
        )
        jobs.append(job)
        if index % AT_A_TIME == 0:
            await asyncio.sleep(0)
    return jobs


def _asked(new: NewBatch, one: Item) -> dict[str, Any]:
    """The request that this turn would have been alone."""
    said = {
        "agent_id": new.agent_id,
        "bridge_id": new.bridge_id,
        "version_id": new.version_id,
        "configuration": new.configuration,
        "service": new.service,
        "model": new.model,
        "apikey": new.apikey,
    }
    variables = {**new.variables, **(one.variables or {})}
    return {"user": one.user, "variables": variables} | {name: value for name, value in said.items() if value}


def _read(index: int, request: Request) -> Turn:
    try:
        return completion_v2.read("chat", request)
    except BadRequest as error:
        if (error.param or "").partition(".")[0] not in Item.model_fields:
            raise
        path = f"batch.{index}."
        raise BadRequest(f"{path}{error.message}", param=f"{path}{error.param}", code=error.code) from None
