from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from midstream.core.errors import StoreDown
from midstream.store import Store, checkpoint, ledger, open_store, sqlite

from .turns import ORG, begin, end, with_store


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///")


def test_a_second_server_is_refused_with_the_reason(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(StoreDown, match=rf"in use by another midstream server \(process {os.getpid()}\)"):
            await open_store(sqlite_url, worker="second")
        await store.ledger.commit(*begin())

    with_store(sqlite_url, work)

    async def again(store: Store) -> None:
        assert len(await store.org(ORG).runs()) == 1

    with_store(sqlite_url, again)


def test_nobody_but_its_owner_reads_what_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "new" / "midstream.db"

    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        modes = {path.name: path.stat().st_mode & 0o777 for path in (file.parent, *file.parent.glob("midstream.db*"))}
        assert modes == {"new": 0o700, "midstream.db": 0o600, "midstream.db-wal": 0o600, "midstream.db-shm": 0o600}

    with_store(f"sqlite:///{file}", work)


def test_a_dead_servers_lock_is_free(sqlite_url: str) -> None:
    text = (
        "import asyncio, os, signal, sys\n"
        "from midstream.store import open_store\n"
        "async def run():\n"
        "    await open_store(sys.argv[1], worker='w')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(run())\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", text, sqlite_url], cwd=root, check=False).returncode == -9

    async def work(store: Store) -> None:
        await store.ping()

    with_store(sqlite_url, work)


def test_another_processs_write_lock_is_an_outage_that_ends(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        other = sqlite3.connect(_file(sqlite_url), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(
            store.ledger.commit(*begin("1")), store.ledger.commit(*begin("2")), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreDown, StoreDown]
        assert await store.org(ORG).runs() == []
        other.execute("ROLLBACK")
        other.close()
        await store.ledger.commit(*begin("1"))
        assert len(await store.org(ORG).runs()) == 1

    with_store(sqlite_url, work)


def test_a_full_disk_is_an_outage_that_loses_nothing_and_says_so_once(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin("1"))
        [(pages,)] = await store.db.read("PRAGMA page_count")
        store.db._writer.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]
        await store.ping()
        for _ in range(3):
            with pytest.raises(StoreDown):
                await store.db.write([("UPDATE messages SET content = $1", (b"x" * 100_000,))])
        with pytest.raises(StoreDown, match="database or disk is full"):
            await store.ping()
        assert [one.message for one in caplog.records] == [
            "the database does not take what is written: database or disk is full"
        ]
        store.db._writer.execute("PRAGMA max_page_count = 1000000")  # type: ignore[attr-defined]
        await store.ledger.commit(*end("1"))
        with pytest.raises(StoreDown):  # a commit that is small enough may have found room
            await store.ping()
        monkeypatch.setattr(sqlite, "HOLDS", 0.0)
        await store.ping()
        assert [m.id for m in await store.org(ORG).run_messages("run_1")] == ["msg_1_in", "msg_1_out"]

    with_store(sqlite_url, work)


@pytest.mark.parametrize("gone", ["midstream.db", ""], ids=["the file", "its directory"])
def test_a_database_that_is_gone_takes_nothing_that_would_be_kept(tmp_path: Path, gone: str) -> None:
    data = tmp_path / "data"

    async def work(store: Store) -> None:
        await store.ping()
        moved = (data / gone).rename(tmp_path / "elsewhere")
        with pytest.raises(StoreDown, match=rf"the database {data}/midstream.db cannot be found: No such file"):
            await store.ping()
        moved.rename(data / gone)
        await store.ping()

    with_store(f"sqlite:///{data}/midstream.db", work)


def test_a_file_that_becomes_read_only_is_an_outage_that_ends(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin("1"))
        store.db._writer.execute("PRAGMA query_only = 1")  # type: ignore[attr-defined]
        with pytest.raises(StoreDown):
            await store.ledger.commit(*end("1"))
        assert [row.status for row in await store.org(ORG).attempts()] == ["started"]
        store.db._writer.execute("PRAGMA query_only = 0")  # type: ignore[attr-defined]
        await store.ledger.commit(*end("1"))
        assert [row.status for row in await store.org(ORG).attempts()] == ["ok"]

    with_store(sqlite_url, work)


def _spoiled(file: str) -> None:
    """The pages of its tables, but for the first one."""
    with open(file, "r+b") as spoiled:
        spoiled.seek(4096)
        spoiled.write(b"\x7f" * (os.path.getsize(file) - 4096))


def test_a_file_that_is_spoiled_under_a_server_is_an_outage_and_no_bug(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin("1"))
        db = store.db
        assert isinstance(db, sqlite.SqliteDatabase)
        db._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _spoiled(_file(sqlite_url))
        for connection in (db._writer, db._near):
            connection.execute("PRAGMA cache_size = 0")
        for asked in (
            db.read("SELECT * FROM runs"),
            db.look_up("SELECT * FROM runs"),
            store.ledger.commit(*begin("2")),
        ):
            with pytest.raises(StoreDown):
                await asked
        with pytest.raises(StoreDown):  # nothing that the file says can be taken for text
            await db.read("SELECT CAST(x'ff' AS TEXT)")

    with_store(sqlite_url, work)


def test_a_checkpoint_that_fails_for_any_reason_is_made_again(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PAGES", 0)
    spoiled = True

    async def work(store: Store) -> None:
        log = store.db._checkpointer  # type: ignore[attr-defined]
        moved: list[bool] = []

        class Connection:
            def execute(self, sql: str) -> object:
                moved.append(spoiled)
                if spoiled:
                    raise sqlite3.DatabaseError("database disk image is malformed")
                return real.execute(sql)

            def close(self) -> None:
                real.close()

        nonlocal spoiled
        real, log._connection = log._connection, Connection()
        for spoiled in (True, False):
            async with asyncio.timeout(5):
                while spoiled not in moved or log._task is not None:
                    await store.ledger.commit(*begin(str(spoiled)))  # begins one, unless one is under way
                    await asyncio.sleep(0.01)
        spoiled = True  # its end is not the store's

    with_store(sqlite_url, work)


def test_a_file_that_is_no_database_is_refused(sqlite_url: str) -> None:
    Path(_file(sqlite_url)).write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreDown):
        asyncio.run(open_store(sqlite_url, worker="w"))


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "midstream.db", tmp_path):
        with pytest.raises(StoreDown):
            asyncio.run(open_store(f"sqlite:///{path}", worker="w"))


