from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from midstream.core.errors import Conflict, NotFound, StoreDown
from midstream.store import Store, changes, nouns, open_store
from midstream.store.nouns import NounRow, NounStore, every_model
from midstream.store.orgs import OrgStore
from midstream.store.tools import ToolStore

from .sealed import secret_of
from .turns import ORG, with_store

OTHER = "org_other"
TOOL_BY_ID = {
    "get": lambda tools, row: tools.get(row.id),
    "page": lambda tools, row: tools.page(after=row.id),
    "change": lambda tools, row: tools.change(row, "stolen", "http", b"[]"),
    "delete": lambda tools, row: tools.delete(row.id),
}
NOUN_BY_ID = {
    "get": lambda nouns, row: nouns.get(row.kind, row.id),
    "page": lambda nouns, row: nouns.page(row.kind, after=row.id),
    "change": lambda nouns, row: nouns.change(row, "stolen", b"[]", secret="theirs"),
    "delete": lambda nouns, row: nouns.delete(row.kind, row.id),
}


@asynccontextmanager
async def _both(store: Store, url: str) -> AsyncIterator[tuple[Store, Store]]:
    """A second server's beside it, where there may be one."""
    if not url.startswith("postgres"):
        yield store, store
        return
    second = await open_store(url, worker="second")
    second.seal_with(b"\0" * 32)
    store.seal_with(b"\0" * 32)
    try:
        yield store, second
    finally:
        await second.close()


def _ended(ends: list[object]) -> list[str]:
    """What each came to."""
    return sorted(end.code if isinstance(end, Conflict) else type(end).__name__ for end in ends)


async def secrets_of(org: OrgStore) -> dict[str, str]:
    return {name: await secret_of(org.secrets, name) for name in await org.secrets.names()}


def _public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_every_method_is_in_these_tables() -> None:
    assert _public(ToolStore) == TOOL_BY_ID.keys() | {
        "create", "adding", "every", "some", "some_sealed", "named", "is_taken",
    }  # fmt: skip
    assert _public(NounStore) == NOUN_BY_ID.keys() | {
        "create", "all", "all_sealed", "sealed", "settings", "change_settings", "put_secret", "drop_secret",
        "models_number",
    }  # fmt: skip


def test_another_orgs_tool_and_noun_are_as_unknown_as_none_and_stay_as_they_are(url: str) -> None:
    async def work(store: Store) -> None:
        mine, theirs = store.org(ORG), store.org(OTHER)
        tool = await mine.tools.create("t", "http", b"{}")
        noun = await mine.nouns.create("service_key", "k", b"{}", secret="sk-1")
        for ask in TOOL_BY_ID.values():
            with pytest.raises(NotFound):
                await ask(theirs.tools, tool)
        for ask in NOUN_BY_ID.values():
            with pytest.raises(NotFound):
                await ask(theirs.nouns, noun)
        with pytest.raises(NotFound):  # an id of another kind is none of this one
            await mine.nouns.get("template", noun.id)
        assert await theirs.tools.some([tool.id]) == {}
        assert await theirs.tools.page() == []
        assert await theirs.nouns.page("service_key") == []
        assert (await theirs.nouns.all())["service_key"] == []
        assert await mine.tools.get(tool.id) == tool
        assert await mine.nouns.get(noun.kind, noun.id) == noun
        assert await secret_of(mine.secrets, noun.id) == "sk-1"

    with_store(url, work)


def test_tools_are_changed_read_together_and_deleted(url: str) -> None:
    async def work(store: Store) -> None:
        tools = store.org(ORG).tools
        made = [await tools.create(f"t{n}", "http", b"{}") for n in range(3)]
        changed = await tools.change(made[0], "new", "mcp", b'{"n":1}', secrets={"tool.auth": "s"})
        assert (changed.name, changed.kind, changed.body) == ("new", "mcp", b'{"n":1}')
        assert (await secret_of(store.org(ORG).secrets, "tool.auth")) == "s"
        with pytest.raises(Conflict):
            await tools.change(made[0], "old", "http", b'{"n":2}')
        await tools.delete(made[1].id)
        assert (await tools.some([row.id for row in made] + ["tool_never"])).keys() == {made[0].id, made[2].id}
        assert [row.id for row in await tools.page(limit=1)] == [made[2].id]
        assert [row.id for row in await tools.page(after=made[2].id)] == [made[0].id]
        assert await tools.is_taken(made[1].id)

    with_store(url, work)


