"""What operators read and change under /v1/admin, and the OpenAPI document with every route of the server."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from .. import __version__
from ..access.identify import OPERATOR
from ..core.errors import BadRequest, MethodNotAllowed, MidstreamError, NotFound
from ..core.usage import Usage
from ..core.web import Caller
from ..store.reading import UsageGroup
from ..store.rows import AttemptRow, RunRow, UsageRow
from .admin_events import history
from .admin_keys import Who, keys_router
from .docs_page import HEADERS, docs_page
from .openapi import describe
from .operations import OPEN, plain_error
from .services import Services

MAX_PAGE = 1000
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def admin_app(services: Services) -> FastAPI:
    # A redirect would go where the Host header says.
    app = FastAPI(title="Midstream", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    app.exception_handler(MidstreamError)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_not_here)
    app.include_router(keys_router(services))
    _add_accounts(app, services)
    _describe(app, services)
    return app


def _add_accounts(app: FastAPI, services: Services) -> None:
    @app.get("/v1/admin/attempts", tags=["accounts"], summary="Upstream calls, oldest first")
    async def attempts(
        caller: Who,
        after: str | None = None,
        limit: Limit = 100,
        run_id: str | None = None,
    ) -> Response:
        rows = await _reader(services, caller).attempts(after=after, limit=limit + 1, run_id=run_id)
        return _page([shown_attempt(row) for row in rows], limit)

    @app.get("/v1/admin/usage", tags=["accounts"], summary="Tokens and cost, summed by group")
    async def usage(
        caller: Who,
        since: Annotated[float | None, Query(alias="from", description="unix seconds")] = None,
        until: Annotated[float | None, Query(alias="to", description="unix seconds")] = None,
        group_by: UsageGroup = "model",
    ) -> Response:
        rows = await _reader(services, caller).usage(since=since, until=until, group_by=group_by)
        return _json({"data": [_usage_row(row) for row in rows]})

    @app.get("/v1/admin/runs", tags=["accounts"], summary="Runs, newest first")
    async def runs(
        caller: Who,
        after: str | None = None,
        limit: Limit = 100,
    ) -> Response:
        rows = await _reader(services, caller).runs(after=after, limit=limit + 1)
        return _page([_run(row) for row in rows], limit)

    @app.get("/v1/admin/runs/{run_id}", tags=["accounts"], summary="One run with its attempts")
    async def run(caller: Who, run_id: str) -> Response:
        reader = _reader(services, caller)
        row = await reader.run(run_id)
        made = await reader.attempts(run_id=run_id, limit=MAX_PAGE)
        return _json({**_run(row), "attempts": [shown_attempt(one) for one in made]})

    @app.get("/v1/admin/runs/{run_id}/events", tags=["accounts"], summary="What happened in a run, in order")
    async def events(
        caller: Who,
        run_id: str,
        after: int = -1,
        limit: Limit = 1000,
    ) -> Response:
        reader = _reader(services, caller)
        row = await reader.run(run_id)
        made = await reader.attempts(run_id=run_id, limit=MAX_PAGE)
        said = await services.store.org(row.org_id).run_messages(run_id)
        told = [event for event in history(row, made, said) if event["sequence"] > after]
        return _page(told[: limit + 1], limit, "sequence")


def _reader(services: Services, caller: Caller) -> Any:
    """The operator sees every org; an org's own admin key sees that org."""
    return services.store.all_orgs() if caller.key_id == OPERATOR else services.store.org(caller.org)


def _page(data: list[dict[str, Any]], limit: int, name: str = "id") -> Response:
    shown = data[:limit]
    return _json({"data": shown, "has_more": len(data) > limit, "last_id": shown[-1][name] if shown else None})


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
        "cached_tokens": usage.cache_read,
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


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _error(request: Request, error: MidstreamError) -> Response:
    headers = {"retry-after": str(max(1, round(error.retry_after)))} if error.retry_after else None
    body = plain_error(error, request.scope["state"]["request_id"])
    return Response(body, error.status, headers, media_type="application/json")


async def _refused(request: Request, error: Any) -> Response:
    return _error(request, error)


async def _invalid(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    path = ".".join(str(piece) for piece in first["loc"][1:])
    return _error(request, BadRequest(f"{path}: {first['msg']}", param=path))


async def _not_here(request: Request, error: Any) -> Response:
    if error.status_code == 405:
        return _error(request, MethodNotAllowed(f"{request.method} is not offered here"))
    return _error(request, NotFound(f"no such path: {request.url.path}", code="unknown_path"))


def _describe(app: FastAPI, services: Services) -> None:
    """Adds all other routes to the document that FastAPI makes of its own, and shows it as a page."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            describe(made(), services.faces, OPEN)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(openapi()), headers=HEADERS, media_type="text/html")
