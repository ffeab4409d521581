"""The ASGI application: request ids, CORS, routing, and the boundary where every failure becomes an answer in the
grammar of the face that was asked."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from ..access.identify import require_operator, require_reader
from ..core.dialect import Say
from ..core.errors import Bug, Cancelled, MidstreamError, NotFound, WrongContentType, forget_frames
from ..core.events import Failed
from ..core.http import HEADER_NAME
from ..core.ids import new_id
from ..core.web import Reply, Request
from ..wire.strict_json import read_value
from .exchange import Exchange, Pulse
from .faces import Face, marked
from .headers import Headers
from .models import listed
from .not_built import not_built, owner_of
from .noun_paths import Nouns, WriteError
from .operations import Operations, plain_error
from .protocol import MAX_HEADERS
from .replies import error_headers
from .routing import Routes
from .serve import MAX_BODY, serve
from .services import Services

logger = logging.getLogger("midstream.edge")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Methods whose body means something.
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
ADMIN = ("/v1/admin", "/openapi.json", "/docs")
#: Bytes of a body where nobody has to say who asks.
OPEN_BODY = 1024 * 1024
#: What a preflight is told that names no headers, or none that could be sent.
ALLOWED_HEADERS = (
    b"authorization, content-type, x-api-key, api-key, x-goog-api-key, anthropic-version, anthropic-beta, "
    b"x-request-id, x-midstream-strict, idempotency-key, last-event-id"
)
#: Bytes of the list of headers that a preflight asks for. It names no more of them than a request may have.
MAX_ASKED = 8 * 1024
_USUAL_PORTS = {"http": ":80", "https": ":443"}
#: Whose errors are told about paths below its own which no face has.
OPENAI, OPENAI_PATHS = "openai_chat", "/v1/"
#: Of several vendors, below that.
LISTS = "/v1/models"
_ASKED = re.compile(rf"{HEADER_NAME}(?:[\t ]*,[\t ]*{HEADER_NAME}){{0,{MAX_HEADERS - 1}}}")


class Edge:
    """admin: the application behind ADMIN paths. nouns: those behind other paths that no face answers.
    cors: origins that browsers may call from. live: the application behind WebSockets."""

    def __init__(
        self,
        services: Services,
        admin: ASGIApp,
        operations: Operations,
        live: ASGIApp,
        cors: Sequence[str] = (),
        nouns: Sequence[Nouns] = (),
    ) -> None:
        self._services = services
        self._admin = Nouns(ADMIN[0], admin, plain_error)
        self._nouns = nouns
        self._operations = operations
        self._live = live
        self._pulse = Pulse()
        self._cors = frozenset(_as_browsers_say(origin).encode() for origin in cors)
        faces = services.faces.values()
        self.routes: Routes[Face] = Routes((route, face) for face in faces for route in face.ROUTES)
        prefixes = {route.path.partition("{")[0]: face for face in reversed([*faces]) for route in face.ROUTES}
        self._prefixes = dict(sorted(prefixes.items(), key=lambda pair: -len(pair[0])))
        self._roots = {_root(route.path): face for face in reversed([*faces]) for route in face.ROUTES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._live(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._services.clock.steady(), self._pulse)
        headers = exchange.headers
        request_id = _request_id(headers)
        exchange.always.append((b"x-request-id", request_id.encode()))
        path: str = scope["path"]
        face: Face | None = None
        write_error: WriteError = plain_error
        try:
            origin = headers.get("origin")
            if origin is not None and self._answered_preflight(origin, scope, exchange):
                await exchange.reply(Reply(b"", 204))
                return
            if self._operations.knows(path):
                if not self._operations.is_open(path):
                    require_operator(await self._services.identify(headers))  # it counts all orgs together
                await exchange.reply(await self._operations.answer(scope["method"], path))
                return
            if path.startswith(ADMIN):
                most = OPEN_BODY
                if path.startswith(ADMIN[0]):  # who asks is known before a body is read
                    require_reader(await self._services.identify(headers), scope["method"])
                    most = MAX_BODY
                await self._give(self._admin, scope, receive, send, exchange, most)
                return
            try:
                method = "GET" if scope["method"] == "HEAD" else scope["method"]
                face, route, params = self.routes.find(method, path)
            except MidstreamError as error:
                noun = next((one for one in self._nouns if path.startswith(one.prefix)), None)
                if noun is not None and isinstance(error, NotFound):
                    write_error = noun.write_error
                    await self._services.identify(headers)  # who asks is known before a body is read
                    await self._give(noun, scope, receive, send, exchange, MAX_BODY)
                    return
                face = self._face_for(path, headers)
                raise not_built(path) or self._with_near(error, method, path) from None
            query = _query(scope["query_string"])
            request = Request(route.method, path, query, headers, params, request_id)
            if route.method == "GET":  # a list of models, which several vendors have at the same path
                face = marked(self._services.faces, headers) or face
                await exchange.reply(await listed(self._services, face, route.task, request))
                return
            _require_json(headers)
            await serve(self._services, face, route, request, exchange)
        except MidstreamError as error:
            await self._refuse(exchange, face, write_error, error, request_id)
            forget_frames(error)
        except Exception:  # boundary: a request never ends without an answer
            bug = Bug(new_id("bug_"))
            logger.error("bug %s in request %s\n%s", bug.bug_id, request_id, traceback.format_exc())
            await self._refuse(exchange, face, write_error, bug, request_id)
        finally:
            exchange.over()

    async def _give(
        self, nouns: Nouns, scope: Scope, receive: Receive, send: Send, exchange: Exchange, most: int
    ) -> None:
        """Lets another application answer, with our own headers on its reply. The server leaves out the body of an
        answer to HEAD, here as with a face's. most: bytes of the request's body, which is JSON as a face takes it."""

        async def send_named(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                exchange.sent = True
                message["headers"] = [*message.get("headers", ()), *exchange.always]
            await send(message)

        body = await exchange.body(most)
        if body and scope["method"] in _WITH_BODY:
            _require_json(exchange.headers)
            read_value(body)
        given = _given(body, receive)
        request_id = exchange.always[0][1].decode()
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await nouns.application(scope, given, send_named)

    async def _refuse(
        self, exchange: Exchange, face: Face | None, write_error: WriteError, error: MidstreamError, request_id: str
    ) -> None:
        """write_error: where no face was asked."""
        if face is not None and exchange.early:
            writer = face.DIALECT.answer_writer(Say("", 0, "", request_id=request_id))
            await exchange.end(writer.write([Failed(error)]))
            return
        if exchange.sent:
            if not isinstance(error, Cancelled):
                raise error  # the server cuts the connection: the client must not take this for an end
            return
        write_error = face.DIALECT.write_error if face is not None else write_error
        await exchange.reply(Reply(write_error(error, request_id), error.status, error_headers(error)))

    def _with_near(self, error: MidstreamError, method: str, path: str) -> MidstreamError:
        near = self.routes.near(method, path) if isinstance(error, NotFound) else ""
        return NotFound(f"{error.message}; did you mean {near}?", code=error.code) if near else error

    def _face_for(self, path: str, headers: Headers) -> Face | None:
        """Whose grammar an error about this path is written in, also when no route fits."""
        faces, owner = self._services.faces, owner_of(path)
        if owner is not None:
            return faces[owner]
        found = self._prefixes.get(path.rstrip("/"))
        found = found or next((face for prefix, face in self._prefixes.items() if path.startswith(prefix)), None)
        found = found or self._roots.get(_root(path))
        if path.startswith(OPENAI_PATHS) and (found is None or path.startswith(LISTS)):
            return marked(faces, headers) or found or faces[OPENAI]
        return found

    def _answered_preflight(self, origin: str, scope: Scope, exchange: Exchange) -> bool:
        value = origin.encode("latin-1")
        if value not in self._cors and b"*" not in self._cors:
            return False
        exchange.always.append((b"access-control-allow-origin", value))
        if scope["method"] != "OPTIONS":
            # All of them: a star means that where no credentials are allowed, and here none ever are.
            exchange.always += [(b"vary", b"origin"), (b"access-control-expose-headers", b"*")]
            return False
        exchange.always += [
            (b"vary", b"origin, access-control-request-headers"),
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", _allowed(exchange.headers)),
            (b"access-control-max-age", b"600"),
        ]
        return True


def _as_browsers_say(origin: str) -> str:
    """They fold its case and leave out its scheme's usual port."""
    scheme, separator, host = origin.lower().partition("://")
    return scheme + separator + host.removesuffix(_USUAL_PORTS.get(scheme, ":")).removesuffix(":")


def _allowed(headers: Headers) -> bytes:
    """The headers that a page of an allowed origin may send: those it asks for. SDKs add theirs with every version, and
    a star would not mean `authorization`."""
    asked: str = headers.get("access-control-request-headers", "").strip()
    return asked.encode() if len(asked) <= MAX_ASKED and _ASKED.fullmatch(asked) else ALLOWED_HEADERS


def _query(text: bytes) -> dict[str, str]:
    """Also what is there without a value."""
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True)) if text else {}


def _root(path: str) -> str:
    """What paths of one API begin with: /api/v2, /v1/messages."""
    return "/".join(path.split("/", 3)[:3])


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    first: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> MutableMapping[str, Any]:
        return first.pop() if first else await receive()

    return given


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_id("req_")


def _require_json(headers: Headers) -> None:
    given = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if given != "application/json":
        raise WrongContentType(f"expected content-type application/json, not {given!r}")
    coding = headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise WrongContentType(f"content-encoding {coding!r} is not taken")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