def test_a_change_that_is_refused_leaves_the_secrets_as_they_are(url: str) -> None:
    """Of two that read the same, the second would else put its credential beside the address of the first."""

    async def work(store: Store) -> None:
        org = store.org(ORG)
        for kind in ("service_key", "mcp_server", "alert"):
            row = await org.nouns.create(kind, "n", b'{"url":"a"}', secret="first")
            await org.nouns.change(row, "n", b'{"url":"b"}', secret="winner")
            for more in ({"secret": "loser"}, {"moved": True}, {"secret": "loser", "moved": True}):
                with pytest.raises(Conflict):
                    await org.nouns.change(row, "n", b'{"url":"c"}', **more)  # type: ignore[arg-type]
            assert await secret_of(org.secrets, row.id) == "winner"
        tool = await org.tools.create("t", "http", b'{"url":"a"}')
        name = f"{tool.id}.authorization"
        await org.tools.change(tool, "t", "http", b'{"url":"b"}', secrets={name: "winner"})
        with pytest.raises(Conflict):
            await org.tools.change(tool, "t", "http", b'{"url":"c"}', secrets={name: "loser"}, moved=True)
        assert await secret_of(org.secrets, name) == "winner"
        bodies = [b'{"n":%d}' % n for n in range(8)]
        tool = await org.tools.get(tool.id)
        changes = [org.tools.change(tool, "t", "http", one, secrets={name: one.decode()}) for one in bodies]
        ends = await asyncio.gather(*changes, return_exceptions=True)
        assert len([one for one in ends if isinstance(one, Conflict)]) == 7
        assert (await secret_of(org.secrets, name)).encode() == (await org.tools.get(tool.id)).body

    with_store(url, work)


def test_what_was_deleted_keeps_and_gets_no_secret(url: str) -> None:
    async def work(store: Store) -> None:
        org = store.org(ORG)
        row = await org.nouns.create("service_key", "k", b"{}", secret="first")
        await org.nouns.delete("service_key", row.id)
        with pytest.raises(NotFound):
            await org.nouns.change(row, "k", b'{"n":1}', secret="late")
        assert await org.secrets.names() == []
        tool, other = [await org.tools.create("t", "http", b"{}") for _ in range(2)]
        for one in (tool, other):
            secrets = {f"{one.id}.authorization": "a", f"{one.id}.x-key": "b"}
            await org.tools.change(one, "t", "http", b"[1]", secrets=secrets)
        await store.org(OTHER).nouns.put_secret(f"{tool.id}.x-key", "of another org")
        await org.tools.delete(tool.id)
        assert sorted(await org.secrets.names()) == [f"{other.id}.authorization", f"{other.id}.x-key"]
        assert await store.org(OTHER).secrets.names() == [f"{tool.id}.x-key"]
        with pytest.raises(NotFound):
            await org.tools.change(tool, "t", "http", b"[2]", secrets={f"{tool.id}.x-key": "late"})
        assert len(await org.secrets.names()) == 2

    with_store(url, work)


def test_what_is_moved_keeps_none_of_its_own_secrets_but_those_that_come_with_the_move(url: str) -> None:
    async def work(store: Store) -> None:
        org = store.org(ORG)
        tool, other = [await org.tools.create("t", "http", b"{}") for _ in range(2)]
        secrets = {f"{tool.id}.a": "a", f"{tool.id}.b": "b"}
        tool = await org.tools.change(tool, "t", "http", b"[1]", secrets=secrets)
        await org.tools.change(other, "t", "http", b"[1]", secrets={f"{other.id}.a": "others"})
        server = await org.nouns.create("mcp_server", "s", b"{}", secret="headers")
        await org.nouns.put_secret("SHARED", "s")
        await store.org(OTHER).nouns.put_secret(f"{tool.id}.a", "of another org")
        tool = await org.tools.change(tool, "t", "http", b"[2]", secrets={f"{tool.id}.b": "new"}, moved=True)
        await org.nouns.change(server, "s", b"[2]", moved=True)
        assert await secrets_of(org) == {f"{tool.id}.b": "new", f"{other.id}.a": "others", "SHARED": "s"}
        assert await secret_of(store.org(OTHER).secrets, f"{tool.id}.a") == "of another org"

    with_store(url, work)


