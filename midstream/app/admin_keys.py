"""API keys and orgs, made and revoked by the operator."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from ..access.identify import require_operator
from ..access.scopes import SCOPES, known
from ..core.errors import BadRequest
from ..store.keys import ApiKey
from .admin_scope import Scope, org_of
from .nouns import Who, json_reply
from .services import Services

#: Anything but NUL, which PostgreSQL takes in no text.
WORDS = r"^[^\x00]*$"


#: More than that is no limit.
PerMinute = Annotated[int | None, Field(ge=1, le=1_000_000_000)]


class NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=200, pattern=WORDS)
    org_id: str | None = Field(None, max_length=64)
    scopes: list[str] = Field(default_factory=list, max_length=32, description=" | ".join(SCOPES))
    expires_at: float | None = Field(None, allow_inf_nan=False, description="unix seconds, not over yet")
    requests_per_minute: PerMinute = Field(None, description="null: any number")


class KeyChange(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    requests_per_minute: PerMinute = Field(description="null: any number")


class NewOrg(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=200, pattern=WORDS)


def keys_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin", tags=["keys"])

    @router.post("/keys", status_code=201, summary="Make an API key; it is shown once")
    async def create_key(caller: Who, new: NewKey) -> Response:
        known(new.scopes)
        if new.expires_at is not None and new.expires_at <= services.clock.wall():
            raise BadRequest("expires_at: is over already (unix seconds)", param="expires_at")
        key, secret = await services.store.keys.create(
            org_of(caller, new.org_id),
            new.name,
            new.scopes,
            expires_at=new.expires_at,
            requests_per_minute=new.requests_per_minute,
        )
        return json_reply({**_shown(key), "key": secret}, 201)

    @router.get("/keys", summary="An org's API keys")
    async def list_keys(caller: Who, org_id: str | None = None) -> Response:
        await Scope(services).of(caller, org_id)
        rows = await services.store.keys.list(org_of(caller, org_id))
        return json_reply({"data": [_shown(key) for key in rows]})

    @router.patch("/keys/{key_id}", summary="Change what an API key may ask in a minute")
    async def change_key(caller: Who, key_id: str, change: KeyChange, org_id: str | None = None) -> Response:
        key = await services.store.keys.limit(org_of(caller, org_id), key_id, change.requests_per_minute)
        services.identify.forget()
        return json_reply(_shown(key))

    @router.delete("/keys/{key_id}", summary="Revoke an API key")
    async def revoke_key(caller: Who, key_id: str, org_id: str | None = None) -> Response:
        await services.store.keys.revoke(org_of(caller, org_id), key_id)
        services.identify.forget()
        return json_reply({"id": key_id, "revoked": True})

    @router.post("/orgs", status_code=201, summary="Make an org")
    async def create_org(caller: Who, new: NewOrg) -> Response:
        require_operator(caller)
        return json_reply(msgspec.structs.asdict(await services.store.all_orgs().create_org(new.name)), 201)

    @router.get("/orgs", summary="All orgs")
    async def list_orgs(caller: Who) -> Response:
        require_operator(caller)
        return json_reply({"data": [msgspec.structs.asdict(row) for row in await services.store.all_orgs().orgs()]})

    return router


def _shown(key: ApiKey) -> dict[str, Any]:
    return {**msgspec.structs.asdict(key), "scopes": sorted(key.scopes)}
