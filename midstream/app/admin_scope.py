"""Whose things an admin route is about, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query

from ..access.identify import OPERATOR
from ..core.errors import BadRequest, CallerError
from ..core.ids import spelled
from ..core.web import Caller
from ..store.agents import AgentRow
from ..store.orgs import DEFAULT_ORG, OrgStore
from ..store.reading import missing
from .services import Services

Limit = Annotated[int, Query(ge=1, le=1000)]
OrgId = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
After = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


def org_of(caller: Caller, org_id: str | None) -> str:
    """The operator may name any org, an org's own admin key its own. Raises errors.NotFound, and BadRequest for an
    empty name: who writes `$ORG` and has none does not mean the first org."""
    if org_id == "":
        raise BadRequest("org_id: String should have at least 1 character", param="org_id")
    if caller.key_id == OPERATOR:
        return DEFAULT_ORG if org_id is None else org_id
    if org_id not in (None, caller.org):
        raise missing("org", str(org_id))
    return caller.org


class Scope:
    """One request's org."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def of(self, caller: Caller, org_id: str | None) -> OrgStore:
        """As `org_of`; also raises errors.NotFound when the operator names an org that does not exist."""
        org = org_of(caller, org_id)
        if org_id is not None and caller.key_id == OPERATOR:
            await self._services.store.all_orgs().org(org_id)
        return self._services.store.org(org)

    async def agent(self, caller: Caller, agent_id: str, org_id: str | None) -> tuple[OrgStore, AgentRow]:
        """The org and its agent of any spelling of the id, or of the slug. Raises errors.NotFound."""
        org = await self.of(caller, org_id)
        id = spelled("agt_", agent_id)
        return org, await org.agents.named(id, agent_id) or await org.agents.get(id)


def hidden(text: str) -> str:
    """A secret to recognise it by: its last four characters, none of a short one."""
    return f"...{text[-4:]}" if len(text) > 7 else "..."


async def check_model(services: Services, org: str, chosen: Mapping[str, str], param: str) -> None:
    """chosen: {service, model} that an org names for later. Raises BadRequest when it may not use it."""
    await services.loader.ready(org)
    try:
        services.models.targets(org, chosen.get("service", ""), chosen["model"], {}, None)
    except CallerError as error:
        if error.code != "key_missing":  # one may come
            raise BadRequest(f"{param}: {error.message}", param=param, code=error.code) from None
