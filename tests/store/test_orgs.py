from __future__ import annotations

import inspect
import math

import msgspec
import pytest

from midstream.core.errors import BadRequest, NotFound
from midstream.core.parts import Message, Native
from midstream.core.usage import Usage
from midstream.store import Store
from midstream.store.ledger import AttemptSettled, MessageAdded
from midstream.store.orgs import AllOrgs, OrgStore
from midstream.store.rows import AttemptRow

from .turns import NOW, ORG, attempt_settled, attempt_started, begin, end, message, run_ended, run_started, with_store

OTHER = "org_other"
#: What of org A an id can name, for each method that takes one: (method, how to ask with the id).
BY_ID = {
    "run_messages": [("run", lambda org, id: org.run_messages(id))],
    "run": [("run", lambda org, id: org.run(id))],
    "runs": [("run", lambda org, id: org.runs(after=id))],
    "attempts": [
        ("run", lambda org, id: org.attempts(run_id=id)),
        ("att", lambda org, id: org.attempts(after=id)),
    ],
    "attempts_below": [("run", lambda org, id: org.attempts_below(id))],
}
WITHOUT_ID = {"create_conversation", "usage"}


async def _filled(store: Store) -> dict[str, str]:
    """One of everything in the default org; their ids by kind."""
    conversation = await store.org(ORG).create_conversation(title="t")
    await store.ledger.commit(
        run_started(conversation=conversation), attempt_started(), message("1", conversation=conversation)
    )
    await store.ledger.commit(attempt_settled(), run_ended())
    return {"conv": conversation, "run": "run_1", "att": "att_1"}


def test_every_method_of_an_org_is_in_this_table() -> None:
    public = {name for name, _ in inspect.getmembers(OrgStore, inspect.isfunction) if not name.startswith("_")}
    assert public == BY_ID.keys() | WITHOUT_ID


def test_another_orgs_id_is_as_unknown_as_none(url: str) -> None:
    async def work(store: Store) -> None:
        ids = await _filled(store)
        for name, questions in BY_ID.items():
            for kind, ask in questions:
                await ask(store.org(ORG), ids[kind])
                texts = []
                for id in (ids[kind], f"{kind}_never"):
                    with pytest.raises(NotFound) as refused:
                        await ask(store.org(OTHER), id)
                    texts.append(refused.value.message.replace(id, "ID"))
                assert texts[0] == texts[1], name

    with_store(url, work)


def test_another_orgs_rows_are_in_no_list_and_no_sum(url: str) -> None:
    async def work(store: Store) -> None:
        ids = await _filled(store)
        other = store.org(OTHER)
        assert await other.runs() == []
        assert await other.attempts() == []
        assert await other.usage() == []
        # rows of another org that carry an id of this one are not shown to it
        await store.ledger.commit(message("evil", 9, org=OTHER, conversation=ids["conv"]))
        assert [m.id for m in await store.org(ORG).run_messages("run_1")] == ["msg_1"]

    with_store(url, work)


