from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit

import asyncpg
import pytest

from midstream.core.errors import StoreDown
from midstream.store import Store, open_store
from midstream.store import postgres as postgres_store
from midstream.store.metrics import ARRIVES
from midstream.store.notices import follow
from midstream.store.postgres import PostgresDatabase

from ..postgres import REFUSALS, PrivateServer, Server, owned_by_a_role
from .turns import ORG, begin, end, with_store


class _Cutter:
    """A relay to the server that cuts a connection as soon as the server has answered what contains `mark`, so that
    the client never learns of it. cuts: how many more times."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.cuts = 0

    @contextlib.asynccontextmanager
    async def relay(self, url: str) -> AsyncIterator[str]:
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port or 5432
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
            tasks.discard(task)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        user = f"{parts.username}{':' + parts.password if parts.password else ''}"
        try:
            yield parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        doomed = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(65536):
                if self.cuts and self.mark in data:
                    self.cuts -= 1
                    doomed.set()
                up_writer.write(data)

        async def down() -> None:
            while data := await up_reader.read(65536):
                if doomed.is_set():
                    return
                writer.write(data)

        pumps = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            up_writer.close()
            writer.transport.abort()


def test_a_connection_cut_during_commit_leaves_the_transaction_done_once(postgres_url: str) -> None:
    async def run() -> None:
        cutter = _Cutter(b"COMMIT")
        async with cutter.relay(postgres_url) as relayed:
            store = await open_store(relayed, worker="w")
            cutter.cuts = 1
            await asyncio.gather(*(store.ledger.commit(*begin(str(n))) for n in range(3)))
            assert cutter.cuts == 0
            cutter.cuts = 1
            await asyncio.gather(*(store.ledger.commit(*end(str(n))) for n in range(3)))
            assert cutter.cuts == 0
            assert [row.status for row in await store.org(ORG).attempts()] == ["ok"] * 3
            assert await store.db.read("SELECT count(*) FROM messages") == [(6,)]
            await store.close()

    asyncio.run(run())


def test_a_connection_cut_again_and_again_is_an_outage(postgres_url: str) -> None:
    async def run() -> None:
        cutter = _Cutter(b"COMMIT")
        async with cutter.relay(postgres_url) as relayed:
            store = await open_store(relayed, worker="w")
            cutter.cuts = 2
            with pytest.raises(StoreDown):
                await store.ledger.commit(*begin())
            await store.ledger.commit(*begin())  # the same again: done once
            assert len(await store.org(ORG).attempts()) == 1
            await store.close()

    asyncio.run(run())


def _private(server: Server) -> PrivateServer:
    if not isinstance(server, PrivateServer):
        pytest.skip("the given server is not ours to restart")
    return server


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_under_traffic_is_an_outage_that_ends(server: Server, postgres_url: str, how: int) -> None:
    private = _private(server)
    acked: set[str] = set()
    refused: list[StoreDown] = []

    async def caller(store: Store, number: int, stop: asyncio.Event) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            name = f"{number}_{turn}"
            for records in (begin(name), end(name)):
                while True:
                    try:
                        await store.ledger.commit(*records)
                        break
                    except StoreDown as error:
                        refused.append(error)
                        await asyncio.sleep(0.02)
            acked.add(f"att_{name}")

    async def work(store: Store) -> None:
        stop = asyncio.Event()
        callers = [asyncio.create_task(caller(store, number, stop)) for number in range(4)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(private.stop, how)
        before = len(acked)
        await asyncio.sleep(0.1)
        with pytest.raises(StoreDown):
            await store.db.read("SELECT 1")
        await asyncio.to_thread(private.start)
        async with asyncio.timeout(20):
            while len(acked) < before + 20 and not any(task.done() for task in callers):
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*callers)
        assert refused
        attempts = await store.org(ORG).attempts(limit=100_000)
        assert {row.id for row in attempts} == acked
        assert {row.status for row in attempts} == {"ok"}
        assert await store.db.read("SELECT count(*) FROM messages") == [(2 * len(acked),)]

    with_store(postgres_url, work)


def test_sessions_ended_by_an_administrator_are_replaced_unseen(server: Server, postgres_url: str) -> None:
    async def work(store: Store) -> None:
        name = urlsplit(postgres_url).path[1:]
        for n in range(5):
            await store.ledger.commit(*begin(str(n)))
            await asyncio.to_thread(
                server.sql, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            assert len(await store.org(ORG).runs()) == n + 1

    with_store(postgres_url, work)


@pytest.mark.parametrize("how", REFUSALS)
def test_a_server_that_refuses_to_let_us_in_is_an_outage_whatever_its_reason(
    server: Server, postgres_url: str, how: str
) -> None:
    with owned_by_a_role(server, postgres_url) as (url, name, role):
        off, on = (sql.format(name, role) for sql in REFUSALS[how])
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"

        async def work(store: Store) -> None:
            listening = asyncio.ensure_future(follow(store.db, "news", lambda text: None, lambda: None))
            await asyncio.sleep(0.2)
            for sql in (off, ended):
                await asyncio.to_thread(server.sql, sql)
            try:
                asked = (store.ping(), store.db.read("SELECT 1"), store.ledger.commit(*begin()), listening)
                outcomes = await asyncio.gather(*asked, return_exceptions=True)
                assert [type(outcome) for outcome in outcomes] == [StoreDown] * 4
            finally:
                await asyncio.to_thread(server.sql, on)
            await store.ledger.commit(*begin())
            assert len(await store.org(ORG).attempts()) == 1

        with_store(url, work)


@pytest.mark.parametrize("refused", [
    asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.ConfigFileError,
    asyncpg.IdleInTransactionSessionTimeoutError, asyncpg.DataCorruptedError, asyncpg.DiskFullError,
    asyncpg.InvalidCachedStatementError, asyncpg.exceptions.UnknownPostgresError,
])  # fmt: skip
def test_what_a_server_refuses_for_reasons_of_its_own_is_an_outage(refused: type[Exception]) -> None:
    assert isinstance(postgres_store.mapped(refused("")), StoreDown)


def test_who_is_not_let_in_asks_nothing_so_no_reason_for_that_is_a_bug() -> None:
    class Pool:
        async def acquire(self, timeout: float) -> object:
            raise asyncpg.PostgresSyntaxError("of something before us")

        async def expire_connections(self) -> None:
            pass

    async def run() -> None:
        db = PostgresDatabase(Pool())
        for asked in (db.read("SELECT 1"), db.look_up("SELECT 1"), db.write([("SELECT 1", ())])):
            with pytest.raises(StoreDown):
                await asked

    asyncio.run(run())


def test_what_only_a_bug_can_cause_is_shown_as_it_is() -> None:
    for error in (asyncpg.UndefinedTableError(""), asyncpg.NotNullViolationError(""), asyncpg.PostgresSyntaxError("")):
        assert postgres_store.mapped(error) is error


def test_a_table_that_may_not_be_touched_for_a_while_is_an_outage_that_ends(server: Server, postgres_url: str) -> None:
    with owned_by_a_role(server, postgres_url) as (url, _, role):

        async def work(store: Store) -> None:
            await store.db.write([(f"REVOKE ALL ON runs FROM {role}", ())])
            with pytest.raises(StoreDown):
                await store.ledger.commit(*begin())
            with pytest.raises(StoreDown):
                await store.db.read("SELECT id FROM runs")
            await store.db.write([(f"GRANT ALL ON runs TO {role}", ())])
            await store.ledger.commit(*begin())

        with_store(url, work)


def test_no_free_connection_is_an_outage(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "ACQUIRE_TIMEOUT", 0.1)

    async def run() -> None:
        db = await PostgresDatabase.connect(postgres_url, connections=1)
        busy = asyncio.create_task(db.read("SELECT pg_sleep(0.6)"))
        await asyncio.sleep(0.05)
        with pytest.raises(StoreDown) as refused:
            await db.read("SELECT 1")
        assert (refused.value.status, refused.value.retry_after) == (503, 1.0)
        with pytest.raises(StoreDown):
            await db.write([("SELECT 1", ())])
        await busy
        assert await db.read("SELECT 1") == [(1,)]
        await db.close()

    asyncio.run(run())


def test_a_statement_that_takes_too_long_is_an_outage(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(postgres_store, "PATIENCE", 0.2)

    async def run() -> None:
        db = await PostgresDatabase.connect(postgres_url)
        for ask in (db.read, db.look_up):
            with pytest.raises(StoreDown):
                await ask("SELECT pg_sleep(5)")
        with pytest.raises(StoreDown):
            await db.write([("SELECT pg_sleep(5)", ())])
        assert await db.read("SELECT 1") == [(1,)]
        await db.alter([("SELECT pg_sleep(0.5)", ())])  # nobody is served yet
        await db.close()

    asyncio.run(run())


def test_a_server_that_stands_still_is_given_up_soon_and_used_again_when_it_goes_on(
    server: Server, postgres_url: str
) -> None:
    private = _private(server)

    async def waited(work: Awaitable[object]) -> float:
        began = time.monotonic()
        with pytest.raises(StoreDown):
            await work
        return time.monotonic() - began

    async def work(store: Store) -> None:
        await store.ledger.commit(*begin("before"))
        private.freeze()
        try:
            async with asyncio.TaskGroup() as group:
                first = [group.create_task(waited(store.ledger.commit(*begin(str(n))))) for n in range(3)]
                first.append(group.create_task(waited(store.keys.find("ms-nobody"))))
                await asyncio.sleep(0.2)  # these wait for the end of that commit, then for their own
                behind = [group.create_task(waited(store.ledger.commit(*begin(f"b{n}")))) for n in range(3)]
            assert max(task.result() for task in (*first, *behind)) < 6
            assert await waited(store.ledger.commit(*begin("late"))) < 3, "nobody waits so long for what is known"
        finally:
            private.freeze(signal.SIGCONT)
        await store.ledger.commit(*begin("after"))
        assert {"att_before", "att_after"} <= {row.id for row in await store.org(ORG).attempts()}

    with_store(postgres_url, work)


def test_a_write_that_is_too_much_for_a_slow_server_is_given_up_and_the_next_one_is_made(postgres_url: str) -> None:
    slow = "INSERT INTO orgs (id, name, created_at) SELECT $1, $2, 0 FROM pg_sleep(0.1)"

    async def work(store: Store) -> None:
        large = asyncio.ensure_future(store.db.write([(slow, (f"o{n}", "x" * 200_000)) for n in range(200)]))
        await asyncio.wait([large], timeout=10)
        assert large.done(), "it waits for ever, and every write behind it"
        assert isinstance(large.exception(), StoreDown)
        await store.ledger.commit(*begin("after"))
        assert await store.db.read("SELECT id FROM orgs WHERE id LIKE 'o%' AND name LIKE 'x%'") == []

    with_store(postgres_url, work)


def test_two_servers_in_each_others_way_both_get_through(postgres_url: str) -> None:
    async def run() -> None:
        one, two = [await open_store(postgres_url, worker="w") for _ in range(2)]
        for n in range(4):
            await one.db.write([("INSERT INTO orgs (id, name, created_at) VALUES ($1, '', 0)", (f"o{n}",))])
        sql = "UPDATE orgs SET created_at = created_at + 1 WHERE id = $1 AND pg_sleep(0.02) IS NOT NULL"
        # opposite orders: without another try one of them dies of a deadlock
        await asyncio.gather(
            one.db.write([(sql, ("o0",)), ("SELECT 1", ()), (sql, ("o1",))]),
            two.db.write([(sql, ("o1",)), ("SELECT 1", ()), (sql, ("o0",))]),
        )
        assert await one.db.read("SELECT created_at FROM orgs WHERE id IN ('o0', 'o1')") == [(2.0,), (2.0,)]
        await one.close()
        await two.close()

    asyncio.run(run())


#: A server that is stopped as soon as it holds the row by which all servers number what arrives.
_STANDS_STILL = """
import asyncio, os, signal, sys
from midstream.store.metrics import ARRIVES
from midstream.store.postgres import PostgresDatabase

