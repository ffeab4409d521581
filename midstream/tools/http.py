"""Kind "http": one request to an address that an org's admin wrote down, filled with the arguments of a model.

The model chooses neither scheme nor host: arguments stand in the path, the query, or the body. Addresses are not
trusted, so private ones are refused by the door, also when a name or a redirect leads there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from ..core.agents import HttpTool, Tool
from ..core.errors import RETRYABLE_STATUS, Cut, TimedOut, Unreachable
from ..core.http import Incoming, Outgoing, Send, Timeouts
from ..core.masking import credentials, masked, masked_text
from ..core.secret import Secret
from ..core.toolbox import ToolAnswer, ToolScope
from ..wire.retry_after import retry_after
from ._answers import cut, failed, told
from ._arguments import MISSING, at
from ._charsets import json_of, text_of

#: Bytes of an answer that are read, of a failed one that are told, and after which one is read in a thread.
MAX_BODY, MAX_ERROR, LARGE = 4 * 1024 * 1024, 4096, 64 * 1024
#: Redirects, tries, seconds waited at most.
REDIRECTS, MAX_RETRIES, MAX_WAIT = 5, 5, 10.0

_PLACE = re.compile(r"\{{1,2} *([\w.-]+) *\}{1,2}")
_SECRET = re.compile(r"\{\{\s*secret:([\w.-]+)\s*\}\}")
_JSON = re.compile(r"application/([\w.-]+\+)?json\b")
_TEXT = re.compile(r"text/|application/(xml|[\w.-]+\+xml|javascript|x-ndjson|x-www-form-urlencoded|yaml|toml)\b")
_FORM = "application/x-www-form-urlencoded"


class Unfit(Exception):
    """The request cannot be made of these arguments; the message is for the model."""


class Http:
    def __init__(self, send: Send) -> None:
        self._send = send

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        http = tool.http
        if http is None or not http.url:
            return failed("the tool has no address", "tool_broken")
        try:
            headers, secrets = write_headers(http.headers, scope.secrets, tool.id)
            headers |= {name.lower(): value for name, value in tool.headers.items()}  # a request's: no secret is theirs
            outgoing = request(http, given(tool, arguments), headers, key, tool.timeout_seconds)
        except Unfit as reason:
            return failed(str(reason), "invalid_arguments")
        retries = min(http.retries, MAX_RETRIES) if tool.effect != "unsafe" else 0
        status, head, body = await self._exchange(outgoing, retries)
        sent = (*secrets, *credentials(tool.headers))
        read = partial(answer, status, head.get("content-type", ""), body, http.response_path, sent)
        return await asyncio.to_thread(read) if len(body) > LARGE else read()

    async def _exchange(self, outgoing: Outgoing, retries: int) -> tuple[int, dict[str, str], bytes]:
        """retries: how often it may be asked again after what another try may mend."""
        for done in range(retries + 1):
            wait = 0.2 * 2**done
            try:
                incoming = await self._send(outgoing)
                status, head, body = await whole(incoming, MAX_BODY)
                if done == retries or status not in RETRYABLE_STATUS:
                    return status, head, body
                told = retry_after(head)
                wait = wait if told is None else told
            except (Unreachable, Cut, TimedOut) as error:
                if done == retries or not error.retryable:
                    raise
            await asyncio.sleep(min(wait, MAX_WAIT))
        raise AssertionError("the last try returns or raises")


async def whole(incoming: Incoming, limit: int) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body. Raises what reading raises, Garbled when the body is larger than limit."""
    try:
        return incoming.status, incoming.headers, await incoming.read(limit)
    finally:
        incoming.close()


class Given(Struct):
    """arguments: what the call gave. names: all that the tool knows. used: those that the request holds."""

    arguments: Mapping[str, Any]
    names: set[str]
    used: set[str]


def given(tool: Tool, arguments: Mapping[str, Any]) -> Given:
    """A tool that says which arguments it has knows no others: what else a model gives them is not to be taken for one
    that a mapping speaks of."""
    known = tool.parameters.get("properties")
    names = {*tool.mapped, *(known if isinstance(known, dict) else ())}
    return Given(arguments, names or {*arguments}, set())


def secrets_in(headers: Mapping[str, str]) -> list[str]:
    """The names of the stored secrets that these headers want filled in."""
    return list(dict.fromkeys(name for value in headers.values() for name in _SECRET.findall(value)))


