from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from midstream.core.errors import BadRequest
from midstream.core.secret import Secret
from midstream.core.toolbox import ToolAnswer
from midstream.store import Store, open_store
from midstream.tools.web_search import MAX_RESULTS, TOOL, WebSearch

from .scripted import ORG, scope
from .web import Said, Web, door, web

KEY = "canary-serper-key"


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Engines:
    """Serper and SearXNG, each up or down. search(): asks the tool."""

    def __init__(self, serper: Web, searxng: Web, search: WebSearch, clock: Clock, store: Store) -> None:
        self.serper, self.searxng, self.tool, self.clock, self.store = serper, searxng, search, clock, store
        self.notes: list[str] = []

    async def search(self, q: str = "bridges", org: str = ORG, domains: Any = None, **more: Any) -> ToolAnswer:
        tool = TOOL
        if domains is not None:
            tool = type(TOOL)(**{**{f: getattr(TOOL, f) for f in TOOL.__struct_fields__},
                                 "target": {"name": "web_search", "domains": domains}})  # fmt: skip
        return await self.tool.run(tool, {"q": q, **more}, scope(org=org), "k", self.notes.append)

    def down(self) -> None:
        self.serper.handler = self.searxng.handler = Said(b"", 503)


def rows(*hosts: str) -> list[tuple[str, str]]:
    return [(f"About {host}", f"https://{host}/x") for host in hosts]


def google(*hosts: str) -> Said:
    return Said({"organic": [{"title": t, "link": u, "snippet": "s", "position": 1} for t, u in rows(*hosts)]})


def searx(*hosts: str) -> Said:
    return Said({"results": [{"title": t, "url": u, "content": "c"} for t, u in rows(*hosts)]})


def engines(test: Callable[[Engines], Awaitable[None]], key: str = KEY, with_searxng: bool = True) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            serper = await stack.enter_async_context(web(google("a.example", "www.b.example", "sub.b.example")))
            searxng = await stack.enter_async_context(web(searx("c.example")))
            egress = await stack.enter_async_context(door())
            clock = Clock()
            store = await open_store("sqlite://:memory:", worker="test", clock=clock)
            stack.push_async_callback(store.close)
            url = searxng.url + "/" if with_searxng else ""
            search = WebSearch(egress.send, Secret(key), url, store.searches, serper.url + "/search")
            await asyncio.wait_for(test(Engines(serper, searxng, search, clock, store)), 30)

    asyncio.run(run())


def status(answer: ToolAnswer) -> str:
    return str(answer.value["cache_status"])


def test_serper_is_asked_with_the_key_and_its_words():
    async def test(on: Engines) -> None:
        answer = await on.search(gl="no", num=2)
        assert (answer.status, status(answer)) == ("ok", "miss")
        assert [one["url"] for one in answer.value["results"]] == ["https://a.example/x", "https://www.b.example/x"]
        assert "1. About a.example\nhttps://a.example/x\ns" in answer.text
        [heard] = on.serper.heard
        assert (heard.method, heard.headers["x-api-key"]) == ("POST", KEY)
        assert heard.json == {"q": "bridges", "gl": "no", "num": 2}
        assert on.searxng.heard == []

    engines(test)


@pytest.mark.parametrize(
    "sick",
    [Said(b"", 503), Said(b"nonsense"), Said(b'{"organic":"\xe9"}'), Said({}), Said({"organic": 7}), Said(b"", 401)],
)
def test_searxng_is_asked_when_serper_is_down_and_then_what_was_kept(sick: Said):
    async def test(on: Engines) -> None:
        on.serper.handler = sick
        answer = await on.search(hl="en")
        assert [one["url"] for one in answer.value["results"]] == ["https://c.example/x"]
        assert on.searxng.heard[0].target == "/search?q=bridges&format=json&pageno=1&language=en"
        assert on.notes == ["Serper does not answer"]
        on.clock.now += 7200
        on.down()
        stale = await on.search(hl="en")
        assert (status(stale), stale.value["results"]) == ("stale", answer.value["results"])
        assert "do not answer" in stale.text
        on.clock.now += 8 * 86400
        lost = await on.search(hl="en")
        assert (lost.status, lost.error) == ("failed", "no_search")
        assert "Serper" in lost.text
        assert "SearXNG" in lost.text
        assert KEY not in lost.text

    engines(test)


def test_what_was_found_within_the_hour_is_not_asked_again_and_never_across_orgs():
    async def test(on: Engines) -> None:
        assert [status(await on.search()) for _ in range(3)] == ["miss", "hit", "hit"]
        assert status(await on.search(org="org_2")) == "miss"
        assert status(await on.search(gl="no")) == "miss"
        assert len(on.serper.heard) == 3
        on.clock.now += 3601
        assert status(await on.search()) == "miss"
        assert status(await on.search(offline_mode=True)) == "hit"
        assert (await on.search("other", offline_mode=True)).status == "failed"
        assert len(on.serper.heard) == 4

    engines(test)


def test_only_allowed_domains_are_shown_and_the_agents_list_is_the_most():
    async def test(on: Engines) -> None:
        answer = await on.search(domain_allow_list=["https://www.b.example/path"])
        assert [one["url"] for one in answer.value["results"]] == ["https://www.b.example/x", "https://sub.b.example/x"]
        assert on.serper.heard[0].json["q"] == "bridges (site:b.example)"
        answer = await on.search(domains=["b.example"], domain_allow_list=["sub.b.example", "a.example"])
        assert [one["url"] for one in answer.value["results"]] == ["https://sub.b.example/x"]
        assert (await on.search(domains=["none.example"])).text == "nothing was found"
        with pytest.raises(BadRequest, match="only these sites"):
            await on.search(domains=["b.example"], domain_allow_list=["a.example"])

    engines(test)


def test_a_list_of_sites_that_names_none_does_not_open_the_whole_web():
    async def test(on: Engines) -> None:
        for words in ([""], [" ", "."], ["https://"], ["//["]):
            for lists in (
                {"domain_allow_list": words},
                {"domains": words},
                {"domains": ["b.example"], "domain_allow_list": words},
            ):
                with pytest.raises(BadRequest, match="names no site"):
                    await on.search(**lists)
        assert on.serper.heard == []
        answer = await on.search(domain_allow_list=["", "a.example"])
        assert [one["url"] for one in answer.value["results"]] == ["https://a.example/x"]
        assert len((await on.search(domain_allow_list=[])).value["results"]) == 3

    engines(test)


def test_links_that_are_no_pages_are_not_shown_and_answers_are_bounded():
    async def test(on: Engines) -> None:
        odd = ["javascript:alert(1)", "file:///etc/passwd", "http://[", "https://ok.example/"] + [
            "https://x.example"
        ] * 90
        on.serper.handler = Said({"organic": [7, {}, *({"title": 7, "link": u, "snippet": "s" * 9999} for u in odd)]})
        results = (await on.search(num=MAX_RESULTS)).value["results"]
        assert results[0] == {"title": "", "url": "https://ok.example/", "snippet": "s" * 1000, "published": ""}
        assert len(results) == MAX_RESULTS

    engines(test)


def test_without_an_engine_it_says_what_to_configure():
    async def test(on: Engines) -> None:
        answer = await on.search()
        assert "[search]" in answer.text

    engines(test, key="", with_searxng=False)


def test_the_cache_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch):
    async def test(on: Engines) -> None:
        for n in range(6):
            on.clock.now += 1
            await on.search(f"q{n}")
        assert len(await on.store.db.read("SELECT query FROM search_cache")) <= 4

    monkeypatch.setattr("midstream.store.searches.MOST", 3)
    engines(test)
