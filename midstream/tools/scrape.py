"""Built-in tool "scrape": the readable text of one page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..core.agents import Tool
from ..core.errors import BadRequest
from ..core.http import Outgoing, Timeouts
from ..core.toolbox import ToolAnswer, ToolScope
from ..egress.answer import Answer
from ._answers import cut, failed
from ._charsets import html_of, text_of
from ._readable import Page, readable

#: Bytes of a page, bytes of text that a model is shown, and bytes after which a page is read in a thread.
MAX_PAGE, MAX_TEXT, LARGE = 4 * 1024 * 1024, 64 * 1024, 8 * 1024
REDIRECTS = 5

TOOL = Tool(
    id="builtin_scrape",
    name="scrape",
    description="Fetches one web page and gives its title and readable text.",
    kind="builtin",
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "maxLength": 4000, "description": "begins with http:// or https://"},
            "includeMarkdown": {"type": "boolean", "description": "keep headings and links as Markdown"},
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    target={"name": "scrape"},
    effect="pure",
)


class Scrape:
    """fetch: the egress's `send`, whose answers know where redirects have led."""

    def __init__(self, fetch: Callable[[Outgoing], Awaitable[Answer]]) -> None:
        self._fetch = fetch

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        url = str(arguments.get("url", "")).strip()
        if not url.lower().startswith(("http://", "https://")):
            raise BadRequest("url begins with http:// or https://", param="url")
        headers = (("accept", "text/html, application/xhtml+xml, text/plain;q=0.9, */*;q=0.5"),)
        timeouts = Timeouts(first_byte=20.0, total=tool.timeout_seconds or 30.0)
        answer = await self._fetch(Outgoing("GET", url, headers, b"", False, timeouts, REDIRECTS))
        try:
            body = await answer.read(MAX_PAGE)
        finally:
            answer.close()
        kind = answer.headers.get("content-type", "text/html")
        value: dict[str, Any] = {"title": "", "url": answer.url, "status": answer.status, "content_type": kind,
                                 "text": "", "metadata": {}}  # fmt: skip
        given = (kind, body, bool(arguments.get("includeMarkdown")), answer.url)
        page = await asyncio.to_thread(_read, *given) if len(body) > LARGE else _read(*given)
        value |= {"title": page.title, "text": page.text, "metadata": page.metadata}
        value["text"] = cut(value["text"], MAX_TEXT)
        text = f"{value['title'] or 'no title'}\n{answer.url} (HTTP {answer.status})\n\n{value['text']}"
        if answer.status >= 400:
            return failed(cut(text, 8192), f"http_{answer.status}")
        return ToolAnswer("ok", text, value=value)


def _read(kind: str, body: bytes, marks: bool, base: str) -> Page:
    media = kind.partition(";")[0].strip().lower()
    if media in ("text/html", "application/xhtml+xml", ""):
        return readable(html_of(body, kind), marks=marks, base=base)
    if media.startswith("text/") or media.endswith(("json", "xml", "javascript")):
        return Page("", text_of(body, kind), {})
    return Page("", f"[{len(body)} bytes of {media}, which is no text]", {})
