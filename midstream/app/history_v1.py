"""Conversations as version 1 of our own format lists, shows and changes them: chat history, search, branches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..core.errors import BadRequest, NotFound
from ..core.ids import as_uuid, from_uuid, spelled
from ..core.outcome import Step
from ..core.parts import Media, Message, address, spoken
from ..core.web import Caller
from ..faces.conversation_v1 import DIALECT, own_id
from ..store.rows import ThreadMessage, ThreadRow, detail_in
from ..store.threads import ThreadStore
from .noun_paths import HISTORY
from .nouns import ChatCaller, json_reply, noun_app
from .services import Services

#: Conversations that are asked for by their ids at once; messages of one that are shown.
MULTIPLE, MESSAGES = 100, 1000
TITLE = 200

#: What is kept of an attachment, by the names that a request has for it.
_AS_ASKED = {"kind": "type", "mime": "mimeType", "file_id": "fileId"}

Limit = Annotated[int, Query(ge=1, le=100)]


def _one_line(title: str) -> str:
    """As a title that is made of a message's words."""
    words = " ".join(title.split())
    if not words:
        raise ValueError("must have a word")
    return words


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    title: Annotated[str, AfterValidator(_one_line)] = Field(min_length=1, max_length=TITLE, pattern=r"^[^\x00]*$")


