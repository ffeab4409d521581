"""What version 2 of our own format asks: every field of a request, read into core.agents.AgentAsk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from ..core.agents import TWO_AGENTS, AgentAsk, Delivery, Effect, HttpMethod, HttpTool, Tool, webhook_headers
from ..core.errors import BadRequest
from ..core.http import HEADER_NAME, HEADER_VALUE, OWN_HEADERS
from ..core.ids import spelled
from ..core.json_schema import broken_text
from ..core.parts import Media
from ..core.secret import NAMING, Secret
from ..core.turn import MODES
from ._media import media_of
from ._messages_v1 import Offered
from ._own import decode

#: What a caller names a way of answering -> what it is.
_WAYS: dict[str, Literal["default", "webhook", "live", "queue"]] = {
    "default": "default", "webhook": "webhook", "rtlayer": "live", "queue": "queue",
}  # fmt: skip
#: What models take, and what can be sent.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ADDRESS = re.compile(r"https?://[^\x00-\x20\x7f/?#]+[^\x00-\x20\x7f]*")
MAX_SECONDS = 3600.0
_ID = "agt_"
#: A request says where its tool is: it would get the secret to read.
_PLAIN = "must be the value itself: a stored secret can only be named by a tool or an agent that is stored"


class Way(Struct, frozen=True, forbid_unknown_fields=True):
    type: str = "default"
    cred: dict[str, Any] | None = None


class _Place(Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    type: str = ""
    mime_type: str = ""
    name: str | None = None


class _Extra(Offered, frozen=True, forbid_unknown_fields=True):
    """A whole tool, with the address that is called."""

    url: str | None = None
    method: HttpMethod = "POST"
    headers: dict[str, str] | None = None
    response_path: str = ""
    effect: Effect = "unsafe"
    timeout_seconds: float | None = None
    camel_path: dict[str, str] | None = msgspec.field(name="toolAndVariablePath", default=None)
    snake_path: dict[str, str] | None = msgspec.field(name="tool_and_variable_path", default=None)


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    user: str | None = None
    agent_id: str | None = None
    bridge_id: str | None = None
    version_id: str | None = None
    thread_id: str | None = None
    sub_thread_id: str | None = None
    org_id: str | None = None
    variables: dict[str, Any] | None = None
    variables_path: dict[str, dict[str, str]] | None = None
    configuration: dict[str, Any] | None = None
    service: str | None = None
    model: str | None = None
    apikey: str | None = None
    response_type: str | dict[str, Any] | None = None
    response_format: Way | None = None
    extra_tools: list[Raw] | None = None
    built_in_tools: list[str] | None = None
    tools: list[Raw] | None = None
    tool_choice: str | dict[str, Any] | None = None
    images: list[Raw] | None = None
    files: list[Raw] | None = None
    user_urls: list[Raw] | None = None
    template_id: str | None = None
    guardrails: dict[str, Any] | None = None
    is_playground: bool | None = None
    stream: bool | None = None


_place = msgspec.json.Decoder(str | _Place)
_extra = msgspec.json.Decoder(_Extra)
_tool = msgspec.json.Decoder(str | dict[str, Any])


def ask_of(body: Body, agent: str = "", playground: bool = False) -> AgentAsk:
    """agent: the one that the path names. Raises BadRequest."""
    media = (
        *_media(body.images, "image", "images"),
        *_media(body.files, "file", "files"),
        *_media(body.user_urls, "", "user_urls"),
    )
    text = body.user or ""
    if not text.strip() and not media:
        raise BadRequest("user: a message is needed", param="user", code="user_message_missing")
    configuration = body.configuration or {}
    if "apikey" in configuration:  # it would be kept with the conversation
        raise BadRequest("configuration.apikey: write it beside the configuration", param="configuration.apikey")
    _check_key(body.apikey or "")
    _check_agreement(body, configuration)
    _check_headers(configuration.get("guardrails"), "configuration.guardrails")
    _check_headers(body.guardrails, "guardrails")
    named, places, whole = _tools(body.tools)
    extra = (*whole, *_extra_tools(enumerate(body.extra_tools or ()), "extra_tools"))
    _check_names(extra)
    delivery = _delivery(body.response_format)
    found_by, slug = _agent(body, agent)
    playground = playground or body.is_playground is True  # it answers directly
    return AgentAsk(
        agent=found_by,
        slug=slug,
        version=body.version_id or "",
        org=body.org_id or "",
        usual_fallback=True,
        text=text,
        media=media,
        places=tuple(_places(images=body.images, files=body.files, user_urls=body.user_urls)),
        thread=body.thread_id or "",
        sub_thread=body.sub_thread_id or "",
        variables=body.variables or {},
        variables_path=body.variables_path or {},
        configuration=configuration,
        service=body.service or "",
        model=body.model or "",
        api_key=Secret(body.apikey) if body.apikey else None,
        response_type=body.response_type,
        tools=named,
        tool_places=places,
        extra_tools=extra,
        built_in_tools=tuple(body.built_in_tools or ()),
        tool_choice=body.tool_choice,
        template=body.template_id or "",
        guardrails=body.guardrails or {},
        playground=playground,
        delivery=Delivery() if playground else delivery,
    )


def _check_key(key: str) -> None:
    if re.fullmatch(HEADER_VALUE, key) is None:
        raise BadRequest("apikey: holds a character that cannot be sent", param="apikey")


def _check_agreement(body: Body, configuration: dict[str, Any]) -> None:
    """What stands in the configuration and beside it must not be two things: one of them would go unheard."""
    for name, beside in (("service", body.service), ("model", body.model)):
        if beside and configuration.get(name) not in (None, "", beside):
            path = f"configuration.{name}"
            raise BadRequest(f"{path}: says something else than {name}", param=path, code="contradictory")


def _agent(body: Body, path: str) -> tuple[str, str]:
    """One agent, however often it is named: by what it is found, and its slug beside an id, "" = none. Whether both are
    one agent's only its store knows."""
    named = {spelled(_ID, name) for name in (path, body.agent_id, body.bridge_id) if name}
    slugs = [name for name in named if not name.startswith(_ID)]
    ids = [name for name in named if name.startswith(_ID)]
    if len(slugs) > 1 or len(ids) > 1:
        raise BadRequest(TWO_AGENTS, param="agent_id", code="contradictory")
    if body.version_id and not named:
        raise BadRequest("agent_id: says whose version it is", param="agent_id", code="missing_required_parameter")
    return "".join(ids or slugs), "".join(slugs) if ids else ""