async def run():
    db = await PostgresDatabase.connect(sys.argv[1])
    write = asyncio.create_task(db.write([(ARRIVES, ()), ("SELECT pg_sleep(0.3)", ())]))
    held = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(0.3)'"
    while not await db.read(held + " AND pid <> pg_backend_pid()"):
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGSTOP)
    await asyncio.gather(write, return_exceptions=True)
    print(await db.read("SELECT 1"), flush=True)

asyncio.run(run())
"""


def test_a_server_that_is_stopped_in_a_transaction_holds_up_the_others_for_seconds_only(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        stopped = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _STANDS_STILL, postgres_url, stdout=asyncio.subprocess.PIPE
        )
        try:
            await asyncio.to_thread(os.waitid, os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
            await asyncio.gather(*(store.db.write([(ARRIVES, ())]) for _ in range(3)))
            stopped.send_signal(signal.SIGCONT)
            told, _ = await stopped.communicate()
            assert told == b"[(1,)]\n", "it goes on where its transaction was ended meanwhile"
        finally:
            with contextlib.suppress(ProcessLookupError):
                stopped.kill()
            await stopped.wait()

    with_store(postgres_url, work)


@contextlib.asynccontextmanager
async def _locked(url: str) -> AsyncIterator[None]:
    """By somebody who takes time, all orgs."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN; UPDATE orgs SET name = name")
        yield
    finally:
        await connection.close()