def request(http: HttpTool, have: Given, headers: dict[str, str], key: str, seconds: float | None) -> Outgoing:
    """Raises Unfit."""
    url = write_url(http.url, have)
    query = _mapped(http.query, have)
    body = _mapped(http.body, have)
    rest = {name: value for name, value in have.arguments.items() if name not in have.used}
    if http.method in ("GET", "DELETE"):
        query = query if _chooses(http.query, have.names) else {**rest, **query}
    else:
        body = body if _chooses(http.body, have.names) else {**rest, **body}
    if query:
        url += ("&" if urlsplit(url).query else "?") + urlencode(list(_pairs(query)), quote_via=quote)
    data = b""
    if body or (http.body is None and http.method in ("POST", "PUT", "PATCH")):
        kind = headers.setdefault("content-type", "application/json")
        data = urlencode(list(_pairs(body))).encode() if kind.startswith(_FORM) else msgspec.json.encode(body)
    headers.setdefault("accept", "application/json, text/*;q=0.9, */*;q=0.5")
    if http.method != "GET":
        headers.setdefault("idempotency-key", key)
    total = seconds or Timeouts().total
    timeouts = Timeouts(first_byte=total, between=total, total=total)  # a slow tool is silent until it is done
    return Outgoing(http.method, url, tuple(headers.items()), data, False, timeouts, REDIRECTS)


def write_url(template: str, have: Given) -> str:
    """The address with each `{name}` of its path and query replaced by that argument, percent-encoded: it can change
    neither the host nor the number of the path's segments, nor begin another field. A field of the query whose
    argument was not given is left out. Raises Unfit."""
    problem = wrong_url(template)
    if problem is not None:
        raise Unfit(problem)
    scheme, host, path, query, _ = urlsplit(template)
    have.used.update(_PLACE.findall(path), _PLACE.findall(query))
    filled = _PLACE.sub(lambda match: _encoded(have, match[1], needed=True), path)
    for before, after in zip(path.split("/"), filled.split("/"), strict=True):
        if before != after and after.lower().replace("%2e", ".") in (".", ".."):
            raise Unfit("a part of the address's path cannot be . or ..")
    asked = "&".join(
        _PLACE.sub(lambda match: _encoded(have, match[1], needed=False), field)
        for field in query.split("&")
        if all(have.arguments.get(name) is not None for name in _PLACE.findall(field))
    )
    return f"{scheme}://{host}{filled or '/'}{'?' if asked else ''}{asked}"


def _encoded(have: Given, name: str, *, needed: bool) -> str:
    value = have.arguments.get(name)
    text = "" if value is None else _text(value)
    if needed and not text:
        raise Unfit(f"the address needs a value for {name}")
    return quote(text, safe="")


def wrong_url(template: str) -> str | None:
    """Why no request can be made to this address; None when one can. Whether it may be dialled, the door decides."""
    try:
        scheme, host, path, query, _ = urlsplit(template)
    except ValueError:
        return "url: it is no address"
    if scheme not in ("http", "https") or not host:
        return "url: an address begins with http:// or https:// and a host"
    if "{" in host or "}" in host:
        return "url: the host cannot be an argument"
    if "{" in _PLACE.sub("", path + query) or "}" in _PLACE.sub("", path + query):
        return "url: a brace has no partner"
    return None


def write_headers(
    headers: Mapping[str, str], secrets: Mapping[str, Secret | str], tool: str
) -> tuple[dict[str, str], list[str]]:
    """A stored tool's headers with `{{secret:NAME}}` filled in, by lower-case name, and what is secret of them: what
    was filled in, also as it arrives (without blanks around it) and without its scheme. tool: its id. Raises Unfit."""
    used: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if owner_of(match[1]) not in ("", tool):
            raise Unfit(f"the tool names the secret {match[1]}, which is another tool's own")
        secret = secrets.get(match[1])
        if secret is None:
            raise Unfit(f"the tool needs the secret {match[1]}, which has no value")
        text = secret.reveal() if isinstance(secret, Secret) else str(secret)
        used.extend((text, text.strip(), *credentials({"authorization": text})))
        return text

    written = {name.lower(): _SECRET.sub(fill, value) for name, value in headers.items()}
    for name, value in headers.items():
        if _SECRET.search(value):  # whatever the header is called: a secret may follow a scheme that stands there
            used += credentials({"authorization": written[name.lower()]})
    return written, used


def owner_of(secret: str) -> str:
    """The id of the tool whose own credential is sealed under this name, "" for a secret that any stored tool may
    name."""
    return secret.partition(".")[0] if secret.startswith("tool_") else ""