def _places(**lists: list[Raw] | None) -> Iterator[str]:
    for name, raws in lists.items():
        yield from (f"{name}[{place}]" for place in range(len(raws or ())))


def _media(raws: list[Raw] | None, kind: str, path: str) -> list[Media]:
    media = []
    for place, raw in enumerate(raws or []):
        where = f"{path}[{place}]"
        told = decode(_place, bytes(raw), where)
        one = _Place(told) if isinstance(told, str) else told
        media.append(media_of(one.type or kind, one.url, None, one.mime_type, one.name, where, "mime_type"))
    return media


def _tools(raws: list[Raw] | None) -> tuple[tuple[str, ...] | None, tuple[int, ...], tuple[Tool, ...]]:
    """Names or ids, which replace the agent's tools, and where they stand; whole ones among them are added."""
    if raws is None:
        return None, (), ()
    read = [decode(_tool, bytes(raw), f"tools[{place}]") for place, raw in enumerate(raws)]
    names = {place: one for place, one in enumerate(read) if isinstance(one, str)}
    whole = ((place, raw) for place, raw in enumerate(raws) if place not in names)
    return tuple(names.values()), tuple(names) if len(names) < len(raws) else (), _extra_tools(whole, "tools")


def _extra_tools(raws: Iterable[tuple[int, Raw]], path: str) -> tuple[Tool, ...]:
    return tuple(_extra_tool(bytes(raw), f"{path}[{place}]", place) for place, raw in raws)


