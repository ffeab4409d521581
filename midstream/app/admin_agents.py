"""Agents and their versions under /v1/admin/agents."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from ..agent.prepare import model_of
from ..core.agents import Spec
from ..core.errors import CallerError, Conflict, NotFound
from ..core.ids import new_id, spelled
from ..core.web import Caller
from ..store.agents import AgentRow, VersionRow
from ..store.orgs import OrgStore
from .admin_fields import AgentChange, Chosen, Copy, NewAgent, NewVersion, VersionFields
from .admin_scope import After, Limit, OrgId, Scope
from .agent_files import AgentFile, differences, read, written
from .agent_specs import resolved, shown_agent, shown_version, slug_of, spec_from, spec_of
from .nouns import Who, json_reply, page
from .services import Services


def agents_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin/agents", tags=["agents"])
    agents = _Agents(services)
    _add_making(router, agents)
    _add_agents(router, agents)
    _add_versions(router, agents)
    _add_publishing(router, agents)
    return router


class _Agents:
    """What the routes have in common."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.scope = Scope(services)

    async def key_hint(self, org: OrgStore, spec: Spec) -> str | None:
        """Of the org's key that a turn sends; None where it sends none of the org's, or is refused."""
        model = model_of(spec.configuration)
        try:
            named = model if isinstance(model, str) else ""  # publishing tells it
            key = self.services.models.key_of(org.org_id, spec.service, named, spec.keys)
            return None if key is None else str((await org.nouns.get("service_key", key)).value()["hint"])
        except CallerError:
            return None

    def changed(self, org: OrgStore) -> None:
        self.services.loader.forget(org.org_id)

    async def create(self, org: OrgStore, name: str, slug: str | None, spec: Spec) -> Response:
        body = msgspec.json.encode(spec)
        try:
            row, version = await org.agents.create(name, slug or slug_of(name), body)
        except Conflict:
            if slug is not None:
                raise
            row, version = await org.agents.create(name, f"{slug_of(name)}-{new_id('')[-6:]}", body)
        self.changed(org)
        return json_reply(shown_agent(row, version), 201)

    async def chosen(self, org: OrgStore, agent: AgentRow, version_id: str | None) -> VersionRow:
        """The named version, else the published one, else the newest. Raises errors.NotFound."""
        version = await self.there(org, agent, version_id)
        if version is None:
            why = f"the agent {agent.id} has no version: draft one with POST .../versions"
            raise NotFound(why, code="version_not_found")
        return version

    async def there(self, org: OrgStore, agent: AgentRow, version_id: str | None) -> VersionRow | None:
        """The same; None when none is named and its only draft was discarded."""
        if version_id is None and agent.published_id is None:
            return next(iter(await org.agents.versions(agent.id, limit=1)), None)
        return await org.agents.version(agent.id, spelled("ver_", version_id or agent.published_id or ""))