def foreign_secret(text: str, tool: str) -> str:
    """The name of another tool's own credential in a header's text, "" = there is none. tool: whose header it is."""
    return next((name for name in _SECRET.findall(text) if owner_of(name) not in ("", tool)), "")


def _mapped(mapping: Mapping[str, Any] | None, have: Given) -> dict[str, Any]:
    """What a mapping puts into the query or the body: `argument: "place"`, `place: "argument"`, or `place: constant`,
    in which `{argument}` stands for a value. A place may be dotted. Arguments that were not given put nothing."""
    made: dict[str, Any] = {}
    for key, value in (mapping or {}).items():
        if key in have.names:
            place = value if isinstance(value, str) and value else key
            one = _filled(f"{{{key}}}", have)
        elif isinstance(value, str) and value in have.names:
            place, one = key, _filled(f"{{{value}}}", have)
        else:
            place, one = key, _filled(value, have)
        if one is not MISSING:
            _put(made, place, one)
    return made


def _filled(value: Any, have: Given) -> Any:
    """A constant with its `{argument}` places filled; MISSING when all it says is an argument that was not given."""
    if isinstance(value, Mapping):
        made = {name: _filled(one, have) for name, one in value.items()}
        return {name: one for name, one in made.items() if one is not MISSING}
    if isinstance(value, list):
        return [one for item in value if (one := _filled(item, have)) is not MISSING]
    if not isinstance(value, str):
        return value
    names = have.names.intersection(_PLACE.findall(value))
    have.used.update(names)
    alone = _PLACE.fullmatch(value)
    if alone is not None and alone[1] in names:
        return have.arguments.get(alone[1], MISSING)
    return _PLACE.sub(lambda match: _text(have.arguments.get(match[1], "")) if match[1] in names else match[0], value)


def _chooses(mapping: Mapping[str, Any] | None, names: set[str]) -> bool:
    """Does it say which arguments go there? Then others do not. Constants alone are added to what goes there anyway."""
    if mapping is None:
        return False
    words = {*mapping, *(value for value in mapping.values() if isinstance(value, str))}
    return not names.isdisjoint({*words, *_PLACE.findall(msgspec.json.encode(mapping).decode())})


def _put(made: dict[str, Any], place: str, value: Any) -> None:
    *steps, last = place.split(".")
    for step in steps:
        below = made.setdefault(step, {})
        if not isinstance(below, dict):
            below = made[step] = {}
        made = below
    made[last] = value


def _pairs(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """A list is a repeated field; null is none; an object is its JSON."""
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, _text(one)


def _text(value: Any) -> str:
    """Halves of surrogate pairs, which no encoding knows, become `?`."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else msgspec.json.encode(value).decode()


def answer(status: int, content_type: str, body: bytes, path: str, secrets: tuple[str, ...] = ()) -> ToolAnswer:
    """What an HTTP answer says to the model, without these secrets. path: of the part that it sees."""
    hide = partial(_hidden, secrets=secrets)
    if not 200 <= status < 300:
        said = cut(_read_text(content_type, body, hide), MAX_ERROR)
        return failed(f"the service answered with HTTP {status}: {said or 'nothing'}", f"http_{status}")
    if not body.strip():
        return ToolAnswer("ok", f"done (HTTP {status}, without content)")
    if _JSON.match(content_type.lower()) or (path and not content_type.lower().startswith("text/html")):
        try:
            value = json_of(masked(body, secrets), content_type, hide=hide)
        except msgspec.DecodeError:
            if path:
                return failed("the service's answer is not JSON", "not_json")
            return ToolAnswer("ok", hide(text_of(body, content_type)))
        found = at(value, path) if path else value
        if found is MISSING:
            return failed(f"the answer has nothing at {path}: {cut(told(value), MAX_ERROR)}", "nothing_at_path")
        return ToolAnswer("ok", told(found), value=found)
    return ToolAnswer("ok", _read_text(content_type, body, hide))


def _hidden(text: str, secrets: tuple[str, ...]) -> str:
    """Two bytes a character that are not said to be such are read with a NUL beside each."""
    bare = text.replace("\0", "")
    said = masked_text(bare, secrets)
    return text if said == bare else said


def _read_text(content_type: str, body: bytes, hide: Callable[[str], str]) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and not _TEXT.match(kind) and not _JSON.match(kind):
        return f"[{len(body)} bytes of {kind}, which is no text]"
    return hide(text_of(body, content_type))
