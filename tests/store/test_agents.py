from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from midstream.core.errors import Conflict, NotFound
from midstream.core.ids import new_id
from midstream.store import Store, changes, open_store
from midstream.store.agents import AgentStore, VersionRow
from midstream.store.database import Statement

from .turns import ORG, with_store

OTHER = "org_other"
#: How each method asks with the ids of an agent and a version of another org.
BY_ID = {
    "get": lambda agents, agent, version: agents.get(agent),
    "page": lambda agents, agent, version: agents.page(after=agent),
    "change": lambda agents, agent, version: agents.change(agent, name="stolen"),
    "delete": lambda agents, agent, version: agents.delete(agent),
    "draft": lambda agents, agent, version: agents.draft(agent, b"{}"),
    "version": lambda agents, agent, version: agents.version(agent, version),
    "versions": lambda agents, agent, version: agents.versions(agent),
    "discard": lambda agents, agent, version: agents.discard(agent, version),
    "change_draft": lambda agents, agent, version: agents.change_draft(_row(agent, version), b"[]"),
    "publish": lambda agents, agent, version: agents.publish(_row(agent, version)),
}
FINDING = {"found", "named", "published", "documents"}
WITHOUT_ID = {"create", "is_taken"}


def _row(agent: str, version: str) -> VersionRow:
    return VersionRow(version, ORG, agent, 1, "draft", b"{}", 0, 0, None)


def _body(found: Any) -> bytes:
    return bytes(found[1].body)


async def _number(store: Store, org: str = ORG) -> object:
    return await changes.numbers(store.db, org)


def test_every_method_of_agents_is_in_this_table() -> None:
    public = {name for name, _ in inspect.getmembers(AgentStore, inspect.isfunction) if not name.startswith("_")}
    assert public == BY_ID.keys() | FINDING | WITHOUT_ID


def test_another_orgs_agent_is_as_unknown_as_none_and_stays_as_it_is(url: str) -> None:
    async def work(store: Store) -> None:
        agent, version = await store.org(ORG).agents.create("Mine", "mine", b"{}")
        theirs = store.org(OTHER).agents
        for name, ask in BY_ID.items():
            texts = []
            for ids in ((agent.id, version.id), ("agt_never", "ver_never")):
                with pytest.raises(NotFound) as refused:
                    await ask(theirs, *ids)
                texts.append(refused.value.message.replace(ids[0], "ID").replace(ids[1], "ID"))
            assert texts[0] == texts[1], name
        assert await theirs.found(agent.id, "mine", None) is None
        assert await theirs.named(agent.id, "mine") is None
        assert await theirs.published([agent.id, agent.slug]) == {}
        for name in (agent.id, agent.slug):
            by_name = await store.org(ORG).agents.published([name, "agt_nobody"])
            assert {key: pair[0].id for key, pair in by_name.items()} == {agent.id: agent.id, agent.slug: agent.id}
        assert await store.org(ORG).agents.get(agent.id) == agent
        assert await store.org(ORG).agents.version(agent.id, version.id) == version

    with_store(url, work)


def test_a_draft_is_published_and_archived_by_the_next(url: str) -> None:
    async def work(store: Store) -> None:
        agents = store.org(ORG).agents
        agent, first = await agents.create("A", "a", b'{"n":1}')
        assert (agent.published_id, first.status, first.number) == (None, "draft", 1)
        first = await agents.change_draft(first, b'{"n":2}')
        assert (await agents.publish(first)).published_id == first.id
        second = await agents.draft(agent.id, b'{"n":3}')
        assert (second.number, second.status) == (2, "draft")
        found = await agents.found(agent.id, "", None)
        assert _body(found) == b'{"n":2}'  # the draft changes nothing
        drafted = await agents.found("", "a", second.id)
        assert _body(drafted) == b'{"n":3}'
        await agents.publish(second)
        assert [row.status for row in await agents.versions(agent.id)] == ["published", "archived"]
        await agents.publish(await agents.version(agent.id, first.id))  # back again
        assert [row.status for row in await agents.versions(agent.id)] == ["archived", "published"]
        assert (await agents.get(agent.id)).published_id == first.id

    with_store(url, work)


def test_only_a_draft_is_changed_and_the_published_one_is_not_discarded(url: str) -> None:
    async def work(store: Store) -> None:
        agents = store.org(ORG).agents
        agent, first = await agents.create("A", "a", b"{}")
        stale = first
        first = await agents.change_draft(first, b'{"n":1}')
        with pytest.raises(Conflict) as refused:
            await agents.change_draft(stale, b'{"n":2}')
        assert refused.value.code == "version_changed"
        with pytest.raises(Conflict):  # what was checked is no longer what stands there
            await agents.publish(stale)
        assert (await agents.get(agent.id)).published_id is None
        await agents.publish(first)
        for attempt, code in (
            (agents.change_draft(await agents.version(agent.id, first.id), b"{}"), "not_a_draft"),
            (agents.discard(agent.id, first.id), "version_published"),
        ):
            with pytest.raises(Conflict) as refused:
                await attempt
            assert refused.value.code == code
        draft = await agents.draft(agent.id, b"{}")
        await agents.discard(agent.id, draft.id)
        with pytest.raises(NotFound):
            await agents.version(agent.id, draft.id)
        assert (await agents.draft(agent.id, b"{}")).number == 3  # a number is given once

    with_store(url, work)