class _Reaction(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    reaction: Literal["like", "dislike", "none"]


class _Branch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    messageId: str


def history_app(services: Services) -> FastAPI:
    routers = [_lists(services), _one(services), _branching(services)]
    return noun_app(services, DIALECT.write_error, routers)


def _lists(services: Services) -> APIRouter:
    router = APIRouter(prefix=HISTORY, tags=["conversation_v1"])

    @router.get("/chat-history")
    async def chat_history(
        caller: ChatCaller, limit: Limit = 20, after: str | None = None, agentId: str | None = None,
    ) -> Response:  # fmt: skip
        """Newest first; `after`: the last id of the page before."""
        threads = _threads(services, caller)
        agent = await _agent_named(services, caller, agentId) if agentId else ""
        rows = await threads.threads(after=_cursor("conv_", after), limit=limit + 1, agent=agent)
        return _page([shown(row) for row in rows], limit)

    @router.get("/search")
    async def search(
        caller: ChatCaller, q: Annotated[str, Query(max_length=1000)], limit: Limit = 20, after: str | None = None
    ) -> Response:
        """Messages with all words of `q`, newest first."""
        found = await _threads(services, caller).search(q, after=_cursor("msg_", after), limit=limit + 1)
        hits = [
            {
                "id": as_uuid(hit.message_id),
                "conversationId": as_uuid(hit.conversation_id),
                "title": hit.title,
                "role": hit.role,
                "snippet": hit.text,
                "createdAt": _time(hit.created_at),
            }
            for hit in found
        ]
        return _page(hits, limit)

    @router.get("/multiple")
    async def multiple(caller: ChatCaller, ids: Annotated[list[str], Query()]) -> Response:
        """Conversations by their ids, with commas between or `ids` again and again; those that are not there are left
        out."""
        named = [id for one in ids for id in one.split(",") if id]
        if len(named) > MULTIPLE:
            raise BadRequest(f"ids: at most {MULTIPLE} at once", param="ids")
        threads = _threads(services, caller)
        rows = []
        for id in dict.fromkeys(named):
            try:
                rows.append(shown(await threads.thread(own_id("conv_", id, "ids"))))
            except NotFound:
                continue
        return json_reply({"data": rows})

    return router


def _one(services: Services) -> APIRouter:
    router = APIRouter(prefix=HISTORY, tags=["conversation_v1"])

    @router.get("/{id}")
    async def one(
        caller: ChatCaller, id: str, all: bool = False, limit: Annotated[int, Query(ge=1, le=MESSAGES)] = MESSAGES,
        before: str | None = None, after: str | None = None,
    ) -> Response:  # fmt: skip
        """With its last messages; before: the last before that one; after: the first behind it; all: of every branch
        and from before a reset, too."""
        if before and after:
            raise BadRequest("before, after: one of them", param="before", code="contradictory")
        threads = _threads(services, caller)
        row = await threads.thread(_id("conv_", id))
        first, last = own_id("msg_", after, "after"), own_id("msg_", before, "before")
        page = await threads.page(row, limit, before=last, after=first, every=all)
        messages = [_message(services, one) for one in page.messages]
        ids = [one["id"] for one in (*messages[:1], *messages[-1:])] or [None]
        pages = {"hasMore": page.more, "firstId": ids[0], "lastId": ids[-1]}
        return json_reply({**shown(row), "messages": messages, **pages})

    @router.patch("/{id}")
    async def change(caller: ChatCaller, id: str, change: _Change) -> Response:
        return json_reply(shown(await _threads(services, caller).rename(_id("conv_", id), change.title)))

    @router.delete("/{id}")
    async def delete(caller: ChatCaller, id: str) -> Response:
        await _threads(services, caller).delete(_id("conv_", id))
        return json_reply({"id": id, "deleted": True})

    @router.post("/{id}/reset")
    async def reset(caller: ChatCaller, id: str) -> Response:
        """Its agent is shown nothing of what was said so far."""
        threads = _threads(services, caller)
        await threads.reset(_id("conv_", id))
        return json_reply(shown(await threads.thread(_id("conv_", id))))

    @router.delete("/{id}/messages/{messageId}")
    async def delete_message(caller: ChatCaller, id: str, messageId: str) -> Response:
        await _threads(services, caller).delete_message(_id("conv_", id), _id("msg_", messageId))
        return json_reply({"id": messageId, "deleted": True})

    @router.post("/{id}/messages/{messageId}/reaction")
    async def react(caller: ChatCaller, id: str, messageId: str, given: _Reaction) -> Response:
        reaction = None if given.reaction == "none" else given.reaction
        threads, message = _threads(services, caller), _id("msg_", messageId)
        row = await threads.thread(_id("conv_", id))
        await threads.react(row.id, message, reaction)
        if reaction == "dislike" and (agent := _answering(row, await threads.message(row.id, message))):
            await services.bell.disliked(caller.org, agent, row.thread_id or row.id, message)
        return json_reply({"id": messageId, "reaction": reaction})

    return router


def _branching(services: Services) -> APIRouter:
    router = APIRouter(prefix=HISTORY, tags=["conversation_v1"])

    @router.get("/{id}/branches")
    async def branches(caller: ChatCaller, id: str) -> Response:
        """Each by its last message."""
        threads = _threads(services, caller)
        return json_reply({"data": await _branches(threads, await threads.thread(_id("conv_", id)))})

    @router.post("/{id}/branches")
    async def switch(caller: ChatCaller, id: str, given: _Branch) -> Response:
        """Goes on with the branch on which that message stands."""
        threads = _threads(services, caller)
        row = await threads.thread(_id("conv_", id))
        await threads.switch(row, own_id("msg_", given.messageId, "messageId"))
        return json_reply({"data": await _branches(threads, await threads.thread(row.id))})

    return router


async def _branches(threads: ThreadStore, row: ThreadRow) -> list[dict[str, Any]]:
    return [
        {
            "messageId": as_uuid(one.message_id),
            "messages": one.length,
            "current": one.current,
            "createdAt": _time(one.created_at),
        }
        for one in await threads.branches(row)
    ]


def _threads(services: Services, caller: Caller) -> ThreadStore:
    return services.store.org(caller.org).threads


def _id(prefix: str, given: str) -> str:
    """An id in a path: whatever is none of ours is not here."""
    try:
        return from_uuid(prefix, given)
    except ValueError:
        raise NotFound(f"nothing has this id: {given[:100]}") from None


def _cursor(prefix: str, given: str | None) -> str | None:
    return own_id(prefix, given, "after") or None


def shown(row: ThreadRow) -> dict[str, Any]:
    return {
        "id": as_uuid(row.id),
        "title": row.title,
        "agentId": _agent(row.agent_id or ""),
        "threadId": row.thread_id,
        "subThreadId": row.sub_thread_id,
        "createdAt": _time(row.created_at),
        "updatedAt": _time(row.updated_at),
    }


def _answering(row: ThreadRow, message: ThreadMessage) -> str:
    """The agent whose answer it is, "" = nobody's: the user's own words, or a model's that was asked without an agent.
    Others than the conversation's may have gone on in it."""
    if message.role != "assistant" or message.detail is None:
        return ""
    return detail_in(message.detail).agent_id or row.agent_id or ""


def _agent(id: str) -> str | None:
    try:
        return as_uuid(id)
    except ValueError:  # imported under an id of its own kind, or none
        return id or None


def _message(services: Services, row: ThreadMessage) -> dict[str, Any]:
    detail = detail_in(row.detail)
    said: tuple[Message, ...] = services.conversations.read(row.spoken())
    told: dict[str, Any] = {
        "id": as_uuid(row.id),
        "parentId": as_uuid(row.parent_id) if row.parent_id else None,
        "role": row.role,
        "text": "".join(spoken(message.parts) for message in said),
        "reaction": row.reaction,
        "createdAt": _time(row.created_at),
    }
    pictures = [part for message in said for part in message.parts if isinstance(part, Media)]
    more = {
        "images": [address(one) for one in pictures] if row.role == "assistant" else (),
        "attachments": [
            {_AS_ASKED.get(name, name): value for name, value in one.items()} for one in detail.attachments
        ],
        "documentIds": detail.document_ids,
        "toolCalls": tuple(_step(step) for step in detail.tools_data),
        "model": detail.model,
        "finishReason": detail.finish_reason,
        "usage": _usage(detail.usage),
        "cost": detail.cost,
        "error": detail.error,
        "blocked": detail.blocked,
    }
    return told | {name: value for name, value in more.items() if value}


def _step(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "name": step.name,
        "arguments": step.arguments,
        "status": step.status,
        "result": step.result or step.error,
        "durationMs": step.ms,
    }


def _usage(usage: dict[str, int]) -> dict[str, int]:
    """Counts under this format's names: input_tokens -> inputTokens."""
    return {name.replace("_tokens", "Tokens"): count for name, count in usage.items()}


async def _agent_named(services: Services, caller: Caller, name: str) -> str:
    """The id of an agent by any of its names; also of one that is gone, whose conversations are still there."""
    id = spelled("agt_", name)
    found = await services.store.org(caller.org).agents.named(id, name)
    return found.id if found is not None else id


def _page(data: list[dict[str, Any]], limit: int) -> Response:
    """data: one more than `limit` when there are more."""
    page = data[:limit]
    last = page[-1]["id"] if page else None
    return json_reply({"data": page, "hasMore": len(data) > limit, "lastId": last})


def _time(seconds: float) -> str:
    """ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
