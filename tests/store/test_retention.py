from __future__ import annotations

from typing import Any

from midstream.core.events import Answer
from midstream.store import Store
from midstream.store.batches import Batch, added
from midstream.store.jobs import Job, Jobs
from midstream.store.ledger import ConversationAdded, ConversationMoved, DeliveryAdded, MessageAdded, MessageWords
from midstream.store.retention import forget

from .turns import NOW, ORG, with_store

OLD, BEFORE, NEW = 1.0, 5.0, 9.0


async def ids(store: Store, table: str) -> list[Any]:
    column = {"memories": "thread_id", "rounds": "run_id", "message_texts": "message_id"}.get(table, "id")
    return [id for (id,) in await store.db.read(f"SELECT {column} FROM {table} ORDER BY {column}")]


def _job(id: str, batch: str | None = None) -> Job:
    return Job(id, ORG, "key_1", "turn" if batch is None else "batch", batch, f"run_{id}", b"{}", None, OLD, OLD)


def test_what_was_said_goes_from_jobs_batches_and_messages_to_elsewhere_once_they_have_ended(url: str):
    async def work(store: Store) -> None:
        now = OLD
        jobs = Jobs(store.db, "w1", lambda: now)
        batches = [added(Batch(id, ORG, b"{}", OLD)) for id in ("batch_old", "batch_open")]
        await jobs.add([_job("old"), _job("open"), _job("item", "batch_old"), _job("item_2", "batch_open")], batches)
        for id in ("old", "item", "item_2"):
            await jobs.end(id, "done", b"said")
        now = NEW
        await jobs.add([_job("new")])
        await jobs.end("new", "done", b"said")
        await store.db.write([("UPDATE batches SET ended_at = $1 WHERE id = $2", (OLD, "batch_old"))])
        sent = ("sent", "given_up", "late", "waiting")
        await store.ledger.commit(*(DeliveryAdded(id, ORG, "webhook", b"t", b"said", OLD, OLD) for id in sent))
        ended = "UPDATE deliveries SET status = $2, ended_at = $3 WHERE id = $1"
        await store.db.write(
            [(ended, ("sent", "delivered", OLD)), (ended, ("given_up", "dead", OLD)), (ended, ("late", "dead", NEW))]
        )
        await forget(store.db, BEFORE)
        assert await ids(store, "jobs") == ["item_2", "new", "open"]
        assert await ids(store, "batches") == ["batch_open"]
        assert await ids(store, "deliveries") == ["late", "waiting"]

    with_store(url, work)


def test_what_nobody_took_out_of_a_queue_goes_too(url: str):
    async def work(store: Store) -> None:
        await store.ledger.commit(
            *(DeliveryAdded(id, ORG, "queue", b"t", b"said", at, at) for id, at in (("old", OLD), ("new", NEW))),
            DeliveryAdded("webhook", ORG, "webhook", b"t", b"said", OLD, OLD),
            DeliveryAdded("live", ORG, "live", b"t", b"said", OLD, OLD),
        )
        await forget(store.db, BEFORE)
        assert await ids(store, "deliveries") == ["live", "new", "webhook"]

    with_store(url, work)


