"""A key that has leaked is replaced: the next one opens all that it had sealed, and it opens nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from midstream.core.errors import Conflict, StoreDown
from midstream.store import Store, open_store, visited
from midstream.store.database import Statement, with_clock
from midstream.store.secrets import SealingKey, Secrets

from .sealed import put, secret_of
from .turns import ORG

KEY, NEXT = b"k" * 32, b"n" * 32
ORGS = (ORG, "org_other")
#: Sealed texts beside the secrets, by table: the statement that stores one as $1 and the one that reads it.
_JOB = (
    "INSERT INTO jobs (id, org_id, key_id, kind, run_id, request, status, created_at, available_at) "
    "VALUES ('{0}', 'org_default', 'key', 'turn', 'run', $1, '{0}', 1, 1)"
)
OTHERS = {
    "queued": (_JOB.format("queued"), "SELECT request FROM jobs WHERE id = 'queued'"),
    "running": (_JOB.format("running"), "SELECT request FROM jobs WHERE id = 'running'"),
    "batch": (
        "INSERT INTO batches (id, org_id, body, created_at) VALUES ('batch', 'org_default', $1, 1)",
        "SELECT body FROM batches",
    ),
    "dlv": (
        "INSERT INTO deliveries (id, org_id, kind, target, payload, status, available_at, created_at) "
        "VALUES ('dlv', 'org_default', 'webhook', $1, $1, 'dead', 1, 1)",
        "SELECT target FROM deliveries WHERE kind = 'webhook'",
    ),
}


def secrets(store: Store, org: str, key: bytes) -> Secrets:
    return Secrets(store.db, org, SealingKey(key), lambda: 1.0)


async def used(url: str) -> None:
    """A server with the key has been there, with two secrets of each org and one other text of each kind."""
    store = await open_store(url, worker="w")
    store.seal_with(KEY)
    await store.settle_key()
    for org in ORGS:
        for name in "ab":
            await put(secrets(store, org, KEY), name, f"{org} {name}")
    for id, (add, _) in OTHERS.items():
        await store.db.write([(add, (SealingKey(KEY).seal(id.encode(), ORG, id),))])
    await store.close()


async def opened(store: Store, key: bytes) -> int:
    """How many of all texts this key opens, each the one that it was."""
    count = 0
    for org in ORGS:
        for name in "ab":
            with contextlib.suppress(StoreDown):
                count += await secret_of(secrets(store, org, key), name) == f"{org} {name}"
    for id, (_, read) in OTHERS.items():
        [(sealed,)] = await store.db.read(read)
        with contextlib.suppress(StoreDown):
            count += SealingKey(key).open(sealed, ORG, id) == id.encode()
    return count


def test_the_next_key_opens_what_the_old_one_has_sealed_for_every_org_and_the_old_one_nothing(url: str) -> None:
    async def run() -> None:
        await used(url)
        async with visited(url) as store:
            done = await store.replace_key(KEY, NEXT)
            assert (done.count, done.lost) == (8, 0)
            assert (await opened(store, NEXT), await opened(store, KEY)) == (8, 0)
            assert await store.key_id() == SealingKey(NEXT).id
            assert await store.db.read("SELECT DISTINCT key_id FROM secrets") == [(SealingKey(NEXT).id,)]
            with pytest.raises(Conflict):
                await store.replace_key(KEY, b"x" * 32)
            assert await opened(store, NEXT) == 8

    asyncio.run(run())


class Struck:
    """A database whose transactions fail with their last statement."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def alter(self, statements: Sequence[Statement]) -> None:
        await self._db.alter([*statements, *[("INSERT INTO workers VALUES ('twice', 1, 0, 0, 0)", ())] * 2])

    write = alter