def test_an_agent_that_is_paused_renamed_and_given_a_slug_at_once_is_all_three(url: str) -> None:
    async def work(store: Store) -> None:
        agents = store.org(ORG).agents
        for number in range(5):
            agent, _ = await agents.create("A", f"a-{number}", b"{}")
            changes = ({"status": "paused"}, {"name": "B"}, {"slug": f"b-{number}"})
            await asyncio.gather(*(agents.change(agent.id, **one) for one in changes))
            now = await agents.get(agent.id)
            assert (now.status, now.name, now.slug) == ("paused", "B", f"b-{number}")

    with_store(url, work)


def test_a_slug_is_of_one_agent_and_free_again_after_it(url: str) -> None:
    async def work(store: Store) -> None:
        agents = store.org(ORG).agents
        first, _ = await agents.create("A", "a", b"{}")
        second, _ = await agents.create("B", "b", b"{}")
        for attempt in (agents.create("C", "a", b"{}"), agents.change(second.id, slug="a")):
            with pytest.raises(Conflict) as refused:
                await attempt
            assert refused.value.code == "slug_taken"
        await store.org(OTHER).agents.create("A", "a", b"{}")
        await agents.delete(first.id)
        assert await agents.found(first.id, "a", None) is None
        assert (await agents.change(second.id, slug="a")).slug == "a"
        assert await agents.is_taken(first.id)

    with_store(url, work)


def test_of_many_agents_of_one_id_that_are_made_at_once_one_is_made(url: str) -> None:
    async def work(store: Store) -> None:
        other = await open_store(url, worker="other") if url.startswith("postgres") else store
        try:
            agents, theirs, far = store.org(ORG).agents, store.org(OTHER).agents, other.org(ORG).agents
            id = new_id("agt_")
            made = await asyncio.gather(
                *((agents, theirs, far)[n % 3].create(f"A{n}", f"a{n}", b"{}", id=id) for n in range(12)),
                return_exceptions=True,
            )
            [(agent, version)] = [one for one in made if not isinstance(one, BaseException)]
            assert sum(isinstance(one, Conflict) for one in made) == 11
            found = [[await each.named(id, f"a{n}") for n in range(12)] for each in (agents, theirs)]
            assert {row for rows in found for row in rows if row is not None} == {agent}
            assert await store.org(agent.org_id).agents.versions(id) == [version]
        finally:
            if other is not store:
                await other.close()

    with_store(url, work)


def test_an_agent_whose_commit_is_made_again_is_made_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(store: Store) -> None:
        write = store.db.write

        async def twice(statements: Sequence[Statement]) -> None:
            await write(statements)
            await write(statements)

        agents = store.org(ORG).agents
        monkeypatch.setattr(store.db, "write", twice)
        agent, version = await agents.create("A", "a", b"{}")
        assert await agents.versions(agent.id) == [version]

    with_store(url, work)


def test_agents_page_newest_first_and_every_one_once(url: str) -> None:
    async def work(store: Store) -> None:
        agents = store.org(ORG).agents
        made = [(await agents.create(str(n), f"s{n}", b"{}"))[0].id for n in range(5)]
        seen: list[str] = []
        while page := await agents.page(after=seen[-1] if seen else None, limit=2):
            seen += [row.id for row in page]
        assert seen == made[::-1]

    with_store(url, work)


def test_every_change_raises_the_orgs_number_and_no_others(url: str) -> None:
    async def work(store: Store) -> None:
        agents = store.org(ORG).agents
        theirs = await _number(store, OTHER)
        before = await _number(store)
        agent, version = await agents.create("A", "a", b"{}")
        steps = [
            lambda: agents.change(agent.id, name="B"),
            lambda: agents.change_draft(version, b"[]"),
            lambda: agents.draft(agent.id, b"{}"),
            lambda: agents.publish(VersionRow(version.id, ORG, agent.id, 1, "draft", b"[]", 0, 0, None)),
            lambda: agents.delete(agent.id),
        ]
        for step in steps:
            now = await _number(store)
            assert now != before
            before = now
            await step()
        assert await _number(store) != before
        assert await _number(store, OTHER) == theirs

    with_store(url, work)


def test_two_servers_that_draft_and_publish_at_once_leave_one_published_version(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        other = await open_store(postgres_url, worker="other")
        try:
            both = (store.org(ORG).agents, other.org(ORG).agents)
            agent, _ = await both[0].create("A", "a", b"{}")
            drafts = await asyncio.gather(*(both[n % 2].draft(agent.id, b'{"n":%d}' % n) for n in range(12)))
            assert sorted(row.number for row in drafts) == list(range(2, 14))
            await asyncio.gather(*(both[n % 2].publish(row) for n, row in enumerate(drafts)))
            published = [row.id for row in await both[0].versions(agent.id) if row.status == "published"]
            assert published == [(await both[1].get(agent.id)).published_id]
        finally:
            await other.close()

    with_store(postgres_url, work)