def test_tools_and_nouns_are_read_with_their_own_secrets_of_the_same_moment(url: str) -> None:
    async def work(store: Store) -> None:
        org, theirs = store.org(ORG), store.org(OTHER)
        tools = [await org.tools.create(f"t{n}", "http", b"{}") for n in range(3)]
        for one in tools[:2]:
            await org.tools.change(one, one.name, "http", b"[1]", secrets={f"{one.id}.a": one.name, f"{one.id}.b": "b"})
        await org.nouns.put_secret("tool", "nobody's")
        await org.nouns.put_secret("SHARED", "s")
        await theirs.nouns.put_secret(f"{tools[0].id}.c", "of another org")
        rows, sealed = await org.tools.some_sealed([tools[0].id, tools[2].id, "tool_never"])
        assert rows == await org.tools.some([tools[0].id, tools[2].id])
        shown = {name: one.reveal() for name, one in sealed.items()}
        assert shown == {f"{tools[0].id}.a": "t0", f"{tools[0].id}.b": "b"}
        assert await theirs.tools.some_sealed([tools[0].id]) == ({}, {})
        made = [await org.nouns.create("mcp_server", f"s{n}", b"{}", secret=f"h{n}") for n in range(3)]
        found, secrets = await org.nouns.all_sealed()
        assert found == await org.nouns.all()
        assert [row.id for row in found["mcp_server"]] == [row.id for row in made]
        assert {name: one.reveal() for name, one in secrets.items()} == await secrets_of(org)
        assert [secrets[row.id].reveal() for row in made] == ["h0", "h1", "h2"]
        bare = await org.nouns.create("mcp_server", "s3", b"{}")
        assert await org.nouns.sealed("mcp_server", 2) == [(bare, None), (made[2], secrets[made[2].id])]
        assert await theirs.nouns.sealed("mcp_server", 2) == []

    with_store(url, work)


def test_of_settings_that_are_changed_at_once_none_is_lost(url: str) -> None:
    async def work(store: Store) -> None:
        nouns, others = store.org(ORG).nouns, store.org(ORG).nouns
        await asyncio.gather(nouns.change_settings({"a": 1}), others.change_settings({"b": 2}))
        assert await nouns.settings() == {"a": 1, "b": 2}
        assert await nouns.change_settings({"a": None, "c": 3}) == {"b": 2, "c": 3}

    with_store(url, work)


def test_a_nouns_secret_is_sealed_replaced_and_gone_with_it(url: str) -> None:
    async def work(store: Store) -> None:
        store.seal_with(b"k" * 32)
        org = store.org(ORG)
        row = await org.nouns.create("service_key", "k", b'{"service":"x"}', secret="sk-first")
        [(sealed,)] = await store.db.read("SELECT sealed FROM secrets WHERE name = $1", row.id)
        assert b"sk-first" not in sealed
        assert await secrets_of(org) == {row.id: "sk-first"}
        row = await org.nouns.change(row, "k2", b'{"service":"y"}', secret="sk-second")
        assert await secret_of(org.secrets, row.id) == "sk-second"
        row = await org.nouns.change(row, "k3", b"{}")
        assert await secret_of(org.secrets, row.id) == "sk-second"
        await org.nouns.delete("service_key", row.id)
        assert await org.secrets.names() == []
        await org.nouns.put_secret("TOKEN", "t")
        store.seal_with(b"x" * 32)
        with pytest.raises(StoreDown):
            await secret_of(store.org(ORG).secrets, "TOKEN")

    with_store(url, work)


def test_every_change_of_a_tool_a_noun_a_secret_or_a_setting_raises_the_orgs_number(url: str) -> None:
    async def work(store: Store) -> None:
        org = store.org(ORG)
        tool = await org.tools.create("t", "http", b"{}")
        noun = await org.nouns.create("template", "n", b"{}")
        before = await changes.numbers(store.db, ORG)
        for step in (
            lambda: org.tools.change(tool, "t", "http", b"[]"),
            lambda: org.tools.delete(tool.id),
            lambda: org.nouns.change(noun, "n", b"[]"),
            lambda: org.nouns.delete("template", noun.id),
            lambda: org.nouns.change_settings({"timezone": "Europe/Berlin"}),
            lambda: org.nouns.put_secret("A", "a"),
            lambda: org.nouns.drop_secret("A"),
        ):
            await step()
            now = await changes.numbers(store.db, ORG)
            assert now != before
            before = now
        assert await changes.numbers(store.db, OTHER) == (0, 0, 0)
        assert await org.nouns.settings() == {"timezone": "Europe/Berlin"}

    with_store(url, work)


def test_a_model_that_an_org_owns_is_a_change_for_every_org(url: str) -> None:
    async def work(store: Store) -> None:
        before = await changes.numbers(store.db, OTHER)
        row = await store.org(ORG).nouns.create("model", "tuned", b'{"own":true}')
        assert await changes.numbers(store.db, OTHER) != before
        assert [one.id for one in await every_model(store.db)] == [row.id]

    with_store(url, work)