def test_a_key_is_replaced_in_whole_or_not_at_all(url: str) -> None:
    async def run() -> None:
        await used(url)
        async with visited(url) as store:
            whole, store.db = store.db, Struck(store.db)
            with pytest.raises(Conflict):
                await store.replace_key(KEY, NEXT)
            store.db = whole
            assert (await opened(store, KEY), await store.key_id()) == (8, SealingKey(KEY).id)

    asyncio.run(run())


def test_what_the_old_key_does_not_open_stays_and_is_counted(url: str) -> None:
    async def run() -> None:
        await used(url)
        async with visited(url) as store:
            await put(secrets(store, ORG, b"x" * 32), "odd", "of another key")
            done = await store.replace_key(KEY, NEXT)
            assert (done.count, done.lost) == (8, 1)
            assert await secret_of(secrets(store, ORG, b"x" * 32), "odd") == "of another key"

    asyncio.run(run())


def test_of_turns_that_have_ended_nothing_is_left_for_the_old_key(url: str) -> None:
    async def run() -> None:
        await used(url)
        async with visited(url) as store:
            sealed = SealingKey(KEY).seal(b"with a caller's key", ORG, "failed")
            await store.db.write([(_JOB.format("failed"), (sealed,))])
            assert (await store.replace_key(KEY, NEXT)).count == 8
            assert await store.db.read("SELECT request FROM jobs WHERE id = 'failed'") == [(b"",)]

    asyncio.run(run())


def test_no_key_is_replaced_under_a_server_on_postgres(postgres_url: str) -> None:
    async def run() -> None:
        await used(postgres_url)
        server = await open_store(postgres_url, worker="w")
        async with visited(postgres_url) as store:
            assert await store.in_use()
            with pytest.raises(Conflict):
                await store.replace_key(KEY, NEXT)
            assert (await opened(store, KEY), await store.key_id()) == (8, SealingKey(KEY).id)
            await server.close()
            assert not await store.in_use()
            assert (await store.replace_key(KEY, NEXT)).count == 8

    asyncio.run(run())


class Visited(Struck):
    """A database at which a server starts and stops between what is read and what is written."""

    async def alter(self, statements: Sequence[Statement]) -> None:
        came = "INSERT INTO workers (id, started_at, seen_at) VALUES ('s', @clock, 0)"
        await self._db.write([(with_clock(came, "postgres"), ())])
        await self._db.alter(statements)


def test_no_key_is_replaced_where_a_server_was_in_between(postgres_url: str) -> None:
    async def run() -> None:
        await used(postgres_url)
        async with visited(postgres_url) as store:
            store.db = Visited(store.db)
            with pytest.raises(Conflict):
                await store.replace_key(KEY, NEXT)
            assert (await opened(store, KEY), await store.key_id()) == (8, SealingKey(KEY).id)

    asyncio.run(run())


class Slow(Struck):
    """A database whose transactions last."""

    async def alter(self, statements: Sequence[Statement]) -> None:
        await self._db.alter([*statements, ("SELECT pg_sleep(0.3)", ())])


def test_a_server_that_starts_while_the_key_is_replaced_finds_the_new_one(postgres_url: str) -> None:
    async def run() -> None:
        await used(postgres_url)
        async with visited(postgres_url) as store:
            whole, store.db = store.db, Slow(store.db)
            replacing = asyncio.create_task(store.replace_key(KEY, NEXT))
            asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            while not await whole.read(asleep):
                await asyncio.sleep(0.01)
            server = await open_store(postgres_url, worker="w")
            assert await server.key_id() == SealingKey(NEXT).id
            await server.close()
            await replacing

    asyncio.run(run())


def test_a_key_that_nothing_is_sealed_with_yet_is_replaced_too(url: str) -> None:
    async def run() -> None:
        store = await open_store(url, worker="w")
        store.seal_with(KEY)
        await store.settle_key()
        await store.close()
        async with visited(url) as alone:
            assert (await alone.replace_key(KEY, NEXT)).count == 0
            assert await alone.key_id() == SealingKey(NEXT).id

    asyncio.run(run())
