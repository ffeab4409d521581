from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest, MidstreamError
from midstream.core.toolbox import ToolAnswer
from midstream.tools._charsets import html_of
from midstream.tools._readable import readable
from midstream.tools.scrape import TOOL, Scrape

from .scripted import scope
from .web import Heard, Said, door, web

PAGE = """<!doctype html><html lang="en"><head><title> A  page
of bridges</title><meta name="description" content="All bridges"><meta property="og:site_name" content="Bridges">
<style>p{}</style></head><body><nav>Menu</nav><script>alert("no")</script><main><h1>Bridges</h1>
<p>The <b>first</b> one &amp; <a href="https://x.example/a">more</a>.</p><ul><li>Oslo</li><li>Bergen</li></ul>
<table><tr><th>Name</th><td>1</td></tr></table><p hidden>secret</p><div aria-hidden="true">no</div></main>
<footer>Foot</footer></body></html>"""


def scraped(said: Any, path: str = "/x", **more: Any) -> ToolAnswer:
    async def run() -> ToolAnswer:
        async with web(said) as there, door(there.host) as egress:
            arguments = {"url": there.url + path, **more}
            return await Scrape(egress.send).run(TOOL, arguments, scope(), "k", lambda text: None)

    return asyncio.run(run())


def page(text: str | bytes, kind: str = "text/html; charset=utf-8", status: int = 200) -> Said:
    return Said(text, status, {"content-type": kind})


def test_a_page_gives_its_title_text_address_status_and_metadata():
    answer = scraped(page(PAGE))
    value = answer.value
    assert answer.status == "ok"
    assert (value["title"], value["status"]) == ("A page of bridges", 200)
    assert value["url"].endswith("/x")
    assert value["metadata"] == {"description": "All bridges", "og:site_name": "Bridges", "language": "en"}
    assert value["text"] == "Bridges\n\nThe first one & more.\n\n- Oslo\n\n- Bergen\n\nName 1"
    assert answer.text.startswith("A page of bridges\nhttp://127.0.0.1")
    marked = scraped(page(PAGE), includeMarkdown=True).value["text"]
    assert "# Bridges\n\nThe first one & [more](https://x.example/a)." in marked


def test_the_address_is_where_redirects_have_led():
    async def moved(heard: Heard) -> Said:
        return page("<p>there") if heard.target == "/there" else Said(b"", 302, {"location": "/there"})

    assert scraped(moved).value["url"].endswith("/there")


@pytest.mark.parametrize(
    "href, link",
    [
        ("/l", "http://x.example/l"), ("l?a=1&amp;b=2", "http://x.example/d/l?a=1&b=2"), ("../up", "http://x.example/up"),
        ("//other.example/x", "http://other.example/x"), ("?q", "http://x.example/d/page?q"),
        (" https://y.example/a b\n", "https://y.example/a%20b"), ("HTTPS://Y.example/", "HTTPS://Y.example/"),
        ("#part", ""), ("", ""), ("javascript:1", ""), ("mailto:a@x.example", ""), ("http://[", ""), ("x" * 2001, ""),
    ],
)  # fmt: skip
def test_links_lead_where_they_lead_from_the_page(href: str, link: str):
    html = f"<p>see <a href='{href}'>this</a>"
    shown = f"see [this]({link})" if link else "see this"
    assert readable(html, marks=True, base="http://x.example/d/page").text == shown
    assert readable(html, base="http://x.example/d/page").text == "see this"


def test_links_go_on_from_the_address_after_redirects_or_from_the_pages_own_base():
    async def moved(heard: Heard) -> Said:
        if heard.target == "/x":
            return Said(b"", 302, {"location": "/deep/there"})
        return page("<a href=l>one</a>")

    text = scraped(moved, includeMarkdown=True).value["text"]
    assert text.startswith("[one](http://127.0.0.1:")
    assert text.endswith("/deep/l)")
    based = "<head><base href='/b/'><base href='/c/'></head><body><a href=l>one</a>"
    assert readable(based, marks=True, base="http://x.example/d/").text == "[one](http://x.example/b/l)"