def test_reads_of_any_number_run_at_once(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        answers = await asyncio.gather(*(store.db.read("SELECT $1 + 0", n) for n in range(50)))
        assert answers == [[(n,)] for n in range(50)]

    with_store(sqlite_url, work)


def test_a_placeholder_may_be_used_twice_and_in_any_order(any_url: str) -> None:
    async def work(store: Store) -> None:
        sql = "SELECT name FROM orgs WHERE id = $2 AND id = $2 AND name = $1"
        assert await store.db.read(sql, "default", ORG) == [("default",)]

    with_store(any_url, work)


def test_the_log_is_written_over_not_grown(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PAGES", 200)
    monkeypatch.setattr(checkpoint, "PAGES_AT_MOST", 400)

    async def work(store: Store) -> None:
        async def caller(number: int) -> None:
            for turn in range(100):
                await store.ledger.commit(*begin(f"{number}_{turn}"))
                await store.ledger.commit(*end(f"{number}_{turn}"))

        await asyncio.gather(*(caller(number) for number in range(8)))
        log = Path(_file(sqlite_url) + "-wal").stat().st_size
        data = Path(_file(sqlite_url)).stat().st_size
        assert log < 8 * 1024 * 1024
        assert data > 200_000, "nothing was moved into the database"
        assert len(await store.org(ORG).attempts(limit=10_000)) == 800

    with_store(sqlite_url, work)
    assert not Path(_file(sqlite_url) + "-wal").exists()


def test_large_content_is_noticed_by_the_size_of_the_log(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PAGES", 2_000)
    monkeypatch.setattr(checkpoint, "PAGES_PER_COMMIT", 0)
    monkeypatch.setattr(checkpoint, "PAGES_PER_TRANSACTION", 0)

    async def work(store: Store) -> None:
        before = Path(_file(sqlite_url)).stat().st_size
        sql = (
            "INSERT INTO outbox (id, org_id, topic, payload, created_at, available_at) VALUES ($1, 'o', 't', $2, 0, 0)"
        )
        for n in range(checkpoint.LOOK_EVERY + 1):
            await store.db.write([(sql, (str(n), b"x" * 200_000))])
        for _ in range(200):
            if Path(_file(sqlite_url)).stat().st_size > before + 5_000_000:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the log was not moved")

    with_store(sqlite_url, work)


def test_writes_wait_for_the_end_of_a_checkpoint_without_being_lost(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        db = store.db
        assert isinstance(db, sqlite.SqliteDatabase)
        writes = [asyncio.create_task(store.ledger.commit(*begin("0")))]
        await asyncio.sleep(0)  # handed in before the writer is held, not yet written
        db.hold(True)
        writes += [asyncio.create_task(store.ledger.commit(*begin(str(n)))) for n in (1, 2)]
        await asyncio.sleep(0.02)
        done = [task.done() for task in writes]
        db.hold(False)
        assert done == [False] * 3
        await asyncio.gather(*writes)
        assert len(await store.org(ORG).runs()) == 3

    with_store(sqlite_url, work)


def test_full_sync_keeps_the_promises_of_the_ledger(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        await asyncio.gather(*(store.ledger.commit(*begin(str(n))) for n in range(20)))
        await asyncio.gather(*(store.ledger.commit(*end(str(n))) for n in range(20)))
        assert {row.status for row in await store.org(ORG).attempts()} == {"ok"}
        mode = store.db._writer.execute("PRAGMA synchronous").fetchone()  # type: ignore[attr-defined]
        assert mode == (2,)

    with_store(sqlite_url, work, full_sync=True)


PAIRS = "\nVALUES ($1, $2, $2) ON CONFLICT (id) DO NOTHING"
#: Each row's number depends on the rows before it.
COUNTED = "\nVALUES ($1, (SELECT COUNT(*) FROM pairs), $2) ON CONFLICT (id) DO NOTHING"


def written(insert: str, *rows: tuple[str, int | None]) -> list[tuple[object, ...]]:
    """What is stored, in order, once rows have come from as many callers at once; errors in its place."""

    async def work() -> list[tuple[object, ...]]:
        db = sqlite.SqliteDatabase(None)
        await db.write([("CREATE TABLE pairs (id TEXT UNIQUE, one INTEGER NOT NULL, two INTEGER)", ())])
        calls = [db.write([(f"INSERT INTO pairs (id, one, two){insert}", row)]) for row in rows]
        failed = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error is not None]
        assert len(failed) == sum(row[1] is None for row in rows)
        stored = await db.read("SELECT id, one, two FROM pairs ORDER BY rowid")
        await db.close()
        return stored

    return asyncio.run(work())


@pytest.mark.parametrize("count", [1, 2, sqlite.ROWS - 1, sqlite.ROWS, sqlite.ROWS + 1, 3 * sqlite.ROWS + 2])
def test_rows_that_are_inserted_together_are_what_they_would_be_alone(count: int) -> None:
    assert written(PAIRS, *((f"i{n}", n) for n in range(count))) == [(f"i{n}", n, n) for n in range(count)]


def test_a_row_that_exists_is_left_as_it_is_among_rows_that_are_inserted_together() -> None:
    rows = [(f"i{n % 5}", n) for n in range(2 * sqlite.ROWS)]
    assert written(PAIRS, *rows) == [(f"i{n}", n, n) for n in range(5)]


def test_a_row_that_cannot_be_fails_alone_among_rows_that_are_inserted_together() -> None:
    rows = [(f"i{n}", None if n == 3 else n) for n in range(2 * sqlite.ROWS)]
    assert written(PAIRS, *rows) == [(id, n, n) for id, n in rows if n is not None]


def test_a_row_that_depends_on_the_one_before_is_inserted_after_it() -> None:
    rows = [(f"i{n}", n) for n in range(2 * sqlite.ROWS)]
    assert written(COUNTED, *rows) == [(id, n, n) for id, n in rows]


def test_the_rows_of_a_request_are_inserted_together() -> None:
    rows = sqlite._InRows()
    for text in (ledger._PLAIN_RUN_STARTED, ledger._ATTEMPT_STARTED, ledger._PLAIN_MESSAGE_ADDED):
        assert rows[text].count("), (") == sqlite.ROWS - 1