def test_what_tools_said_goes_and_a_memory_goes_with_its_thread(url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        for run in ("run_old", "run_new"):
            await store.db.write([journal.round_kept(run, 1, Answer())])
        call = """
        INSERT INTO tool_calls (id, org_id, run_id, round, place, call_id, tool_id, name, kind, effect, arguments,
            status, result, created_at) VALUES ($1, $2, $1, 1, 0, 'c', 't', 'n', 'http', 'pure', $3, $4, $3, $5)"""
        rows = (("old", "ok", OLD), ("runs", "running", OLD), ("new", "ok", NEW))
        await store.db.write([(call, (id, ORG, b"said", status, at)) for id, status, at in rows])
        await store.db.write([("UPDATE rounds SET created_at = $1 WHERE run_id = 'run_old'", (OLD,))])
        memory = """
        INSERT INTO memories (org_id, agent_id, thread_id, text, updated_at)
        VALUES ($1, 'agt_1', $2, 'Ada', $3)"""
        threads = (("gone", OLD), ("used", OLD), ("new", NEW))
        await store.db.write([(memory, (ORG, thread, at)) for thread, at in threads])
        for id in ("gone", "used"):
            made = ConversationAdded(
                id=f"conv_{id}", org_id=ORG, created_at=OLD, title="", agent_id="agt_1", thread_id=id, sub_thread_id=id
            )
            await store.ledger.commit(made)
        await store.ledger.commit(ConversationMoved("conv_used", ORG, "m", NEW))
        assert await forget(store.db, BEFORE) == 1
        assert await ids(store, "tool_calls") == ["new", "runs"]
        assert await ids(store, "rounds") == ["run_new"]
        assert await ids(store, "memories") == ["new", "used"]

    with_store(url, work)


def test_messages_whose_conversation_is_gone_go_however_new_they_are(url: str):
    async def work(store: Store) -> None:
        for number, id in enumerate(("conv_1", "conv_2", "conv_3", "conv_4")):
            if number % 2:
                await store.ledger.commit(ConversationAdded(id, ORG, NOW))
            for seq in (0, 1):
                said = MessageAdded(f"{id}_{seq}", ORG, "run_1", seq, "user", b"{}", NOW, id)
                await store.ledger.commit(said, MessageWords(f"{id}_{seq}", ORG, id, "words"))
        await forget(store.db, BEFORE, batch=1)
        kept = ["conv_2_0", "conv_2_1", "conv_4_0", "conv_4_1"]
        assert await ids(store, "messages") == kept
        assert await ids(store, "message_texts") == kept

    with_store(url, work)


def test_what_an_agent_remembers_stays_while_its_thread_goes_on_whoever_has_begun_that(url: str):
    async def work(store: Store) -> None:
        mine, begun = store.memories(ORG), (await store.org(ORG).agents.create("a", "a", b"{}"))[0].id
        await store.ledger.commit(
            ConversationAdded("conv_plain", ORG, NEW),
            ConversationAdded("conv_1", ORG, NEW, agent_id=begun, thread_id="named", sub_thread_id="s"),
            ConversationAdded("conv_2", ORG, NEW, agent_id="", thread_id="nobody's", sub_thread_id="s"),
            ConversationAdded("conv_other", "org_b", NEW, agent_id="agt_1", thread_id="theirs", sub_thread_id="s"),
            ConversationAdded("conv_3", ORG, NEW, agent_id="agt_1", thread_id="deleted", sub_thread_id="s"),
        )
        for thread in ("conv_plain", "named", "nobody's", "theirs", "deleted", "conv_other"):
            await mine.put("agt_1", thread, "Ada")
        await store.db.write(
            [
                ("UPDATE conversations SET deleted_at = $1 WHERE id = 'conv_3'", (NEW,)),
                ("UPDATE memories SET updated_at = $1", (OLD,)),
            ]
        )
        await forget(store.db, BEFORE)
        assert await ids(store, "memories") == ["conv_plain", "named", "nobody's"]

    with_store(url, work)


def _said(id: str, seq: int, after: str, detail: bytes | None = b"{}") -> list[MessageAdded | MessageWords]:
    role = "assistant" if seq % 2 else "user"
    content = b'{"role":"%s","parts":[{"type":"Text","text":"the PIN"}]}' % role.encode()
    return [
        MessageAdded(id, ORG, "run_1", seq, role, content, OLD, "conv_1", parent_id=after, detail=detail),
        MessageWords(id, ORG, "conv_1", "the PIN"),
    ]


def test_what_deleted_messages_said_goes_and_what_follows_them_stays(url: str):
    async def work(store: Store) -> None:
        threads = store.org(ORG).threads
        await store.ledger.commit(
            ConversationAdded("conv_1", ORG, NEW, agent_id="agt_1", thread_id="t1", sub_thread_id="t1"),
            *_said("q1", 0, "", b'{"variables":{"pin":4711}}'), *_said("a1", 1, "q1"),
            *_said("q2", 2, "a1"), *_said("refused", 3, "q2", b'{"tools_data":[],"blocked":"the PIN"}'),
            *_said("q3", 4, "refused", None), *_said("a3", 5, "q3"),
            ConversationMoved("conv_1", ORG, "a3", NEW),
        )  # fmt: skip
        for id in ("q1", "refused", "q3", "a3"):
            await threads.delete_message("conv_1", id)
        at = "UPDATE messages SET deleted_at = $1 WHERE id = $2"
        await store.db.write([(at, (OLD if id != "a3" else NEW, id)) for id in ("q1", "refused", "q3", "a3")])
        for _ in range(2):
            await forget(store.db, BEFORE, batch=2)
            rows = await store.db.read(
                "SELECT id, content, detail FROM messages WHERE deleted_at IS NOT NULL ORDER BY id"
            )
            assert [(id, b"PIN" in bytes(content), detail) for id, content, detail in rows] == [
                ("a3", True, b"{}"), ("q1", False, b"{}"), ("q3", False, None),
                ("refused", False, b'{"unchecked":true}'),
            ]  # fmt: skip
        line = await threads.line(await threads.thread("conv_1"), 9, shown=True)
        assert [row.id for row in line.messages] == ["a1", "q2"]
        assert [row.id for row in line.shown()] == ["a1"]  # its refusal is empty, and is one still
        assert (line.head, line.seq) == ("a3", 6)

    with_store(url, work)


def test_what_searches_found_goes(url: str):
    async def work(store: Store) -> None:
        for query in ("old", "new"):
            await store.searches(ORG).keep(query, b"found")
        await store.db.write([("UPDATE search_cache SET created_at = $1 WHERE query = 'old'", (OLD,))])
        await forget(store.db, BEFORE)
        assert [query for (query,) in await store.db.read("SELECT query FROM search_cache")] == ["new"]

    with_store(url, work)