def test_an_org_has_one_mcp_server_of_a_name_however_many_make_it_at_once(url: str) -> None:
    async def work(store: Store) -> None:
        async with _both(store, url) as both:
            for number in range(10):
                names = [each.org(ORG).nouns for each in both]
                made = await asyncio.gather(
                    *(names[n % 2].create("mcp_server", f"s{number}", b"%d" % n, secret=str(n)) for n in range(6)),
                    return_exceptions=True,
                )
                assert _ended(made) == ["NounRow"] + ["already_exists"] * 5
                [row] = [one for one in made if isinstance(one, NounRow)]
                assert await secret_of(store.org(ORG).secrets, row.id) == row.body.decode()
                assert len(await store.org(ORG).secrets.names()) == number + 1
                await store.org(OTHER).nouns.create("mcp_server", f"s{number}", b"{}")
                await store.org(ORG).nouns.create("template", f"s{number}", b"{}")

    with_store(url, work)


def test_a_name_is_free_again_when_its_mcp_server_is_renamed_or_deleted(url: str) -> None:
    async def work(store: Store) -> None:
        org = store.org(ORG)
        wiki = await org.nouns.create("mcp_server", "wiki", b"1", secret="first")
        other = await org.nouns.create("mcp_server", "other", b"2", secret="second")
        with pytest.raises(Conflict) as refused:
            await org.nouns.change(other, "wiki", b"3", secret="third")
        assert (refused.value.code, refused.value.param) == ("already_exists", "name")
        assert await org.nouns.get("mcp_server", other.id) == other
        assert await secret_of(org.secrets, other.id) == "second"
        await org.nouns.change(wiki, "team", b"4")
        await org.nouns.change(other, "wiki", b"5")
        await org.nouns.delete("mcp_server", other.id)
        await org.nouns.create("mcp_server", "wiki", b"6")

    with_store(url, work)


def test_of_mcp_servers_that_get_one_name_at_once_one_does(url: str) -> None:
    async def work(store: Store) -> None:
        async with _both(store, url) as both:
            for number in range(10):
                rows = [await store.org(ORG).nouns.create("mcp_server", f"{number}-{n}", b"0") for n in range(6)]
                ends = await asyncio.gather(
                    *(both[n % 2].org(ORG).nouns.change(row, f"one-{number}", b"1") for n, row in enumerate(rows)),
                    return_exceptions=True,
                )
                assert _ended(ends) == ["NounRow"] + ["already_exists"] * 5

    with_store(url, work)


def test_mcp_servers_that_have_had_one_name_from_before_are_changed_and_parted(url: str) -> None:
    async def work(store: Store) -> None:
        org = store.org(ORG)
        one, two = [await org.nouns.create("mcp_server", name, b"0") for name in ("wiki", "other")]
        await store.db.write([("UPDATE nouns SET name = $1 WHERE id = $2", ("wiki", two.id))])
        two = await org.nouns.get("mcp_server", two.id)
        assert (await org.nouns.change(two, "wiki", b"1")).body == b"1"
        assert (await org.nouns.change(await org.nouns.get("mcp_server", two.id), "new", b"2")).name == "new"
        assert (await org.nouns.change(one, "wiki", b"3")).name == "wiki"

    with_store(url, work)


def test_a_model_is_written_only_while_no_other_has_changed_since_it_was_looked_at(url: str) -> None:
    async def work(store: Store) -> None:
        async with _both(store, url) as (one, two):
            row = await one.org(ORG).nouns.create("model", "old", b"0")
            for number in range(10):
                seen = await one.org(ORG).nouns.models_number()
                ends = await asyncio.gather(
                    one.org(ORG).nouns.create("model", f"m{number}", b"{}", seen=seen),
                    *([two.org(OTHER).nouns.create("model", f"m{number}", b"{}", seen=seen)] if one is not two else []),
                    return_exceptions=True,
                )
                assert _ended(ends) == ["NounRow", "models_changed"][: len(ends)]
                for late in (
                    one.org(OTHER).nouns.create("model", "late", b"{}", seen=seen),
                    two.org(ORG).nouns.change(row, "late", b"1", seen=seen),
                ):
                    with pytest.raises(Conflict) as refused:
                        await late
                    assert refused.value.code == "models_changed"
            assert await one.org(ORG).nouns.get("model", row.id) == row
            assert await one.org(ORG).nouns.models_number() > seen

    with_store(url, work)


def test_an_org_has_no_more_nouns_than_it_may_however_many_make_them_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        async with _both(store, url) as both:
            for number in range(1, 11):
                monkeypatch.setattr(nouns, "MOST", number * 3)
                made = await asyncio.gather(
                    *(both[n % 2].org(ORG).nouns.create("template", "t", b"{}") for n in range(8)),
                    return_exceptions=True,
                )
                assert _ended(made) == ["NounRow"] * 3 + ["too_many"] * 5

    with_store(url, work)
