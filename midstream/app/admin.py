"""What operators read and change under /v1/admin, and the OpenAPI document with every route of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import Response

from ..access.identify import OPERATOR
from ..core.usage import Usage
from ..core.web import Caller
from ..store.ledger import AttemptStatus, RunStatus
from ..store.reading import Accounts, UsageGroup
from ..store.rows import AttemptRow, RunRow, UsageRow
from .admin_agents import agents_router
from .admin_cases import cases_router
from .admin_events import history
from .admin_keys import keys_router
from .admin_metrics import Since, Until, metrics_router
from .admin_nouns import nouns_router
from .admin_tools import tools_router
from .docs_page import HEADERS, docs_page
from .nouns import Reader, Who, add_routes, json_reply, noun_app, page
from .openapi import describe
from .operations import OPEN, plain_error
from .services import Services

MAX_PAGE = 1000
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def admin_app(services: Services, beside: Sequence[FastAPI] = (), routers: Sequence[APIRouter] = ()) -> FastAPI:
    """beside: whose routes stand in the OpenAPI document as well. routers: more of its own."""
    app = noun_app(services, plain_error)
    for router in (keys_router, agents_router, cases_router, tools_router, nouns_router, metrics_router):
        add_routes(app, router(services))
    for more in routers:
        add_routes(app, more)
    _add_accounts(app, services)
    _describe(app, services, beside)
    return app


def _add_accounts(app: FastAPI, services: Services) -> None:
    @app.get("/v1/admin/attempts", tags=["accounts"], summary="Upstream calls, oldest first")
    async def attempts(
        caller: Reader,
        after: str | None = None,
        limit: Limit = 100,
        run_id: str | None = None,
        status: AttemptStatus | None = None,
    ) -> Response:
        reader = _reader(services, caller)
        rows = await reader.attempts(after=after, limit=limit + 1, run_id=run_id, status=status)
        return page([shown_attempt(row) for row in rows], limit)

    @app.get("/v1/admin/usage", tags=["accounts"], summary="Tokens and cost, summed by group")
    async def usage(
        caller: Reader,
        since: Since = 0.0,
        until: Until = None,
        group_by: UsageGroup = "model",
    ) -> Response:
        rows = await _reader(services, caller).usage(since=since, until=until, group_by=group_by)
        return json_reply({"data": [_usage_row(row) for row in rows]})

    @app.get("/v1/admin/runs", tags=["accounts"], summary="Runs, newest first")
    async def runs(
        caller: Reader,
        after: str | None = None,
        limit: Limit = 100,
        status: RunStatus | None = None,
    ) -> Response:
        rows = await _reader(services, caller).runs(after=after, limit=limit + 1, status=status)
        return page([_run(row) for row in rows], limit)

    @app.get("/v1/admin/runs/{run_id}", tags=["accounts"], summary="One run with its attempts")
    async def run(caller: Reader, run_id: str) -> Response:
        reader = _reader(services, caller)
        row = await reader.run(run_id)
        made = await reader.attempts(run_id=run_id, limit=MAX_PAGE)
        return json_reply({**_run(row), "attempts": [shown_attempt(one) for one in made]})

    @app.get("/v1/admin/runs/{run_id}/events", tags=["accounts"], summary="What happened in a run, in order")
    async def events(
        caller: Who,  # what was said is in them: no account's
        run_id: str,
        after: int = -1,
        limit: Limit = 1000,
    ) -> Response:
        reader = _reader(services, caller)
        row = await reader.run(run_id)
        made = await reader.attempts(run_id=run_id, limit=MAX_PAGE)
        said = await services.store.org(row.org_id).run_messages(run_id)
        told = [event for event in history(row, made, said) if event["sequence"] > after]
        return page(told[: limit + 1], limit, "sequence")


def _reader(services: Services, caller: Caller) -> Accounts:
    """The operator sees every org; an org's own admin key sees that org."""
    return services.store.all_orgs() if caller.key_id == OPERATOR else services.store.org(caller.org)


def shown_attempt(row: AttemptRow) -> dict[str, Any]:
    error = {"code": row.error_code, "message": row.error_message} if row.error_code else None
    return {
        "id": row.id,
        "run_id": row.run_id,
        "org_id": row.org_id,
        "key_id": row.key_id,
        "number": row.number,
        "provider": row.provider,
        "model": row.model,
        "status": row.status,
        "usage": _usage(row.usage),
        "cost": row.cost,
        "price": msgspec.Raw(row.price_snapshot.encode()) if row.price_snapshot else None,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "error": error,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    """Totals as most read them, and the disjoint classes they are made of."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write,
        "reasoning_tokens": usage.out_reasoning,
        "estimated": usage.estimated,
        "classes": {name: value for name, value in msgspec.structs.asdict(usage).items() if name != "estimated"},
    }


def _usage_row(row: UsageRow) -> dict[str, Any]:
    return {
        "group": row.group,
        "attempts": row.attempts,
        "unpriced_attempts": row.unpriced,
        **_usage(row.usage),
        "cost": row.cost,
    }


def _run(row: RunRow) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(row).items() if name != "COLUMNS"}


def _describe(app: FastAPI, services: Services, beside: Sequence[FastAPI]) -> None:
    """Adds all other routes to the document that FastAPI makes of its own, and shows it as a page."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            for one in beside:
                more = one.openapi()
                document["paths"].update(more["paths"])
                known = document.setdefault("components", {}).setdefault("schemas", {})
                known.update(more.get("components", {}).get("schemas", {}))
            describe(document, services.faces, OPEN)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(openapi()), headers=HEADERS, media_type="text/html")
