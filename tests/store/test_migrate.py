from __future__ import annotations

import asyncio

import pytest

from midstream.core.errors import StoreDown
from midstream.store import Store, migrate, open_store
from midstream.store.migrate import Migration, migrations, statements

from .turns import with_store

_MORE = Migration(9001, "more", "CREATE TABLE more (id TEXT PRIMARY KEY);\nINSERT INTO more VALUES ('x');\n", "sum")


def test_every_migration_has_statements_for_both_databases() -> None:
    found = migrations()
    assert found[0].number == 1
    assert len({migration.number for migration in found}) == len(found)
    for migration in found:
        assert statements(migration.text, "sqlite")
        assert statements(migration.text, "postgres")


def test_a_line_for_one_database_is_not_read_by_the_other() -> None:
    text = (
        "CREATE TABLE t (\n-- sqlite: a INT\n-- postgres: b INT\n-- a comment; with a semicolon;\n);\n\nSELECT ';x';\n"
    )
    assert statements(text, "sqlite") == ["CREATE TABLE t (\n a INT\n)", "SELECT ';x'"]
    assert statements(text, "postgres") == ["CREATE TABLE t (\n b INT\n)", "SELECT ';x'"]


def test_a_later_migration_is_applied_once(url: str) -> None:
    async def work(store: Store) -> None:
        for _ in range(2):
            assert await migrate.migrate(store.db, [*migrations(), _MORE]) == 9001
        assert await store.db.read("SELECT id FROM more") == [("x",)]

    with_store(url, work)


def test_a_migration_that_came_after_a_later_one_is_applied_too(url: str) -> None:
    async def work(store: Store) -> None:
        between = Migration(9000, "between", "CREATE TABLE between_them (id TEXT);\n", "sum")
        assert await migrate.migrate(store.db, [*migrations(), _MORE]) == 9001
        assert await migrate.migrate(store.db, [*migrations(), between, _MORE]) == 9001
        assert await store.db.read("SELECT count(*) FROM between_them") == [(0,)]

    with_store(url, work)


def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    broken = Migration(9001, "broken", "CREATE TABLE half (id TEXT);\nINSERT INTO nowhere VALUES (1);\n", "sum")

    async def work(store: Store) -> None:
        with pytest.raises(Exception, match="nowhere"):
            await migrate.migrate(store.db, [*migrations(), broken])
        assert await migrate.migrate(store.db, [*migrations(), _MORE]) == 9001
        with pytest.raises(Exception, match="half"):
            await store.db.read("SELECT * FROM half")

    with_store(url, work)


def test_a_newer_database_is_refused(url: str) -> None:
    async def work(store: Store) -> None:
        await migrate.migrate(store.db, [*migrations(), _MORE])

    with_store(url, work)
    with pytest.raises(StoreDown, match=r"at version 9001, this midstream knows \d+"):
        asyncio.run(open_store(url, worker="w"))


def test_a_migration_changed_after_it_was_applied_is_noticed(url: str) -> None:
    async def work(store: Store) -> None:
        await store.db.write([("UPDATE schema_version SET checksum = 'other'", ())])

    with_store(url, work)
    with pytest.raises(StoreDown, match=r"another text of migration 0001 \(first\)"):
        asyncio.run(open_store(url, worker="w"))


def test_many_servers_may_start_at_once(postgres_url: str) -> None:
    async def run() -> None:
        stores = await asyncio.gather(*(open_store(postgres_url, worker="w") for _ in range(5)))
        assert await stores[0].db.read("SELECT count(*) FROM schema_version") == [(len(migrations()),)]
        assert [row.id for row in await stores[0].all_orgs().orgs()] == ["org_default"]
        for store in stores:
            await store.close()

    asyncio.run(run())