def test_an_org_store_cannot_be_made_without_an_org(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(ValueError):
            store.org("")

    with_store(sqlite_url, work)


def test_attempts_page_oldest_first_and_by_run(url: str) -> None:
    async def work(store: Store) -> None:
        for n in range(5):
            await store.ledger.commit(*begin(f"a{n}"))
            await store.ledger.commit(*begin(f"b{n}", OTHER))
        everyone, mine = store.all_orgs(), store.org(ORG)
        for view, expected in (
            (mine, [f"att_a{n}" for n in range(5)]),
            (everyone, [f"att_{x}{n}" for n in range(5) for x in "ab"]),
        ):
            seen: list[str] = []
            while page := await view.attempts(after=seen[-1] if seen else None, limit=2):
                seen += [row.id for row in page]
            assert seen == expected
        assert [row.id for row in await mine.attempts(run_id="run_a3")] == ["att_a3"]
        assert [row.id for row in await everyone.attempts(run_id="run_b3")] == ["att_b3"]

    with_store(url, work)


def test_attempts_of_the_runs_that_a_run_has_called_are_found_at_any_depth(url: str) -> None:
    async def work(store: Store) -> None:
        called_by = {"1": None, "2": "run_1", "3": "run_2", "4": "run_1", "5": None, "6": "run_5"}
        for name, parent in called_by.items():
            started = msgspec.structs.replace(run_started(name), parent_run_id=parent)
            await store.ledger.commit(started, attempt_started(name))
        org = store.org(ORG)
        assert [row.id for row in await org.attempts_below("run_1")] == ["att_2", "att_3", "att_4"]
        assert [row.id for row in await org.attempts_below("run_2")] == ["att_3"]
        assert await org.attempts_below("run_3") == []

    with_store(url, work)


def test_runs_page_newest_first(url: str) -> None:
    async def work(store: Store) -> None:
        for n in range(3):
            await store.ledger.commit(run_started(f"a{n}"), run_started(f"b{n}", OTHER))
        first = await store.org(ORG).runs(limit=2)
        rest = await store.org(ORG).runs(after=first[-1].id)
        assert [row.id for row in first + rest] == ["run_a2", "run_a1", "run_a0"]
        assert [row.id for row in await store.all_orgs().runs(limit=2)] == ["run_b2", "run_a2"]
        assert (await store.all_orgs().run("run_b0")).org_id == OTHER
        with pytest.raises(NotFound):
            await store.all_orgs().run("run_never")

    with_store(url, work)


def test_runs_and_attempts_are_chosen_by_their_status(url: str) -> None:
    async def work(store: Store) -> None:
        for n in range(4):
            await store.ledger.commit(*begin(f"a{n}"))
            await store.ledger.commit(*begin(f"b{n}", OTHER))
        for n in (0, 2, 3):
            await store.ledger.commit(*end(f"a{n}"))
        everyone, mine = store.all_orgs(), store.org(ORG)
        assert [row.id for row in await mine.runs(status="completed")] == ["run_a3", "run_a2", "run_a0"]
        assert [row.id for row in await mine.runs(status="completed", after="run_a2")] == ["run_a0"]
        assert [row.id for row in await mine.runs(status="completed", limit=1)] == ["run_a3"]
        assert [row.id for row in await mine.runs(status="running")] == ["run_a1"]
        assert [row.id for row in await everyone.runs(status="running", limit=2)] == ["run_b3", "run_b2"]
        assert await mine.runs(status="failed") == []
        assert [row.id for row in await mine.attempts(status="ok")] == ["att_a0", "att_a2", "att_a3"]
        assert [row.id for row in await mine.attempts(status="ok", after="att_a0", limit=1)] == ["att_a2"]
        assert [row.id for row in await everyone.attempts(status="started", limit=2)] == ["att_b0", "att_a1"]
        assert [row.id for row in await mine.attempts(status="ok", run_id="run_a2")] == ["att_a2"]
        assert await mine.attempts(status="started", run_id="run_a2") == []

    with_store(url, work)


def test_usage_sums_exactly_by_each_group(url: str) -> None:
    day = 86_400.0

    async def work(store: Store) -> None:
        for n in range(10):
            org = OTHER if n == 9 else ORG
            at = math.nextafter(day * 20_001, 0) if n % 2 else day * 20_001  # the last and the first moment of a day
            await store.ledger.commit(attempt_started(str(n), org, at=at, model=f"m{n % 3}"))
            await store.ledger.commit(attempt_settled(str(n), cost="0.1000000000001" if n else None))
        await store.ledger.commit(attempt_started("open", ORG, at=day))
        mine = store.org(ORG)
        [total] = await mine.usage(group_by="agent", since=2 * day)
        assert (total.group, total.attempts, total.unpriced, total.cost) == (None, 9, 1, "0.8000000000008")
        assert total.usage == Usage(uncached_in=90, cache_read=45, out_text=63, out_reasoning=18, searches=9)
        assert [(row.group, row.attempts) for row in await mine.usage(since=2 * day)] == [
            ("m0", 3),
            ("m1", 3),
            ("m2", 3),
        ]
        by_day = await mine.usage(group_by="day", since=2 * day)
        assert [(row.group, row.attempts) for row in by_day] == [("2024-10-04", 4), ("2024-10-05", 5)]
        by_org = await store.all_orgs().usage(group_by="org", since=2 * day)
        assert [(row.group, row.attempts) for row in by_org] == [(ORG, 9), (OTHER, 1)]
        assert [row.group for row in await mine.usage(group_by="key")] == ["key_1"]
        assert [row.attempts for row in await mine.usage(group_by="provider", until=day * 20_001)] == [5]
        assert [row.attempts for row in await mine.usage(group_by="provider", since=day * 20_001)] == [5]

    with_store(url, work)


def test_an_estimated_attempt_marks_its_sum(url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        usage = Usage(out_text=3, estimated=True)
        await store.ledger.commit(AttemptSettled(id="att_1", status="partial", usage=usage, ended_at=NOW))
        assert (await store.org(ORG).attempts())[0].usage.estimated is True
        assert (await store.org(ORG).usage())[0].usage.estimated is True

    with_store(url, work)


def test_every_usage_class_keeps_its_own_column(url: str) -> None:
    usage = Usage(*range(1, 13))

    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        await store.ledger.commit(attempt_settled(usage=usage))
        assert (await store.org(ORG).attempts())[0].usage == usage
        assert (await store.org(ORG).usage())[0].usage == usage
        assert isinstance((await store.org(ORG).attempts())[0], AttemptRow)

    with_store(url, work)


def test_a_stored_message_speaks_as_it_was_written(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(
            run_started(),
            message("core", 0),
            MessageAdded(
                id="msg_n", org_id=ORG, run_id="run_1", seq=1, role="user", content=b"{}", created_at=NOW, dialect="x"
            ),
        )
        core, native = await store.org(ORG).run_messages("run_1")
        assert core.spoken() == Message("user", ())
        assert native.spoken() == Native("x", b"{}")

    with_store(sqlite_url, work)


def test_the_operator_makes_and_lists_orgs(url: str) -> None:
    async def work(store: Store) -> None:
        orgs: AllOrgs = store.all_orgs()
        made = await orgs.create_org("acme")
        assert [row.name for row in await orgs.orgs()] == ["default", "acme"]
        assert await orgs.org(made.id) == made
        with pytest.raises(NotFound):
            await orgs.org("org_never")
        with pytest.raises(BadRequest):
            await orgs.create_org("")
        await store.ledger.commit(*begin("z", made.id))
        await store.ledger.commit(*end("z", made.id))
        assert [row.id for row in await orgs.runs()] == ["run_z"]

    with_store(url, work)
