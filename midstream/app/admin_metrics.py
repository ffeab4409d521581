"""What agents' turns came to, of their model calls, and of what agents remember."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from ..access.identify import OPERATOR
from ..core.errors import BadRequest, NotFound
from ..core.ids import spelled
from ..core.web import Caller
from ..store.memories import Memories
from ..store.metrics import Metrics, MetricsGroup, MetricsRow, Order, Period, Span, TurnRow
from ..store.orgs import DEFAULT_ORG
from ..store.reading import LAST
from .admin_keys import WORDS
from .admin_scope import org_of
from .nouns import Reader, Who, json_reply, page
from .services import Services

MAX_PAGE, RAW_PAGE = 1000, 100
#: Of one memory, in characters.
MAX_MEMORY = 8_000
Bucket: TypeAlias = Literal["none", "5min", "day", "raw"]
_SPANS: dict[Bucket, Span | None] = {"none": None, "5min": 300, "day": 86400}
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Since = Annotated[float, Query(alias="from", ge=0, le=1e12, description="unix seconds")]
Until = Annotated[float | None, Query(alias="to", ge=0, le=1e12, description="unix seconds")]


class NewMemory(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    thread_id: str = Field(min_length=1, max_length=512, pattern=WORDS)
    text: str = Field(min_length=1, max_length=MAX_MEMORY, pattern=WORDS)


def metrics_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin")
    _add_metrics(router, services)
    _add_memories(router, services)
    return router


def _add_metrics(router: APIRouter, services: Services) -> None:
    def reader(caller: Caller) -> Metrics:
        """The operator sees every org; an org's own admin key sees that org."""
        return services.store.metrics(None if caller.key_id == OPERATOR else caller.org)

    async def period(caller: Caller, since: float, until: float | None, agent: str) -> Period:
        """agent: by any of its names, "" = all; its id also when it is gone. Raises NotFound."""
        id = spelled("agt_", agent)
        if agent and not id.startswith("agt_"):
            org = DEFAULT_ORG if caller.key_id == OPERATOR else caller.org
            found = await services.store.org(org).agents.named(id, agent)
            if found is None:
                raise NotFound(f"no such agent: {agent}", code="agent_not_found", param="agent_id")
            id = found.id
        return Period(since, float(LAST) if until is None else until, id)

    @router.get("/metrics", tags=["accounts"], summary="Agents' turns, summed by group and time bucket")
    async def metrics(
        caller: Reader,
        group_by: MetricsGroup = "agent",
        bucket: Bucket = "none",
        since: Since = 0.0,
        until: Until = None,
        agent_id: str = "",
        order: Order | None = None,
        after: str | None = None,
        limit: Limit | None = None,
    ) -> Response:
        """bucket raw: one row a turn, oldest first by `order` ("begun"), paged by `after` and `limit` (100); group_by
        says nothing then."""
        asked = await period(caller, since, until, agent_id)
        if bucket == "raw":
            limit = limit or RAW_PAGE
            turns = await reader(caller).turns(asked, order=order or "begun", after=after, limit=limit + 1)
            return page([_turn(row) for row in turns], limit)
        for name, given in (("order", order), ("after", after), ("limit", limit)):
            if given is not None:
                raise BadRequest(f"{name}: sums are not paged, only turns are (bucket=raw)", param=name)
        rows = await reader(caller).sums(group_by, _SPANS[bucket], asked)
        return json_reply({"data": [_sum(row) for row in rows]})

    @router.get("/transactions", tags=["accounts"], summary="Agents' model calls, oldest first")
    async def transactions(
        caller: Reader,
        since: Since = 0.0,
        until: Until = None,
        agent_id: str = "",
        order: Order = "begun",
        after: str | None = None,
        limit: Limit = 100,
    ) -> Response:
        asked = await period(caller, since, until, agent_id)
        rows = await reader(caller).transactions(asked, order=order, after=after, limit=limit + 1)
        return page([msgspec.structs.asdict(row) for row in rows], limit)


def _add_memories(router: APIRouter, services: Services) -> None:
    async def found(caller: Caller, agent_id: str, org_id: str | None) -> tuple[Memories, str]:
        """The memories of the caller's org, and the agent's id by any spelling of it. Raises errors.NotFound."""
        org = org_of(caller, org_id)
        agents = services.store.org(org).agents
        agent = await agents.named(spelled("agt_", agent_id), agent_id) or await agents.get(agent_id)
        return services.store.memories(org), agent.id

    @router.get("/agents/{agent_id}/memories", tags=["agents"], summary="What an agent remembers of its threads")
    async def memories(
        caller: Who, agent_id: str, org_id: str | None = None, after: str = "", limit: Limit = 100
    ) -> Response:
        kept, agent = await found(caller, agent_id, org_id)
        rows = await kept.page(agent, after=after, limit=limit + 1)
        return page([msgspec.structs.asdict(row) for row in rows], limit, "thread_id")

    @router.put("/agents/{agent_id}/memories", tags=["agents"], summary="Put what an agent remembers of a thread")
    async def put(caller: Who, agent_id: str, new: NewMemory, org_id: str | None = None) -> Response:
        kept, agent = await found(caller, agent_id, org_id)
        return json_reply(msgspec.structs.asdict(await kept.put(agent, new.thread_id, new.text)))

    @router.delete("/agents/{agent_id}/memories", tags=["agents"], summary="Forget a thread, or all of them")
    async def forget(
        caller: Who, agent_id: str, thread_id: Annotated[str | None, Query(min_length=1)] = None,
        org_id: str | None = None,
    ) -> Response:  # fmt: skip
        kept, agent = await found(caller, agent_id, org_id)
        if thread_id is None:
            await kept.forget_all(agent)
        else:
            await kept.forget(agent, thread_id)
        return json_reply({"agent_id": agent, "thread_id": thread_id, "deleted": True})


def _sum(row: MetricsRow) -> dict[str, Any]:
    shown = msgspec.structs.asdict(row)
    return {
        **shown,
        "total_tokens": row.input_tokens + row.output_tokens,
        "latency_ms_mean": round(row.latency_ms / row.turns, 1) if row.turns else 0,
    }


def _turn(row: TurnRow) -> dict[str, Any]:
    shown = msgspec.structs.asdict(row)
    detail = msgspec.json.decode(shown.pop("detail"))
    del shown["cost_nano"]
    return {**shown, **detail}