def _add_making(router: APIRouter, agents: _Agents) -> None:
    @router.post("", status_code=201, summary="Make an agent, with a first draft")
    async def create(caller: Who, new: NewAgent) -> Response:
        org = await agents.scope.of(caller, new.org_id)
        return await agents.create(org, new.name, new.slug, spec_from(Spec(), new.given()))

    @router.post("/import", status_code=201, summary="Make an agent from a file that another one was exported to")
    async def import_(caller: Who, file: AgentFile) -> Response:
        org = await agents.scope.of(caller, file.org_id)
        await agents.services.loader.ready(org.org_id)
        try:
            row, version, ids, missing = await read(org, file, agents.services.checks)
        finally:
            agents.changed(org)
        return json_reply({**shown_agent(row, version), "tools": ids, "missing": missing}, 201)

    @router.post("/{agent_id}/duplicate", status_code=201, summary="Make an agent that is a copy of this one")
    async def duplicate(caller: Who, agent_id: str, new: Copy, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        spec = spec_of(await agents.chosen(org, agent, new.version_id))
        return await agents.create(org, new.name or f"{agent.name[:190]} (copy)", new.slug, spec)

    @router.get("/{agent_id}/export", summary="The agent as one file, with its tools and without secrets")
    async def export(caller: Who, agent_id: str, version_id: OrgId = None, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        version = await agents.chosen(org, agent, version_id)
        spec = spec_of(version)
        tools = await org.tools.some(dict.fromkeys((*spec.tool_ids, *(one.tool_id for one in spec.pre_tools))))
        keys = {row.id: row for row in (await org.nouns.all())["service_key"]}
        return json_reply(written(agent, version, tools, keys))


def _add_agents(router: APIRouter, agents: _Agents) -> None:
    @router.get("", summary="An org's agents, newest first")
    async def listing(caller: Who, org_id: OrgId = None, after: After = None, limit: Limit = 100) -> Response:
        rows = await (await agents.scope.of(caller, org_id)).agents.page(after=after, limit=limit + 1)
        return page([shown_agent(row) for row in rows], limit)

    @router.get("/{agent_id}", summary="One agent, as it is published; before that, as it was drafted last")
    async def get(caller: Who, agent_id: str, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        return json_reply(shown_agent(agent, await agents.there(org, agent, None)))

    @router.patch("/{agent_id}", summary="Change an agent's name or slug")
    async def change(caller: Who, agent_id: str, new: AgentChange, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        agent = await org.agents.change(agent.id, name=new.name, slug=new.slug)
        agents.changed(org)
        return json_reply(shown_agent(agent))

    @router.delete("/{agent_id}", summary="Delete an agent")
    async def delete(caller: Who, agent_id: str, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        await org.agents.delete(agent.id)
        agents.changed(org)
        return json_reply({"id": agent.id, "deleted": True})

    @router.post("/{agent_id}/pause", summary="Refuse turns of this agent")
    async def pause(caller: Who, agent_id: str, org_id: OrgId = None) -> Response:
        return await set_status(caller, agent_id, org_id, "paused")

    @router.post("/{agent_id}/resume", summary="Take turns of this agent again")
    async def resume(caller: Who, agent_id: str, org_id: OrgId = None) -> Response:
        return await set_status(caller, agent_id, org_id, "active")

    async def set_status(caller: Caller, agent_id: str, org_id: str | None, status: str) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        agent = await org.agents.change(agent.id, status=status)
        agents.changed(org)
        return json_reply(shown_agent(agent))


def _add_versions(router: APIRouter, agents: _Agents) -> None:
    path = "/{agent_id}/versions"

    @router.post(path, status_code=201, summary="Draft a new version")
    async def draft(caller: Who, agent_id: str, new: NewVersion, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        old = await agents.there(org, agent, new.from_version)
        spec = spec_from(Spec() if old is None else spec_of(old), new.given())
        row = await org.agents.draft(agent.id, msgspec.json.encode(spec))
        agents.changed(org)
        return json_reply(shown_version(row), 201)

    @router.get(path, summary="The versions of an agent, newest first")
    async def versions(
        caller: Who,
        agent_id: str,
        org_id: OrgId = None,
        after: Annotated[int, Query(ge=1, description="the number of the last one seen")] = 2**31,
        limit: Limit = 100,
    ) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        rows = await org.agents.versions(agent.id, before=after, limit=limit + 1)
        return page([shown_version(row) for row in rows], limit, "number")

    @router.get(path + "/{version_id}", summary="One version")
    async def version(caller: Who, agent_id: str, version_id: str, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        return json_reply(shown_version(await agents.chosen(org, agent, version_id)))

    @router.patch(path + "/{version_id}", summary="Change a draft")
    async def change(caller: Who, agent_id: str, version_id: str, new: VersionFields, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        row = await agents.chosen(org, agent, version_id)
        row = await org.agents.change_draft(row, msgspec.json.encode(spec_from(spec_of(row), new.given())))
        agents.changed(org)
        return json_reply(shown_version(row))

    @router.delete(path + "/{version_id}", summary="Discard a version that is not published")
    @router.post(path + "/{version_id}/discard", summary="Discard a version that is not published")
    async def discard(caller: Who, agent_id: str, version_id: str, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        id = spelled("ver_", version_id)
        await org.agents.discard(agent.id, id)
        agents.changed(org)
        return json_reply({"id": id, "discarded": True, "deleted": True})


def _add_publishing(router: APIRouter, agents: _Agents) -> None:
    services = agents.services

    @router.post("/{agent_id}/publish", summary="Let a version answer from now on")
    async def publish(caller: Who, agent_id: str, new: Chosen, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        row = await agents.chosen(org, agent, new.version_id)
        await services.loader.ready(org.org_id)
        problems = await services.checks.problems(org, agent, spec_of(row))
        if problems:
            said = [{"path": one.path, "message": one.message} for one in problems]
            message = f"the version cannot be published: {said[0]['path']}: {said[0]['message']}"
            more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
            error = {"code": "version_invalid", "message": message + more, "param": said[0]["path"], "problems": said}
            return json_reply({"error": error, "problems": said}, 400)
        agent = await org.agents.publish(row)
        agents.changed(org)
        return json_reply(shown_agent(agent))

    @router.get("/{agent_id}/compare", summary="What differs between two versions")
    async def compare(
        caller: Who,
        agent_id: str,
        one: Annotated[str, Query(alias="from")],
        other: Annotated[str, Query(alias="to")],
        org_id: OrgId = None,
    ) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        first, second = [await agents.chosen(org, agent, id) for id in (one, other)]
        changes = differences(*(msgspec.json.decode(row.body) for row in (first, second)))
        return json_reply({"agent_id": agent.id, "from": first.id, "to": second.id, "changes": changes})

    @router.get("/{agent_id}/resolved", summary="What a turn of this agent is made from")
    async def resolve(caller: Who, agent_id: str, version_id: OrgId = None, org_id: OrgId = None) -> Response:
        org, agent = await agents.scope.agent(caller, agent_id, org_id)
        version = await agents.chosen(org, agent, version_id)
        loaded = await services.loader.resolved(org.org_id, agent, version)
        documents = await org.agents.documents(loaded.spec.doc_ids)
        has = await services.agents.tools(loaded)
        return json_reply(resolved(loaded, has, documents, await agents.key_hint(org, loaded.spec)))
