"""Test cases of agents under /v1/admin/agents: what a version should answer, how it did, versions side by side."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import Field

from ..core.agents import AgentAsk
from ..core.errors import BadRequest, MidstreamError
from ..core.ids import new_id, spelled
from ..core.toolbox import ToolScope
from ..core.web import Caller
from ..store.cases import CaseRow, Cases
from ..store.orgs import OrgStore
from .admin_fields import Body, Chosen, JsonObject, ModelChoice, Text
from .admin_scope import OrgId, Scope, check_model
from .nouns import Who, json_reply
from .scoring import Scorer, Tried, is_json
from .services import Services

#: Cases that are tried at once.
AT_ONCE = 4


class NewCase(Body):
    """match: how the answer is compared with what was expected. json: as values, whatever the order of members.
    cosine: by meaning. judge: by a model's word. by: the model that embeds or judges. rubric: what it judges by."""

    input: Annotated[Text, Field(min_length=1)]
    expected: Text
    match: Literal["exact", "contains", "json", "cosine", "judge"] = "exact"
    variables: JsonObject = Field(default_factory=dict)
    by: ModelChoice | None = None
    rubric: Text = ""


def cases_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin/agents/{agent_id}", tags=["agents"])
    scorer = Scorer(services.models, services.runs)

    @router.post("/test_cases", status_code=201, summary="Say what an agent should answer")
    async def add(caller: Who, agent_id: str, new: NewCase, org_id: OrgId = None) -> Response:
        at = await _found(services, caller, agent_id, org_id)
        await _check(services, at, new)
        return json_reply(_shown(await at.cases.add(msgspec.json.encode(new.model_dump()))), 201)

    @router.get("/test_cases", summary="An agent's test cases, oldest first")
    async def listing(caller: Who, agent_id: str, org_id: OrgId = None) -> Response:
        cases = (await _found(services, caller, agent_id, org_id)).cases
        return json_reply({"data": [_shown(row) for row in await cases.all()]})

    @router.delete("/test_cases/{id}", summary="Delete a test case")
    async def delete(caller: Who, agent_id: str, id: str, org_id: OrgId = None) -> Response:
        await (await _found(services, caller, agent_id, org_id)).cases.delete(id)
        return json_reply({"id": id, "deleted": True})

    @router.post("/test_runs", status_code=201, summary="Try a version with every test case")
    async def run(caller: Who, agent_id: str, chosen: Chosen, http: HttpRequest, org_id: OrgId = None) -> Response:
        at = await _found(services, caller, agent_id, org_id)
        version = await at.version(chosen.version_id)
        loaded = await services.loader.load(at.org.org_id, AgentAsk(agent=at.agent, version=version))
        embedding = (await at.org.nouns.settings()).get("embedding")
        tried_by = Tried(loaded, caller.key_id, http.scope["state"]["request_id"], embedding)
        room = asyncio.Semaphore(AT_ONCE)

        async def tried(case: CaseRow) -> tuple[str, float, dict[str, Any]]:
            async with room:
                return case.id, *await _tried(services, scorer, tried_by, case.value())

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
        at = await _found(services, caller, agent_id, org_id)
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

    def __init__(self, services: Services, org: OrgStore, agent: str) -> None:
        self.org = org
        self.agent = agent
        self.cases = Cases(services.store.db, org.org_id, agent, services.clock.wall)

    async def version(self, id: str) -> str:
        """Raises errors.NotFound."""
        return (await self.org.agents.version(self.agent, spelled("ver_", id.strip()))).id


async def _found(services: Services, caller: Caller, agent_id: str, org_id: str | None) -> _At:
    """By any spelling of the agent's id, or by its slug. Raises errors.NotFound."""
    org, agent = await Scope(services).agent(caller, agent_id, org_id)
    return _At(services, org, agent.id)


async def _check(services: Services, at: _At, new: NewCase) -> None:
    """Raises BadRequest for a case that could never be scored."""
    if new.match == "json" and not is_json(new.expected):
        raise BadRequest("expected: is no JSON", param="expected")
    if new.by is not None and new.match not in ("cosine", "judge"):
        raise BadRequest(f"by: {new.match} asks no model", param="by")
    if new.rubric and new.match != "judge":
        raise BadRequest(f"rubric: {new.match} asks no judge", param="rubric")
    if new.match == "judge" and not new.rubric.strip() and not new.expected.strip():
        raise BadRequest("rubric: say what a good answer is, here or in expected", param="rubric")
    by = new.by.model_dump() if new.by is not None else None
    if new.match == "cosine":
        if not new.expected.strip():
            raise BadRequest("expected: a text is needed", param="expected")
        if by is None and (by := (await at.org.nouns.settings()).get("embedding")) is None:
            raise BadRequest(
                "by: say which model embeds, here or as `embedding` of the organization's settings", param="by"
            )
    if by is not None:
        await check_model(services, at.org.org_id, by, "by")


async def _tried(
    services: Services, scorer: Scorer, tried: Tried, case: dict[str, Any]
) -> tuple[float, dict[str, Any]]:
    """The score and what came of it. What fails, the turn or the one who judges it, scores nothing."""
    loaded, answer = tried.loaded, ""
    scope = ToolScope(org=loaded.org, key=tried.key, variables=case["variables"], playground=True)
    try:
        agent = f"{loaded.id}@{loaded.version_id}"
        answer = (await services.agents(agent, case["input"], scope)).text
        score = await scorer.score(tried, case, answer)
    except MidstreamError as error:
        return 0.0, {"answer": answer, "error": {"code": error.code, "message": error.message}}
    reason = {"reason": score.reason} if score.reason else {}
    return score.value, {"answer": answer, "error": None, **reason}


def _mean(scores: list[float]) -> float | None:
    return round(sum(scores) / len(scores), 4) if scores else None


def _shown(row: CaseRow) -> dict[str, Any]:
    return {"id": row.id, "agent_id": row.agent_id, **row.value(), "created_at": row.created_at}
