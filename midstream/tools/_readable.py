"""What a person would read of an HTML page.

No tree is built: parsers that build one take the square of a page's size when its author wants them to. This walks
over the tags once, so the worst page costs as much as the best."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

from msgspec import Struct

#: Their content is no text of the page. The first ones hold anything up to their own end tag.
_RAW = frozenset({"script", "style", "noscript", "template", "iframe", "textarea", "xmp", "svg", "canvas", "object"})
_SKIPPED = frozenset({"nav", "form", "button", "select", "head", "dialog"})
_LINES = frozenset({"br", "tr", "dt", "dd", "hr"})
_BLOCKS = frozenset(
    {"p", "div", "section", "article", "main", "header", "footer", "aside", "ul", "ol", "table", "blockquote",
     "pre", "figure", "figcaption", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "body"}
)  # fmt: skip
_META = frozenset({"description", "author", "keywords", "og:title", "og:description", "og:site_name", "og:type",
                   "article:published_time"})  # fmt: skip
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9:-]{0,30})")
_ATTRIBUTE = re.compile(r"""([A-Za-z:-]{1,30})(?:\s{0,5}=\s{0,5}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_SPACES, _BLANK = re.compile(r"[ \t\r\f\v\u00a0]+"), re.compile(r"\n{3,}")
_LONG = re.compile(r"&#[0-9]{1000,};?")
MAX_META, MAX_TAG, MAX_LINK = 1000, 4000, 2000


class Page(Struct, frozen=True):
    """text: with `marks` as Markdown (headings, links), else plain. metadata: by the names that pages use."""

    title: str
    text: str
    metadata: dict[str, str]


def readable(html: str, *, marks: bool = False, base: str = "") -> Page:
    """base: the page's own address, from which its links go on."""
    return _Reader(html, marks, base).page()


class _Reader:
    def __init__(self, html: str, marks: bool, base: str) -> None:
        self._html = html
        self._marks = marks
        self._base, self._based = base, False
        self._pieces: list[str] = []
        self._title = ""
        self._metadata: dict[str, str] = {}
        self._hidden = ""  # the tag whose content is passed over, and how often it was opened in itself
        self._depth = 0
        self._main: tuple[int, int] | None = None
        self._links: list[str] = []
        self._unclosed: set[str] = set()

    def page(self) -> Page:
        html, at = self._html, 0
        while (start := html.find("<", at)) >= 0:
            self._say(html[at:start])
            at = self._markup(start)
        self._say(html[at:])
        first, last = self._main or (0, len(self._pieces))
        text = "".join(self._pieces[first : last or len(self._pieces)])
        if not text.strip():
            text = "".join(self._pieces)
        lines = [_SPACES.sub(" ", line).strip() for line in text.split("\n")]
        return Page(self._title[:MAX_META], _BLANK.sub("\n\n", "\n".join(lines)).strip(), self._metadata)

    def _say(self, text: str) -> None:
        if text and not self._hidden:
            self._pieces.append(_unescaped(text).replace("\n", " "))

    def _markup(self, start: int) -> int:
        """What begins with this `<`; where the page goes on after it."""
        html = self._html
        if html.startswith("<!--", start):
            return self._after("-->", start + 4)
        match = _TAG.match(html, start)
        if match is None:
            if html[start + 1 : start + 2] in ("!", "?", "/"):
                return self._after(">", start + 1)
            self._say("<")
            return start + 1
        end = self._end_of_tag(match.end())
        name = match[1].lower()
        if html[start + 1] == "/":
            self._close(name)
            return end
        attributes = _attributes(html[match.end() : min(end, match.end() + MAX_TAG)])
        if name == "title" and not self._title:
            stop = self._find("</title", end)
            self._title = _SPACES.sub(" ", _unescaped(html[end : min(stop, end + 4000)]).replace("\n", " ")).strip()
            return stop
        if name in _RAW:
            return end if html[end - 2 : end] == "/>" else self._find(f"</{name}", end)
        self._open(name, attributes)
        return end

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if name == "meta":
            key = (attributes.get("name") or attributes.get("property") or "").lower()
            if key in _META and attributes.get("content"):
                self._metadata.setdefault(key, attributes["content"][:MAX_META])
        elif name == "html" and attributes.get("lang"):
            self._metadata["language"] = attributes["lang"][:35]
        elif name == "base" and attributes.get("href") and not self._based:  # the first one counts
            self._base, self._based = _link(self._base, attributes["href"]) or self._base, True
        if self._hidden:
            self._depth += name == self._hidden
            return
        if name in _SKIPPED or ("hidden" in attributes and name not in ("input", "body")) or (
            attributes.get("aria-hidden") == "true" and name in _BLOCKS
        ):  # fmt: skip
            self._hidden, self._depth = name, 1
            return
        if name in ("main", "article") and self._main is None:
            self._main = (len(self._pieces), 0)
        self._pieces.append(self._before(name, attributes))

    def _before(self, name: str, attributes: dict[str, str]) -> str:
        if name == "li":
            return "\n- "
        if name in ("td", "th"):
            return " "
        if self._marks and name == "a":
            self._links.append(_link(self._base, attributes.get("href", "")))
            return "[" if self._links[-1] else ""
        if self._marks and len(name) == 2 and name[0] == "h" and name[1].isdigit():
            return f"\n\n{'#' * int(name[1])} "
        return "\n\n" if name in _BLOCKS else "\n" if name in _LINES else ""

    def _close(self, name: str) -> None:
        if self._hidden:
            if name == self._hidden or (self._hidden == "head" and name == "body"):
                self._depth -= 1
                if not self._depth:
                    self._hidden = ""
            return
        if self._marks and name == "a" and self._links:
            link = self._links.pop()
            self._pieces.append(f"]({link})" if link else "")
        elif name in _BLOCKS or name == "li":
            self._pieces.append("\n\n" if name in _BLOCKS else "\n")
        if name in ("main", "article") and self._main is not None and not self._main[1]:
            self._main = (self._main[0], len(self._pieces))

    def _end_of_tag(self, at: int) -> int:
        """After the `>` that ends a tag; one in quotes does not, unless the quote is never closed."""
        html = self._html
        stop = html.find(">", at)
        if stop < 0:
            return len(html)
        for quote in ('"', "'"):
            opened = html.find(quote, at, stop)
            while opened >= 0:
                closed = html.find(quote, opened + 1, opened + MAX_TAG)
                if closed < 0:
                    break
                if closed > stop:
                    stop = html.find(">", closed)
                    if stop < 0:
                        return len(html)
                opened = html.find(quote, closed + 1, stop)
        return stop + 1

    def _after(self, mark: str, at: int) -> int:
        found = self._find(mark, at)
        return min(found + len(mark), len(self._html))

    def _find(self, mark: str, at: int) -> int:
        """Where mark stands next, or the end. What was not found once is not looked for again."""
        if mark in self._unclosed:
            return len(self._html)
        found = re.compile(re.escape(mark), re.IGNORECASE).search(self._html, at)
        if found is None:
            self._unclosed.add(mark)
            return len(self._html)
        return found.start()


def _unescaped(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:  # Python reads no number of so many digits, and no character has it
        return unescape(_LONG.sub("\ufffd", text))


def _link(base: str, href: str) -> str:
    """Where a link of the page leads, "" = to no other page."""
    href = href.strip()
    if not href or href.startswith("#") or len(href) > MAX_LINK:
        return ""
    try:
        link = urljoin(base, href)
    except ValueError:
        return ""
    web = link[:8].lower().startswith(("http://", "https://"))
    return link.replace(" ", "%20") if web and len(link) <= MAX_LINK else ""


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        found.setdefault(match[1].lower(), _unescaped(match[2] or match[3] or match[4] or ""))
    return found
