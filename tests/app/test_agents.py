from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream import providers as kinds
from midstream.app import agents as module
from midstream.app.agents import AgentLoader
from midstream.app.catalog import Catalog, Served
from midstream.app.models_of import Models, lendable
from midstream.app.supervisor import Supervisor
from midstream.core.agents import AgentAsk, HttpTool, PreTool, Spec, Tool, Variable
from midstream.core.errors import BadRequest, Conflict, NotFound
from midstream.core.ids import as_uuid
from midstream.core.registry import modules_of
from midstream.providers._service import Provider
from midstream.store import Store, open_store

from ..postgres import Server, postgres
from .asgi import Here, here

ORG, OTHER = "org_default", "org_b"
SERVICES = {name: module.SERVICE for name, module in modules_of(kinds).items()}
SEARCH = Tool("web_search", "web_search", kind="builtin", target={"name": "web_search"})


async def nowhere(outgoing: Any) -> Any:
    raise AssertionError("nothing is sent")


class Counting:
    """Counts what is asked of a database. before: what happens before which read."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.reads = 0
        self.before: dict[int, Callable[[], Awaitable[None]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def read(self, sql: str, *args: Any) -> Any:
        await self._one_more()
        return await self._db.read(sql, *args)

    async def look_up(self, sql: str, *args: Any) -> Any:
        await self._one_more()
        return await self._db.look_up(sql, *args)

    async def _one_more(self) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if meanwhile := self.before.pop(self.reads, None):
            await meanwhile()


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fixture:
    """A server with its loader."""

    def __init__(self, store: Store) -> None:
        self.store = store
        store.seal_with(b"k" * 32)
        self.db: Any = Counting(store.db)
        store.db = self.db
        self.time = Time()
        served = {"midstream": Served(Provider("midstream", SERVICES["midstream"], nowhere), ("rehearsal",))}
        providers = lendable(served, SERVICES, (), nowhere)
        self.models = Models(Catalog(served, {}), served, SERVICES, providers)
        self.loader = AgentLoader(store, self.models, self.time, {"web_search": SEARCH})

    async def published(self, slug: str = "helper", org: str = ORG, **spec: Any) -> tuple[str, str]:
        """Ids of an agent and its version."""
        agents = self.store.org(org).agents
        row, version = await agents.create(slug.title(), slug, msgspec.json.encode(Spec(**spec)))
        await agents.publish(version)
        self.loader.forget(org)
        return row.id, version.id

    async def load(self, agent: str, version: str = "", org: str = ORG) -> Any:
        return await self.loader.load(org, AgentAsk(agent=agent, version=version))

    async def reads(self, agent: str, version: str = "") -> int:
        before = self.db.reads
        await self.load(agent, version)
        return int(self.db.reads - before)


def with_loader(url: str, test: Callable[[Fixture], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await open_store(url, worker="test")
        try:
            await store.db.write([("INSERT INTO orgs (id, name, created_at) VALUES ('org_b', 'b', 0)", ())])
            await test(Fixture(store))
        finally:
            await store.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/m.db"
    return str(request.getfixturevalue("server").create())


def test_an_agent_is_loaded_whole(url: str):
    async def test(f: Fixture) -> None:
        org = f.store.org(ORG)
        tool = (await org.tools.create("weather", "http", msgspec.json.encode(Tool("", "weather")))).id
        before = (await org.tools.create("who", "http", msgspec.json.encode(Tool("", "who")))).id
        friend, _ = await f.published("friend")
        template = (await org.nouns.create("template", "t", b'{"name":"t","template":"T: {{prompt}}"}')).id
        server = await org.nouns.create(
            "mcp_server", "wiki", b'{"name":"wiki","url":"https://w"}', secret='{"a":"hush"}'
        )
        await org.nouns.create("service_key", "k", b'{"name":"k","service":"groq"}', secret="gsk-1")
        await org.nouns.put_secret("TOKEN", "t-1")
        await org.nouns.change_settings({"timezone": "Europe/Berlin"})
        id, version = await f.published(
            tool_ids=(tool, "tool_gone"),
            pre_tools=(PreTool(before, {"x": 1}),),
            connected_agents={"friend": {"agent_id": as_uuid(friend), "description": "knows", "transfer": True}},
            built_in_tools=("web_search",),
            mcp_servers=("wiki",),
            variables_state={"name": Variable(required=True)},
        )
        loaded = await f.load("helper")
        assert (loaded.org, loaded.id, loaded.version_id, loaded.timezone) == (ORG, id, version, "Europe/Berlin")
        assert [(one.id, one.name, one.kind) for one in loaded.tools] == [
            (tool, "weather", "http"), (friend, "friend", "agent"), ("web_search", "web_search", "builtin"),
        ]  # fmt: skip
        assert loaded.tools[1].target == {"agent_id": friend, "transfer": True}
        assert loaded.tools[1].parameters["required"] == ["message"]
        assert [(one.tool_id, made.name) for one, made in loaded.pre_tools] == [(before, "who")]
        assert loaded.templates == {template: "T: {{prompt}}"}
        assert {name: one.reveal() for name, one in loaded.secrets.items()} == {"TOKEN": "t-1"}  # none of a noun's
        [wiki] = loaded.servers
        assert (wiki.id, wiki.headers["a"].reveal()) == (server.id, "hush")
        assert "hush" not in repr(loaded)
        assert f.models.targets(ORG, "groq", "llama", {}, None)[0].keys != ("0",)
        assert loaded.spec.variables_state == {"name": Variable(required=True)}

    with_loader(url, test)


def test_every_spelling_leads_to_one_agent_and_a_version_of_any_status_is_loaded_by_name(tmp_path: Path):
    async def test(f: Fixture) -> None:
        id, first = await f.published(memory=False)
        draft = await f.store.org(ORG).agents.draft(id, msgspec.json.encode(Spec(memory=True)))
        for spelling in (id, as_uuid(id), as_uuid(id).upper(), id.removeprefix("agt_"), "helper"):
            assert (await f.load(spelling)).id == id
            assert (await f.load(spelling)).version_id == first
            assert (await f.load(spelling, draft.id)).spec.memory is True
            assert (await f.load(spelling, draft.id.removeprefix("ver_"))).version_id == draft.id

    with_loader(f"sqlite:///{tmp_path}/m.db", test)


def test_a_turn_without_an_agent_has_its_orgs_templates_zone_and_keys(tmp_path: Path):
    async def test(f: Fixture) -> None:
        await f.store.org(ORG).nouns.create("service_key", "k", b'{"name":"k","service":"groq"}', secret="gsk-1")
        loaded = await f.load("")
        assert (loaded.id, loaded.spec, loaded.timezone) == ("", Spec(), "UTC")
        assert f.models.targets(ORG, "groq", "llama", {}, None)

    with_loader(f"sqlite:///{tmp_path}/m.db", test)


@pytest.mark.parametrize("warm", [False, True])
def test_another_orgs_agent_is_as_unknown_as_none_cold_and_warm(url: str, warm: bool):
    async def test(f: Fixture) -> None:
        id, version = await f.published()
        mine, my_version = await f.published("mine", OTHER)
        if warm:
            await f.load(id)
            await f.load(mine, org=OTHER)
        for agent, wanted in ((id, ""), ("helper", ""), (id, version), (mine, version)):
            texts = []
            for ids in ((agent, wanted), ("agt_" + "0" * 24, wanted) if agent != mine else (mine, "ver_" + "0" * 24)):
                with pytest.raises(NotFound) as refused:
                    await f.load(*ids, org=OTHER)
                texts.append(
                    (refused.value.code, refused.value.message.replace(ids[0], "ID").replace(ids[1] or "-", "V"))
                )
            assert texts[0] == texts[1]
        assert (await f.load(mine, my_version, OTHER)).org == OTHER

    with_loader(url, test)


def test_two_orgs_with_one_slug_each_get_their_own_agent(url: str):
    async def test(f: Fixture) -> None:
        mine, _ = await f.published("same", ORG)
        theirs, _ = await f.published("same", OTHER)
        for _ in range(2):
            assert (await f.load("same", org=ORG)).id == mine
            assert (await f.load("same", org=OTHER)).id == theirs

    with_loader(url, test)


def test_an_agent_that_is_paused_or_not_published_says_so(tmp_path: Path):
    async def test(f: Fixture) -> None:
        agents = f.store.org(ORG).agents
        row, version = await agents.create("New", "new", b"{}")
        with pytest.raises(BadRequest) as unpublished:
            await f.load("new")
        assert unpublished.value.code == "agent_not_published"
        assert (await f.load("new", version.id)).version_id == version.id
        await agents.change(row.id, status="paused")
        f.loader.forget(ORG)
        for _ in range(2):
            with pytest.raises(Conflict) as paused:
                await f.load("new", version.id)
            assert paused.value.code == "agent_paused"

    with_loader(f"sqlite:///{tmp_path}/m.db", test)


def test_a_warm_load_reads_nothing_and_a_second_later_one_number(url: str):
    async def test(f: Fixture) -> None:
        tools = [(await f.store.org(ORG).tools.create("t", "http", b'{"id":"","name":"t"}')).id for _ in range(20)]
        id, _ = await f.published(tool_ids=tuple(tools))
        assert await f.reads(id) <= 8
        assert await f.reads(id) == 0
        f.time.now += 0.99
        assert await f.reads(id) == 0
        f.time.now += 0.02
        assert await f.reads(id) == 1
        assert await f.reads(id) == 0
        await f.published("another")
        await f.load(id)
        assert await f.reads("another") <= 2

    with_loader(url, test)


def test_of_many_that_ask_at_once_one_reads(tmp_path: Path):
    async def test(f: Fixture) -> None:
        id, _ = await f.published()
        before = f.db.reads
        await asyncio.gather(*(f.load(id) for _ in range(50)))
        assert f.db.reads - before <= 8

    with_loader(f"sqlite:///{tmp_path}/m.db", test)


def test_what_was_read_while_it_changed_is_not_believed(tmp_path: Path):
    async def test(f: Fixture) -> None:
        id, first = await f.published()
        agents = f.store.org(ORG).agents
        second = await agents.draft(id, msgspec.json.encode(Spec(memory=True)))
        for pauses in range(12):  # the change comes after so many steps of a load under way
            loading = asyncio.ensure_future(f.load(id))
            for _ in range(pauses):
                await asyncio.sleep(0)
            row = await agents.version(id, second.id if pauses % 2 == 0 else first)
            await agents.publish(row)
            f.loader.forget(ORG)
            await loading
            assert (await f.load(id)).version_id == row.id, pauses
            f.loader.forget(ORG)

    with_loader(f"sqlite:///{tmp_path}/m.db", test)


def test_what_another_server_changed_is_seen_within_a_second(server: Server):
    url = server.create()

    async def test(f: Fixture) -> None:
        beside = await open_store(url, worker="other")
        try:
            there = Fixture(beside)
            id, first = await f.published()
            assert (await there.load(id)).version_id == first
            changes: Mapping[str, Callable[[], Awaitable[Any]]] = {
                "template": lambda: f.store.org(ORG).nouns.create("template", "t", b'{"template":"x"}'),
                "secret": lambda: f.store.org(ORG).nouns.put_secret("A", "a"),
                "timezone": lambda: f.store.org(ORG).nouns.change_settings({"timezone": "Asia/Tokyo"}),
            }
            for change in changes.values():
                await change()
            second = await f.store.org(ORG).agents.draft(id, b"{}")
            await f.store.org(ORG).agents.publish(second)
            there.time.now += 1.0
            loaded = await there.load(id)
            assert (loaded.version_id, loaded.timezone) == (second.id, "Asia/Tokyo")
            assert len(loaded.templates) == len(loaded.secrets) == 1
            await f.store.org(ORG).agents.change(id, status="paused")
            there.time.now += 1.0
            with pytest.raises(Conflict):
                await there.load(id)
        finally:
            await beside.close()

    with_loader(url, test)


A, B = "https://a.example.org/x", "https://b.example.org/x"


@pytest.mark.parametrize("given", [True, False])
def test_what_was_sealed_for_one_address_is_never_found_with_another_one(url: str, given: bool):
    """Whenever another server moves a tool and an MCP server. given: the move brings a credential of its own."""

    def tool_at(address: str, id: str) -> bytes:
        headers = {"authorization": f"{{{{secret:{id}.authorization}}}}"}
        return msgspec.json.encode(Tool("", "t", http=HttpTool(url=address, headers=headers)))

    def server_at(address: str) -> bytes:
        return msgspec.json.encode({"name": "s", "url": address})

    async def test(f: Fixture) -> None:
        org = f.store.org(ORG)
        tool = await org.tools.create("t", "http", b"{}")
        own = f"{tool.id}.authorization"
        server = await org.nouns.create("mcp_server", "s", server_at(A), secret='{"x":"a"}')
        id, _ = await f.published("one", tool_ids=(tool.id,), mcp_servers=("s",))
        beside, found = Fixture(f.store), set()

        async def move(address: str, sealed: str | None) -> None:
            nonlocal tool, server
            secrets = {} if sealed is None else {own: sealed}
            body = tool_at(address, tool.id)
            tool = await org.tools.change(tool, "t", "http", body, secrets=secrets, moved=True)
            headers = None if sealed is None else msgspec.json.encode({"x": sealed}).decode()
            server = await org.nouns.change(server, "s", server_at(address), secret=headers, moved=True)

        async def sent() -> None:
            loaded = await beside.load(id)
            [one], [at] = loaded.tools, loaded.servers
            found.update({(one.http.url, shown(loaded.secrets.get(own))), (at.url, shown(at.headers.get("x")))})
            stored, secrets = await beside.loader.stored(ORG, [tool.id])
            found.add((stored[tool.id].http.url, shown(secrets.get(own))))

        def shown(secret: Any) -> str | None:
            return secret.reveal() if secret is not None else None

        for place in range(1, 12):
            await move(A, "a")
            beside.loader.forget(ORG)
            if place % 2:
                await beside.load("")  # what the org has is known, its agents and tools are not
            beside.db.before = {beside.db.reads + place: lambda: move(B, "b" if given else None)}
            await sent()
            beside.time.now += 1.0
            await sent()
        assert found == {(A, "a"), (B, "b" if given else None)}

    with_loader(url, test)


def test_a_model_that_another_org_makes_its_own_is_refused_within_a_second(server: Server):
    url = server.create()

    async def test(f: Fixture) -> None:
        beside = await open_store(url, worker="other")
        try:
            there = Fixture(beside)
            await there.load("", org=OTHER)
            body = b'{"name":"tuned","service":"groq","model":"acme-7b"}'
            await f.store.org(ORG).nouns.create("model", "tuned", body)
            there.time.now += 1.0
            await there.load("", org=OTHER)
            with pytest.raises(Exception, match="may not use") as refused:
                there.models.targets(OTHER, "groq", "acme-7b", {}, None)
            assert refused.value.code == "organization_not_permitted"  # type: ignore[attr-defined]
        finally:
            await beside.close()

    with_loader(url, test)


def test_the_first_model_that_an_org_makes_its_own_elsewhere_is_known_without_a_turn(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "BELIEVE", 0.02)
    url = server.create()

    async def test(f: Fixture) -> None:
        beside = await open_store(url, worker="other")
        there = Fixture(beside)
        following = Supervisor(time.monotonic).keep("owners", there.loader.follow_owners)
        try:
            body = b'{"name":"tuned","service":"groq","model":"acme-7b"}'
            made = await f.store.org(ORG).nouns.create("model", "tuned", body)
            await until(lambda: there.models.any_owned)
            with pytest.raises(Exception, match="may not use"):
                there.models.targets(OTHER, "groq", "acme-7b", {}, None)
            await f.store.org(ORG).nouns.delete("model", made.id)
            await until(lambda: not there.models.any_owned)
        finally:
            following.cancel()
            await asyncio.wait([following])
            await beside.close()

    with_loader(url, test)


def test_no_plain_request_asks_the_store_whose_a_model_is_while_no_org_has_one(tmp_path: Path):
    async def test(app: Here) -> None:
        db: Any = Counting(app.services.store.db)
        app.services.store.db = db
        assert (await app.chat("hi").end()).status == 200
        assert db.reads == 0

    here(tmp_path, test)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)