def _extra_tool(raw: bytes, path: str, place: int) -> Tool:
    told = decode(_extra, raw, path)
    name = told.function.name if told.function is not None else told.name
    about = told.function if told.function is not None else told
    parameters = about.parameters or {"type": "object"}
    if not name:
        raise BadRequest(f"{path}.name: required", param=f"{path}.name", code="missing_required_parameter")
    if not told.url:
        raise BadRequest(f"{path}.url: says what is called", param=f"{path}.url", code="missing_required_parameter")
    if told.camel_path is not None and told.snake_path is not None:
        raise BadRequest(
            f"{path}.toolAndVariablePath: given in both spellings", param=f"{path}.toolAndVariablePath",
            code="contradictory",
        )  # fmt: skip
    for where, why in _unusable(told, name, told.url, parameters):
        raise BadRequest(f"{path}.{where}: {why}", param=f"{path}.{where}")
    return Tool(
        id=f"{path.partition('[')[0]}_{place}",
        name=name,
        description=about.description or "",
        kind="http",
        parameters=parameters,
        http=HttpTool(method=told.method, url=told.url, response_path=told.response_path),
        effect=told.effect,
        timeout_seconds=told.timeout_seconds,
        mapped=told.camel_path or told.snake_path or {},
        headers=told.headers or {},
        strict=told.function.strict if told.function is not None else None,
    )


def _unusable(told: _Extra, name: str, url: str, parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, why): what could never be called is the caller's mistake, and no failure for the model to read."""
    if _NAME.fullmatch(name) is None:
        yield "name", "must be letters, digits, _ and -, at most 64"
    if name in MODES:
        yield "name", "is a word of tool_choice"
    if _ADDRESS.fullmatch(url) is None:
        yield "url", "must begin with http:// or https:// and a host"
    if NAMING.search(url) is not None:
        yield "url", _PLAIN
    if told.timeout_seconds is not None and not 0 < told.timeout_seconds <= MAX_SECONDS:
        yield "timeout_seconds", f"must be above 0 and at most {MAX_SECONDS:g}"
    for header, value in (told.headers or {}).items():
        if re.fullmatch(HEADER_NAME, header) is None or re.fullmatch(HEADER_VALUE, value) is None:
            yield "headers", "a name or value holds a character that cannot be sent"
        if NAMING.search(value) is not None:
            yield f"headers.{header}", _PLAIN
        if header.lower() in OWN_HEADERS:
            yield f"headers.{header}", "is written by the server itself"
    if parameters.get("type", "object") != "object":
        yield "parameters", "must be the JSON Schema of an object"
    elif (problem := broken_text(msgspec.json.encode(parameters))) is not None:
        yield "parameters", problem


def _check_headers(guardrails: Any, path: str) -> None:
    """Of webhooks: as with tools, a request says where they are."""
    for place, headers in webhook_headers(guardrails):
        for name, value in headers.items():
            if NAMING.search(value) is not None:
                where = f"{path}.{place}.{name}"
                raise BadRequest(f"{where}: {_PLAIN}", param=where)


def _check_names(tools: tuple[Tool, ...]) -> None:
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            field = tool.id.rpartition("_")[0]
            raise BadRequest(f"{field}: two tools are named {tool.name}", param=field, code="contradictory")
        seen.add(tool.name)


def _delivery(way: Way | None) -> Delivery:
    if way is None:
        return Delivery()
    kind = _WAYS.get(way.type.lower())
    if kind is None:
        where = "response_format.type"
        raise BadRequest(f"{where}: must be default, webhook, RTLayer or queue", param=where)
    if kind == "default":
        if way.cred:
            where = "response_format.cred"
            raise BadRequest(
                f"{where}: says where an answer goes later; the type is default", param=where, code="contradictory"
            )
        return Delivery()
    return Delivery(kind, way.cred or {})