@pytest.mark.parametrize(
    "said, text",
    [
        (page(b"<p>caf\xe9", "text/html; charset=latin-1"), "caf\u00e9"),
        (page(b"caf\xe9", "text/plain; charset=latin-1"), "caf\u00e9"),
        (page(b'<meta charset="utf-8"><p>caf\xc3\xa9', "text/html"), "caf\u00e9"),
        (page(b'{"a":1}', "application/json"), '{"a":1}'),
        (page(b"\x89PNG", "image/png"), "[4 bytes of image/png, which is no text]"),
        (page(b"<p>x", "text/html; charset=nonsense"), "x"),
        (page(b"", "text/html"), ""),
    ],
)
def test_pages_are_read_by_their_type_and_encoding(said: Said, text: str):
    assert scraped(said).value["text"] == text


def test_a_page_is_read_beside_everything_else_that_is_done():
    async def run() -> float:
        worst = 0.0

        async def watch() -> None:
            nonlocal worst
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                worst = max(worst, time.perf_counter() - before)

        said = page(b"<p>" + b"a-" + b"a9" * 100_000, "text/html; charset=punycode")
        async with web(said) as there, door(there.host) as egress:
            watching = asyncio.ensure_future(watch())
            answer = await Scrape(egress.send).run(TOOL, {"url": there.url}, scope(), "k", lambda text: None)
            await asyncio.sleep(0.01)
            watching.cancel()
            assert answer.status == "ok"
        return worst

    assert asyncio.run(run()) < 1.0


def test_a_number_of_thousands_of_digits_is_no_character():
    for digits in ("1" * 5000, "0" * 5000 + "65"):
        html = f"<title>t&#{digits};</title><p title='&#{digits}'>a&#{digits};b&#65;"
        assert readable(html).text == "a\ufffdbA"
        assert readable(html).title == "t\ufffd"


def test_a_page_that_is_not_there_is_a_failure_with_its_words():
    answer = scraped(page("<title>Gone</title><p>No such bridge", status=404))
    assert (answer.status, answer.error) == ("failed", "http_404")
    assert "No such bridge" in answer.text


def test_large_pages_are_cut_and_endless_ones_refused():
    answer = scraped(page("<p>" + "word " * 100_000))
    assert len(answer.value["text"].encode()) <= 64 * 1024
    assert "bytes in all" in answer.value["text"]
    with pytest.raises(MidstreamError, match="larger than"):
        scraped(page("x" * 5_000_000))


@pytest.mark.parametrize(
    "url", ["ftp://x.example", "file:///etc/passwd", "/etc/passwd", "", "javascript:1", "gopher://x"]
)
def test_only_web_pages_are_fetched(url: str):
    async def run() -> None:
        async with door() as egress:
            with pytest.raises(BadRequest):
                await Scrape(egress.send).run(TOOL, {"url": url}, scope(), "k", lambda text: None)

    asyncio.run(run())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "[::ffff:7f00:1]", "user:word@127.0.0.1", "0"]
)
def test_a_private_page_is_never_fetched(host: str):
    async def run() -> None:
        async with web(page("<p>inside")) as trap, door() as egress:
            with pytest.raises(BadRequest):
                await Scrape(egress.send).run(
                    TOOL, {"url": f"http://{host}:{trap.port}/"}, scope(), "k", lambda text: None
                )
            assert trap.connections == 0

    asyncio.run(run())


@given(
    st.text(max_size=300)
    | st.text("<>/abdivnp'\"=! -&;", max_size=300)
    | st.text(max_size=99).map("<p><li><td>{}".format)
)
def test_anything_is_read_as_some_page(html: str):
    for marks in (False, True):
        found = readable(html, marks=marks)
        assert "\n\n\n" not in found.text
        assert found.text == found.text.strip()


@pytest.mark.parametrize(
    "piece",
    ["<div>", "<p", "<a href='", '<a href="', "<b ", "<!--", "<script>", "</", "<nav>", "&", "<title>", "<a href='>",
     "<x a=\"'>", "<", "<meta charset=", "<svg><g/>"],
)  # fmt: skip
def test_a_page_made_to_be_slow_costs_no_more_than_twice_as_much_when_it_is_twice_as_long(piece: str):
    def cost(times: int) -> float:
        before = time.process_time()
        readable(piece * times)
        readable(piece * times, marks=True, base="http://x.example/")
        html_of((piece * times).encode(), "")
        return time.process_time() - before

    cost(2_000)
    assert cost(160_000) < 30 * max(cost(20_000), 0.01)  # the square would be 64 times as much
