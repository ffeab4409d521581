"""Test cases of agents under /v1/admin/agents: what a version should answer, how it did, versions side by side."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from ..core.errors import BadRequest, Conflict, MidstreamError
from ..core.ids import new_id, spelled
from ..core.toolbox import ToolScope
from ..core.web import Caller
from ..store.cases import MOST, CaseRow, Cases
from .admin_fields import Body, Chosen, JsonObject, Text
from .admin_scope import OrgId, Scope
from .nouns import Who, json_reply
from .services import Services

#: Cases that are tried at once.
AT_ONCE = 4


class NewCase(Body):
    """match: how the answer is compared with what was expected. json: as values, whatever the order of members."""

    input: Annotated[Text, Field(min_length=1)]
    expected: Text
    match: Literal["exact", "contains", "json"] = "exact"
    variables: JsonObject = Field(default_factory=dict)


def cases_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin/agents/{agent_id}", tags=["agents"])
    found = _Found(services)

    @router.post("/test_cases", status_code=201, summary="Say what an agent should answer")
    async def add(caller: Who, agent_id: str, new: NewCase, org_id: OrgId = None) -> Response:
        cases = (await found.at(caller, agent_id, org_id)).cases
        if new.match == "json" and _value(new.expected) is _NOTHING:
            raise BadRequest("expected: is no JSON", param="expected")
        if len(await cases.all()) >= MOST:
            raise Conflict(f"an agent has at most {MOST} test cases", code="too_many")
        return json_reply(_shown(await cases.add(msgspec.json.encode(new.model_dump()))), 201)

    @router.get("/test_cases", summary="An agent's test cases, oldest first")
    async def listing(caller: Who, agent_id: str, org_id: OrgId = None) -> Response:
        cases = (await found.at(caller, agent_id, org_id)).cases
        return json_reply({"data": [_shown(row) for row in await cases.all()]})

    @router.delete("/test_cases/{id}", summary="Delete a test case")
    async def delete(caller: Who, agent_id: str, id: str, org_id: OrgId = None) -> Response:
        await (await found.at(caller, agent_id, org_id)).cases.delete(id)
        return json_reply({"id": id, "deleted": True})

    @router.post("/test_runs", status_code=201, summary="Try a version with every test case")
    async def run(caller: Who, agent_id: str, chosen: Chosen, org_id: OrgId = None) -> Response:
        at = await found.at(caller, agent_id, org_id)
        version = await at.version(chosen.version_id)
        room = asyncio.Semaphore(AT_ONCE)

        async def tried(case: CaseRow) -> tuple[str, float, dict[str, Any]]:
            async with room:
                return case.id, *await _tried(services, caller, at, version, case.value())

        scores = await asyncio.gather(*map(tried, await at.cases.all()))
        batch = new_id("trun_")
        await at.cases.scored(version, batch, [(id, score, msgspec.json.encode(body)) for id, score, body in scores])
        data = [{"case_id": id, "score": score, **body} for id, score, body in scores]
        return json_reply(
            {"id": batch, "version_id": version, "mean": _mean([score for _, score, _ in scores]), "data": data}, 201
        )

    @router.get("/test_runs", summary="How versions did, side by side")
    async def compare(
        caller: Who, agent_id: str, versions: Annotated[str, Query(max_length=2000)], org_id: OrgId = None
    ) -> Response:
        at = await found.at(caller, agent_id, org_id)
        ids = [await at.version(id) for id in dict.fromkeys(versions.split(","))]
        latest = {id: await at.cases.latest(id) for id in ids}
        data = []
        for case in await at.cases.all():
            rows = {id: latest[id][case.id] for id in ids if case.id in latest[id]}
            scores = {id: {"score": row.score, **row.value(), "at": row.created_at} for id, row in rows.items()}
            data.append({**_shown(case), "versions": scores})
        means = {id: _mean([one["versions"][id]["score"] for one in data if id in one["versions"]]) for id in ids}
        return json_reply({"data": data, "mean": means})

    return router


class _At:
    """An agent of an org, and its cases."""

    def __init__(self, services: Services, org: Any, agent: str) -> None:
        self.org = org
        self.agent = agent
        self.cases = Cases(services.store.db, org.org_id, agent, services.clock.wall)

    async def version(self, id: str) -> str:
        """Raises errors.NotFound."""
        return str((await self.org.agents.version(self.agent, spelled("ver_", id.strip()))).id)


class _Found:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._scope = Scope(services)

    async def at(self, caller: Caller, agent_id: str, org_id: str | None) -> _At:
        """By any spelling of the id, or by its slug. Raises errors.NotFound."""
        org = await self._scope.of(caller, org_id)
        id = spelled("agt_", agent_id)
        agent = await org.agents.named(id, agent_id) or await org.agents.get(id)
        return _At(self._services, org, agent.id)


async def _tried(
    services: Services, caller: Caller, at: _At, version: str, case: dict[str, Any]
) -> tuple[float, dict[str, Any]]:
    """The score and what came of it. A turn that fails scores nothing."""
    scope = ToolScope(org=at.org.org_id, key=caller.key_id, playground=True)
    try:
        answer = await services.agents(f"{at.agent}@{version}", case["input"], case["variables"], scope)
    except MidstreamError as error:
        return 0.0, {"answer": "", "error": {"code": error.code, "message": error.message}}
    return float(matches(case["match"], case["expected"], answer.text)), {"answer": answer.text, "error": None}


_NOTHING = object()


def matches(how: str, expected: str, answer: str) -> bool:
    """exact: but for blanks around them. contains: whatever the case of letters."""
    if how == "contains":
        return expected.casefold() in answer.casefold()
    if how == "json":
        value = _value(answer)
        return value is not _NOTHING and bool(value == _value(expected))
    return expected.strip() == answer.strip()


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _NOTHING


def _mean(scores: list[float]) -> float | None:
    return round(sum(scores) / len(scores), 4) if scores else None


def _shown(row: CaseRow) -> dict[str, Any]:
    return {"id": row.id, "agent_id": row.agent_id, **row.value(), "created_at": row.created_at}
