"""Templates, keys of services, MCP servers, models, secrets and settings of an org, under /v1/admin. A secret that was
given is never shown again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response

from ..core.errors import BadRequest, Conflict
from ..core.ids import spelled
from ..egress.targets import same_origin
from ..store.nouns import KINDS, NounRow
from ..store.orgs import OrgStore
from ..store.reading import missing
from .admin_fields import (
    AlertFields,
    Body,
    KeyFields,
    ModelFields,
    NewAlert,
    NewKey,
    NewModel,
    NewSecret,
    NewServer,
    NewTemplate,
    ServerFields,
    SettingsChange,
    TemplateFields,
)
from .admin_scope import After, Limit, OrgId, Scope, check_model, hidden
from .model_checks import check as check_model_document
from .models_of import OwnModel, own_model
from .nouns import Who, json_reply, page
from .services import Services

Kind = Literal["template", "service_key", "mcp_server", "model", "alert"]
#: Path of each kind.
PATHS: dict[Kind, str] = {
    "template": "/templates",
    "service_key": "/service_keys",
    "mcp_server": "/mcp_servers",
    "model": "/models",
    "alert": "/alerts",
}
#: How often a model is looked at anew when another server was quicker.
TRIES = 5
#: The field that is sealed.
SECRET: dict[Kind, str] = {"service_key": "key", "mcp_server": "headers", "alert": "headers"}

#: Secrets of these names are part of a noun, and go with it.
_OF_NOUNS = tuple(KINDS.values())


def nouns_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin", tags=["agents"])
    kept = _Kept(services)

    @router.post(PATHS["template"], status_code=201, summary="Make a template of system messages")
    async def create_template(caller: Who, new: NewTemplate) -> Response:
        return await kept.create(caller, "template", new)

    @router.patch(PATHS["template"] + "/{id}", summary="Change a template")
    async def change_template(caller: Who, id: str, new: TemplateFields, org_id: OrgId = None) -> Response:
        return await kept.change(caller, "template", id, new, org_id)

    @router.post(PATHS["service_key"], status_code=201, summary="Store a key of a service; it is not shown again")
    async def create_key(caller: Who, new: NewKey) -> Response:
        return await kept.create(caller, "service_key", new)

    @router.patch(PATHS["service_key"] + "/{id}", summary="Change a key of a service")
    async def change_key(caller: Who, id: str, new: KeyFields, org_id: OrgId = None) -> Response:
        return await kept.change(caller, "service_key", id, new, org_id)

    @router.post(PATHS["mcp_server"], status_code=201, summary="Add an MCP server; its headers are not shown again")
    async def create_server(caller: Who, new: NewServer) -> Response:
        return await kept.create(caller, "mcp_server", new)

    @router.patch(PATHS["mcp_server"] + "/{id}", summary="Change an MCP server")
    async def change_server(caller: Who, id: str, new: ServerFields, org_id: OrgId = None) -> Response:
        return await kept.change(caller, "mcp_server", id, new, org_id)

    @router.post(PATHS["model"], status_code=201, summary="Describe a model, or add one of the org's own")
    async def create_model(caller: Who, new: NewModel) -> Response:
        return await kept.create(caller, "model", new)

    @router.patch(PATHS["model"] + "/{id}", summary="Change a model")
    async def change_model(caller: Who, id: str, new: ModelFields, org_id: OrgId = None) -> Response:
        return await kept.change(caller, "model", id, new, org_id)

    @router.post(PATHS["alert"], status_code=201, summary="Tell a webhook of what happens to agents")
    async def create_alert(caller: Who, new: NewAlert) -> Response:
        return await kept.create(caller, "alert", new)

    @router.patch(PATHS["alert"] + "/{id}", summary="Change an alert")
    async def change_alert(caller: Who, id: str, new: AlertFields, org_id: OrgId = None) -> Response:
        return await kept.change(caller, "alert", id, new, org_id)

    for kind in PATHS:
        _add_reading(router, kept, kind)
    _add_secrets(router, services)
    _add_settings(router, services)
    return router


def _add_reading(router: APIRouter, kept: _Kept, kind: Kind) -> None:
    path, what = PATHS[kind], kind.replace("_", " ")

    @router.get(path, summary=f"An org's {what}s, newest first", operation_id=f"list_{kind}")
    async def listing(caller: Who, org_id: OrgId = None, after: After = None, limit: Limit = 100) -> Response:
        rows = await (await kept.scope.of(caller, org_id)).nouns.page(kind, after=after, limit=limit + 1)
        return page([shown_noun(row) for row in rows], limit)

    @router.get(path + "/{id}", summary=f"One {what}", operation_id=f"get_{kind}")
    async def get(caller: Who, id: str, org_id: OrgId = None) -> Response:
        return json_reply(shown_noun(await (await kept.scope.of(caller, org_id)).nouns.get(kind, id)))

    @router.delete(path + "/{id}", summary=f"Delete a {what}", operation_id=f"delete_{kind}")
    async def delete(caller: Who, id: str, org_id: OrgId = None) -> Response:
        org = await kept.scope.of(caller, org_id)
        await org.nouns.delete(kind, id)
        await kept.changed(kind, org)
        return json_reply({"id": id, "deleted": True})


class _Kept:
    """What all kinds have in common."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.scope = Scope(services)
        self._models_in_turn = asyncio.Lock()

    async def create(self, caller: Who, kind: Kind, new: Body) -> Response:
        fields = new.given()
        org = await self.scope.of(caller, fields.pop("org_id", None))
        given, secret = self._split(kind, fields)
        body = {name: one for name, one in given.items() if one is not None}
        self._check_service(kind, body)
        if kind == "alert":
            body["agent_ids"] = await self._agents(body.get("agent_ids") or (), org)
        write = partial(org.nouns.create, kind, body["name"], msgspec.json.encode(body), secret=secret)
        row = await (self._model_written(body, org, write) if kind == "model" else write())
        await self.changed(kind, org)
        return json_reply(shown_noun(row), 201)

    async def change(self, caller: Who, kind: Kind, id: str, new: Body, org_id: str | None) -> Response:
        org = await self.scope.of(caller, org_id)
        row = await org.nouns.get(kind, id)
        given, secret = self._split(kind, new.given())
        body = {name: one for name, one in {**row.value(), **given}.items() if one is not None}
        for name in ("name", "service", "url", "template", "type", "webhook"):
            if name in row.value() and name not in body:
                raise BadRequest(f"{name}: cannot be null", param=name)
        self._check_service(kind, body)
        if kind == "alert" and "agent_ids" in given:
            body["agent_ids"] = await self._agents(body.get("agent_ids") or (), org)
        moved = "url" in body and not same_origin(row.value()["url"], body["url"])
        write = partial(org.nouns.change, row, body["name"], msgspec.json.encode(body), secret=secret, moved=moved)
        row = await (self._model_written(body, org, write, id) if kind == "model" else write())
        await self.changed(kind, org)
        return json_reply(shown_noun(row))

    async def changed(self, kind: Kind, org: OrgStore) -> None:
        if kind == "model":
            self._services.loader.forget_all()
            await self._services.loader.ready(org.org_id)  # from now on it is this org's
        else:
            self._services.loader.forget(org.org_id)

    def _split(self, kind: Kind, fields: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The body, with what may be shown of the secret, and the secret."""
        if kind == "alert" and fields.get("webhook") is not None:  # its headers are kept as those of servers are
            headers = fields["webhook"].get("headers", {})
            fields = {**fields, "webhook": {"url": fields["webhook"]["url"]}, "headers": headers}
        name = SECRET.get(kind, "")
        if name not in fields:
            return fields, None
        value = fields.pop(name)
        if name == "headers":
            value = value or {}  # null takes them away
        elif value is None:
            raise BadRequest(f"{name}: cannot be null", param=name)
        if isinstance(value, str):
            return {**fields, "hint": hidden(value)}, value
        return {**fields, "header_names": sorted(value)}, msgspec.json.encode(value).decode()

    async def _agents(self, names: Sequence[str], org: OrgStore) -> list[str]:
        """The ids of agents by any of their names."""
        found = [await org.agents.named(spelled("agt_", name), name) for name in names]
        for place, agent in enumerate(found):
            if agent is None:
                path = f"agent_ids[{place}]"
                raise BadRequest(f"{path}: there is no agent {names[place]!r}", code="agent_not_found", param=path)
        return [agent.id for agent in found if agent is not None]

    def _check_service(self, kind: Kind, body: dict[str, Any]) -> None:
        if kind in ("service_key", "model") and not self._services.models.is_service(body["service"]):
            raise BadRequest(f"service: {body['service']!r} is unknown here", code="service_unknown", param="service")

    async def _model_written(
        self, body: dict[str, Any], org: OrgStore, write: Callable[..., Awaitable[NounRow]], id: str = ""
    ) -> NounRow:
        """Checked, and checked anew when another server has changed a model meanwhile: of two orgs that name one as
        their own at once, one is refused. id: of the one that is changed."""
        async with self._models_in_turn:
            for tries in range(TRIES):
                seen = await org.nouns.models_number()
                others = [own_model(row) for row in (await org.nouns.all())["model"] if row.id != id]
                self._services.loader.forget(org.org_id)
                await self._services.loader.ready(org.org_id)
                check_model_document(msgspec.convert(body, OwnModel), others, org.org_id, self._services.models)
                try:
                    return await write(seen=seen)
                except Conflict as error:
                    if error.code != "models_changed" or tries == TRIES - 1:
                        raise
        raise AssertionError("the last try returns or raises")


def _add_secrets(router: APIRouter, services: Services) -> None:
    scope = Scope(services)

    @router.post("/secrets", status_code=201, summary="Store a secret that headers of tools name as {{secret:NAME}}")
    async def put(caller: Who, new: NewSecret) -> Response:
        org = await scope.of(caller, new.org_id)
        await org.nouns.put_secret(new.name, new.value)
        services.loader.forget(org.org_id)
        return json_reply({"name": new.name, "hint": hidden(new.value)}, 201)

    @router.get("/secrets", summary="The names of an org's secrets")
    async def listing(caller: Who, org_id: OrgId = None) -> Response:
        names = await (await scope.of(caller, org_id)).secrets.names()
        return json_reply({"data": [{"name": name} for name in names if not name.startswith(_OF_NOUNS)]})

    @router.delete("/secrets/{name}", summary="Delete a secret")
    async def drop(caller: Who, name: str, org_id: OrgId = None) -> Response:
        org = await scope.of(caller, org_id)
        if name.startswith(_OF_NOUNS):
            raise missing("secret", name)
        await org.nouns.drop_secret(name)
        services.loader.forget(org.org_id)
        return json_reply({"name": name, "deleted": True})


def _add_settings(router: APIRouter, services: Services) -> None:
    scope = Scope(services)

    @router.get("/settings", summary="An org's settings")
    async def get(caller: Who, org_id: OrgId = None) -> Response:
        org = await scope.of(caller, org_id)
        return json_reply({"org_id": org.org_id, "timezone": "UTC", **await org.nouns.settings()})

    @router.patch("/settings", summary="Change an org's settings")
    async def change(caller: Who, new: SettingsChange, org_id: OrgId = None) -> Response:
        org = await scope.of(caller, org_id)
        given = new.given()
        if given.get("embedding") is not None:
            await check_model(services, org.org_id, given["embedding"], "embedding")
        settings = await org.nouns.change_settings(given)
        services.loader.forget(org.org_id)
        return json_reply({"org_id": org.org_id, "timezone": "UTC", **settings})


def shown_noun(row: NounRow) -> dict[str, Any]:
    times = {"created_at": row.created_at, "updated_at": row.updated_at}
    return {"id": row.id, "org_id": row.org_id, **row.value(), **times}
