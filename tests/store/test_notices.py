from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from midstream.core.errors import StoreDown
from midstream.store import postgres as postgres_store
from midstream.store.notices import follow, notice
from midstream.store.postgres import PostgresDatabase

from ..postgres import Server


def test_notices_are_heard_by_all_in_order_once_they_are_durable_and_until_the_connection_is_gone(
    server: Server, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_store, "LOOK", 0.05)

    async def run() -> None:
        dbs = [await PostgresDatabase.connect(postgres_url) for _ in range(2)]
        name = urlsplit(postgres_url).path.removeprefix("/")
        heard: list[list[str]] = [[], []]
        began = [asyncio.Event() for _ in dbs]
        tasks = [
            asyncio.create_task(follow(db, "here", texts.append, event.set))
            for db, texts, event in zip(dbs, heard, began, strict=True)
        ]
        async with asyncio.timeout(10):
            for event in began:
                await event.wait()
            with pytest.raises(asyncpg.UndefinedTableError):
                await dbs[0].write([notice("here", "never"), ("INSERT INTO nowhere VALUES ($1)", (1,))])
            await dbs[0].write([notice("elsewhere", "x")])
            for number in range(50):
                await dbs[number % 2].write([notice("here", f"{number} a"), notice("here", f"{number} b")])
            wanted = [f"{number} {letter}" for number in range(50) for letter in "ab"]
            while heard != [wanted, wanted]:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(
                server.sql, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            for task in tasks:
                with pytest.raises(StoreDown):
                    await task
            again = asyncio.create_task(follow(dbs[0], "here", heard[0].append, began[0].set))
            began[0].clear()
            await began[0].wait()
            again.cancel()
            await asyncio.wait([again])
        for db in dbs:
            await db.close()

    asyncio.run(run())
