"""Built-in tool "web_search": Serper, then SearXNG, then what was found before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from ..core.agents import Tool
from ..core.errors import BadRequest, Garbled, MidstreamError, Refused, StoreDown
from ..core.http import Outgoing, Send, Timeouts
from ..core.secret import Secret
from ..core.toolbox import ToolAnswer, ToolScope
from ..store.searches import Searches
from ._answers import failed
from ._charsets import json_of

SERPER = "https://google.serper.dev/search"
#: Seconds that a search is as good as new, and that it is better than none. Results, and characters of each.
FRESH, STALE = 3600.0, 7 * 86400.0
MAX_RESULTS, MAX_SNIPPET, MAX_ANSWER = 20, 1000, 2 * 1024 * 1024
TIMEOUTS = Timeouts(first_byte=10.0, total=15.0)

CacheStatus: TypeAlias = Literal["hit", "miss", "stale"]

TOOL = Tool(
    id="builtin_web_search",
    name="web_search",
    description="Searches the web. Gives titles, addresses and short texts, best first.",
    kind="builtin",
    parameters={
        "type": "object",
        "properties": {
            "q": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "what to search for"},
            "num": {"type": "integer", "minimum": 1, "maximum": MAX_RESULTS, "description": "results, 10 by default"},
            "gl": {"type": "string", "maxLength": 10, "description": "country, e.g. us"},
            "hl": {"type": "string", "maxLength": 10, "description": "language, e.g. en"},
            "location": {"type": "string", "maxLength": 200},
            "tbs": {"type": "string", "maxLength": 50, "description": "time range, e.g. qdr:w"},
            "page": {"type": "integer", "minimum": 1, "maximum": 20},
            "autocorrect": {"type": "boolean"},
            "domain_allow_list": {
                "type": "array",
                "items": {"type": "string", "maxLength": 253},
                "maxItems": 50,
                "description": "only these sites and their subdomains",
            },
            "offline_mode": {"type": "boolean", "description": "only what was found before"},
        },
        "required": ["q"],
        "additionalProperties": False,
    },
    target={"name": "web_search"},
    effect="pure",
)


class Found(Struct, frozen=True):
    """One result. published: as the engine writes it."""

    title: str
    url: str
    snippet: str = ""
    published: str = ""


class WebSearch:
    """key: Serper's ("" = not used). searxng: base URL ("" = not used), written by the operator.
    cache: of an org. serper: where Serper is."""

    def __init__(
        self, send: Send, key: Secret, searxng: str, cache: Callable[[str], Searches], serper: str = SERPER
    ) -> None:
        self._send = send
        self._key = key
        self._searxng = searxng.rstrip("/")
        self._cache = cache
        self._serper = serper

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        asked = {name: value for name, value in arguments.items() if name != "offline_mode"}
        domains = _domains(arguments.get("domain_allow_list"), tool.target.get("domains"))
        asked["domain_allow_list"] = domains
        name = hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()
        cache = self._cache(scope.org)
        kept = await cache.find(name)
        if kept is not None and kept[1] < FRESH:
            return _told(msgspec.json.decode(kept[0], type=list[Found]), "hit")
        problems: list[str] = []
        found = None if arguments.get("offline_mode") else await self._ask(asked, domains, note, problems)
        if found is not None:
            await cache.keep(name, msgspec.json.encode(found))
            return _told(found, "miss")
        if kept is not None and kept[1] < STALE:
            return _told(msgspec.json.decode(kept[0], type=list[Found]), "stale")
        return failed("nothing can be searched now: " + ("; ".join(problems) or "no search was kept"), "no_search")

    async def _ask(
        self, asked: dict[str, Any], domains: Sequence[str], note: Callable[[str], None], problems: list[str]
    ) -> list[Found] | None:
        """None when no engine answers; problems says why."""
        engines = [(name, ask) for name, there, ask in (
            ("Serper", bool(self._key), self._ask_serper), ("SearXNG", bool(self._searxng), self._ask_searxng),
        ) if there]  # fmt: skip
        if not engines:
            problems.append("no search engine is configured ([search] in midstream.toml)")
        for name, ask in engines:
            try:
                found = await ask(asked, domains)
                return [one for one in found if _allowed(one.url, domains)][: int(asked.get("num") or 10)]
            except StoreDown:
                raise
            except MidstreamError as error:
                problems.append(f"{name}: {error.message}")
                note(f"{name} does not answer")
        return None

    async def _ask_serper(self, asked: dict[str, Any], domains: Sequence[str]) -> list[Found]:
        fields = {name: value for name, value in asked.items() if name != "domain_allow_list"}
        fields["q"] = _narrowed(asked["q"], domains)
        headers = (("x-api-key", self._key.reveal()), ("content-type", "application/json"))
        value = await self._exchange(
            Outgoing("POST", self._serper, headers, msgspec.json.encode(fields), True, TIMEOUTS)
        )
        return _results(value, "organic", "link", "snippet", "date")

    async def _ask_searxng(self, asked: dict[str, Any], domains: Sequence[str]) -> list[Found]:
        fields = {"q": _narrowed(asked["q"], domains), "format": "json", "pageno": str(asked.get("page") or 1)}
        if asked.get("hl"):
            fields["language"] = str(asked["hl"])
        url = f"{self._searxng}/search?{urlencode(fields)}"
        value = await self._exchange(Outgoing("GET", url, (("accept", "application/json"),), b"", True, TIMEOUTS))
        return _results(value, "results", "url", "content", "publishedDate")

    async def _exchange(self, outgoing: Outgoing) -> Any:
        incoming = await self._send(outgoing)
        try:
            body = await incoming.read(MAX_ANSWER)
        finally:
            incoming.close()
        if incoming.status != 200:
            raise Refused(f"HTTP {incoming.status}", status=502)
        try:
            return json_of(body, incoming.headers.get("content-type", ""))
        except msgspec.DecodeError:
            raise Garbled("its answer is not JSON") from None


def _results(value: Any, among: str, url: str, snippet: str, published: str) -> list[Found]:
    rows = value.get(among) if isinstance(value, Mapping) else None
    if not isinstance(rows, list):
        raise Garbled(f"its answer has no {among}")
    return [
        Found(_short(row.get("title")), str(row[url])[:2000], _short(row.get(snippet)), _short(row.get(published)))
        for row in rows[:100]
        if isinstance(row, Mapping) and isinstance(row.get(url), str)
    ]


def _short(value: Any) -> str:
    return value[:MAX_SNIPPET] if isinstance(value, str) else ""


def _domains(*lists: Any) -> list[str]:
    """Of the model's list and the agent's, what both allow; one that is missing or empty allows all. Raises BadRequest
    when one names no site at all, and when they have nothing in common."""
    given = [[name for one in words if (name := _bare(one))] for words in lists if isinstance(words, list) and words]
    if not all(given):
        raise BadRequest("domain_allow_list: names no site, such as example.org", param="domain_allow_list")
    if len(given) < 2:
        return sorted({one for words in given for one in words})
    first, second = given
    both = {one for one in first if _within(one, second)} | {one for one in second if _within(one, first)}
    if not both:
        raise BadRequest(f"only these sites may be searched: {', '.join(second)}", param="domain_allow_list")
    return sorted(both)


def _bare(domain: Any) -> str:
    """An empty text where it names none."""
    text = str(domain).strip().lower()
    try:
        host = urlsplit(text).hostname or "" if "//" in text else text.split("/")[0]
    except ValueError:
        return ""
    return host.removeprefix("www.").strip(".")


def _within(host: str, domains: Sequence[str]) -> bool:
    return any(host == one or host.endswith(f".{one}") for one in domains)


def _allowed(url: str, domains: Sequence[str]) -> bool:
    try:
        split = urlsplit(url)
        host = (split.hostname or "").removeprefix("www.")
    except ValueError:
        return False
    return split.scheme in ("http", "https") and (not domains or _within(host, domains))


def _narrowed(query: str, domains: Sequence[str]) -> str:
    return f"{query} ({' OR '.join(f'site:{one}' for one in domains[:10])})" if domains else query


def _told(found: list[Found], status: CacheStatus) -> ToolAnswer:
    lines = [f"{n}. {one.title}\n{one.url}\n{one.snippet}".rstrip() for n, one in enumerate(found, 1)]
    note = "(found before; the search engines do not answer now)\n" if status == "stale" else ""
    value = {"cache_status": status, "results": [msgspec.to_builtins(one) for one in found]}
    return ToolAnswer("ok", note + ("\n\n".join(lines) or "nothing was found"), value=value)