def test_a_row_that_another_holds_is_waited_for_again_and_then_it_is_an_outage(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "LOCK_TIMEOUT", 0.2)
    rename = ("UPDATE orgs SET name = 'x'", ())

    async def work(store: Store) -> None:
        await store.db.write([("INSERT INTO orgs (id, name, created_at) VALUES ('o', '', 0)", ())])
        async with _locked(postgres_url):
            began = time.monotonic()
            with pytest.raises(StoreDown):
                await store.db.write([rename])
            assert 0.2 * postgres_store.OF_HELD <= time.monotonic() - began < 2.5
            waiting = asyncio.ensure_future(store.db.write([rename]))
            await asyncio.sleep(0.3)
        await waiting
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        assert await store.db.read(waits) == []

    with_store(postgres_url, work)


def test_what_others_write_beside_it_does_not_wait_for_a_held_row(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "LOCK_TIMEOUT", 0.2)

    async def work(store: Store) -> None:
        add = "INSERT INTO orgs (id, name, created_at) VALUES ($1, '', 0)"
        await store.db.write([(add, ("o",))])
        async with _locked(postgres_url):
            writes = [store.db.write([(add, (f"o{number}",))]) for number in range(5)]
            held = store.db.write([("UPDATE orgs SET name = 'x' WHERE id = 'o'", ())])
            told = await asyncio.gather(*writes[:2], held, *writes[2:], return_exceptions=True)
        assert [type(one) for one in told] == [type(None), type(None), StoreDown, *[type(None)] * 3]
        assert len(await store.db.read("SELECT 1 FROM orgs WHERE id LIKE 'o_'")) == 5

    with_store(postgres_url, work)


