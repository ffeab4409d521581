"""FastAPI applications for what is listed, read and changed: the operator's under /v1/admin, and the nouns of faces
(histories, tools, batches), each with the errors of its face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_origin

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from .. import __version__
from ..access.identify import require_admin
from ..access.scopes import require
from ..core.errors import BadRequest, MethodNotAllowed, MidstreamError, NotFound
from ..core.web import Caller
from .noun_paths import WriteError
from .query_names import check_names
from .replies import error_headers
from .services import Services


async def _identified(request: Request) -> Caller:
    services: Services = request.app.state.services
    return await services.identify(request.headers)


async def chat_caller(request: Request) -> Caller:
    """Whoever may chat: conversations, their answers and their tools belong to that. Raises Unauthenticated, Forbidden,
    BadRequest."""
    caller = await _identified(request)
    require(caller, "chat")
    _check_query(request)
    return caller


async def admin_caller(request: Request) -> Caller:
    """Whoever holds the operator's key or one with the scope `admin`. Raises Unauthenticated, Forbidden, BadRequest."""
    caller = await _identified(request)
    require_admin(caller)
    _check_query(request)
    return caller


async def reading_caller(request: Request) -> Caller:
    """Also one with the scope `read`. Raises Unauthenticated, Forbidden, BadRequest."""
    caller = await _identified(request)
    require(caller, "read", "admin")
    _check_query(request)
    return caller


def _check_query(request: Request) -> None:
    """Who may not ask at all is not told what could be asked."""
    if request.query_params:
        known = dict(_query_fields(request.scope["route"].dependant))
        lists = [name for name, kind in known.items() if get_origin(kind) is list]
        check_names((name for name, _ in request.query_params.multi_items()), [*known], lists)


def _query_fields(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    """Names and types."""
    yield from ((field.alias, field.field_info.annotation) for field in dependant.query_params)
    for one in dependant.dependencies:
        yield from _query_fields(one)


#: What other faces say of the same mistakes: (words, code).
_WHY = {
    "extra_forbidden": ("not known here", "unknown_parameter"),
    "missing": ("required", "missing_required_parameter"),
}
#: Parameters of a route: anyone whose key may use models; a key of an admin; one of a reader.
ChatCaller = Annotated[Caller, Depends(chat_caller)]
Who = Annotated[Caller, Depends(admin_caller)]
Reader = Annotated[Caller, Depends(reading_caller)]


def noun_app(services: Services, write_error: WriteError, routers: Iterable[APIRouter] = ()) -> FastAPI:
    # A redirect would go where the Host header says.
    app = FastAPI(title="Midstream", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    app.state.write_error = write_error
    app.exception_handler(MidstreamError)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_not_here)
    app.exception_handler(Exception)(_let_through)
    for router in routers:
        add_routes(app, router)
    return app


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """As they are: FastAPI's own way would make every route of a router that has no prefix a second time."""
    app.router.routes += router.routes


def json_reply(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def page(data: list[dict[str, Any]], limit: int, name: str = "id") -> Response:
    """data: one more than `limit` when there are more."""
    shown = data[:limit]
    last = shown[-1][name] if shown else None
    return json_reply({"data": shown, "has_more": len(data) > limit, "last_id": last})


def _error(request: Request, error: MidstreamError) -> Response:
    body = request.app.state.write_error(error, request.scope["state"]["request_id"])
    return Response(body, error.status, dict(error_headers(error)), media_type="application/json")


async def _let_through(request: Request, error: Exception) -> Response:
    """To the boundary of all requests, before anything is answered: else Starlette says it in words of its own."""
    raise error


async def _refused(request: Request, error: Any) -> Response:
    return _error(request, error)


async def _invalid(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    path = ".".join(str(piece) for piece in first["loc"][1:])
    why, code = _WHY.get(first["type"], (first["msg"].removeprefix("Value error, "), None))
    return _error(request, BadRequest(f"{path or 'the body'}: {why}", param=path or None, code=code))


def _methods(request: Request) -> set[str]:
    """Of all routes of its path."""
    routes = request.app.router.routes
    return {name for route in routes if route.matches(request.scope)[0] is not Match.NONE for name in route.methods}


async def _not_here(request: Request, error: Any) -> Response:
    if error.status_code == 405:
        return _error(request, MethodNotAllowed.of(request.method, _methods(request)))
    if error.status_code == 400:  # a body that is not even text
        return _error(request, BadRequest(f"the body cannot be read: {error.detail}"))
    return _error(request, NotFound(f"no such path: {request.url.path}", code="unknown_path"))