def test_tables_are_brought_to_a_new_form_however_long_others_hold_them(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "LOCK_TIMEOUT", 0.05)
    monkeypatch.setattr(postgres_store, "IDLE_TIMEOUT", 0.05)

    async def work(store: Store) -> None:
        async with _locked(postgres_url):
            altered = asyncio.ensure_future(store.db.alter([("ALTER TABLE orgs ADD COLUMN more TEXT", ())]))
            await asyncio.sleep(0.6)
            assert not altered.done()
        await altered

    with_store(postgres_url, work)


def test_what_all_servers_need_is_taken_last_in_a_transaction(postgres_url: str) -> None:
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'arrivals'::regclass AND mode = 'RowExclusiveLock'"

    async def work(store: Store) -> None:
        await store.db.write([("CREATE TABLE seen (at TEXT, held BIGINT)", ())])
        see = f"INSERT INTO seen SELECT $1, ({held})"
        await asyncio.gather(
            store.db.write([(ARRIVES, ()), (see, ("account",))]), store.db.write([(see + " WHERE true", ("other",))])
        )  # in one transaction
        assert sorted(await store.db.read("SELECT at, held FROM seen")) == [("account", 1), ("other", 0)]

    with_store(postgres_url, work)


def test_a_read_only_server_is_an_outage(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(StoreDown):
            await store.db.write([("SET TRANSACTION READ ONLY", ()), ("DELETE FROM orgs", ())])

    with_store(postgres_url, work)


def test_a_server_that_is_not_there_is_said_to_be_down() -> None:
    with pytest.raises(StoreDown, match="PostgreSQL cannot be used"):
        asyncio.run(open_store("postgresql://nobody:hunter2@127.0.0.1:1/none", worker="w"))


def test_the_password_is_in_no_error() -> None:
    for url in (
        "postgresql://nobody:hunter2@127.0.0.1:1/none",
        "postgresql://nobody:hunter2@[::bad/none",
        "x://hunter2",
    ):
        with pytest.raises(StoreDown) as refused:
            asyncio.run(open_store(url, worker="w"))
        assert "hunter2" not in str(refused.value)
