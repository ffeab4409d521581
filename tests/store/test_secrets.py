from __future__ import annotations

import asyncio

import pytest

from midstream.core.errors import NotFound, StoreDown
from midstream.store import Store, migrate, open_store
from midstream.store.secrets import SealingKey, Secrets

from .sealed import put, secret_of
from .turns import ORG, with_store

KEY, NEXT = b"k" * 32, b"n" * 32
VALUE = "sk-canary-5f2a\N{SNOWMAN}"


def sealed_by(store: Store, org: str, key: bytes) -> Secrets:
    return Secrets(store.db, org, SealingKey(key), lambda: 1.0)


def test_a_secret_comes_back_and_is_nowhere_in_the_clear(url: str) -> None:
    async def work(store: Store) -> None:
        secrets = sealed_by(store, ORG, KEY)
        await put(secrets, "openai", "old")
        await put(secrets, "openai", VALUE)
        assert await secret_of(secrets, "openai") == VALUE
        assert await secrets.names() == ["openai"]
        [(sealed,)] = await store.db.read("SELECT sealed FROM secrets")
        assert b"canary" not in sealed
        await put(secrets, "openai", VALUE)
        assert await store.db.read("SELECT sealed FROM secrets") != [(sealed,)]  # never the same nonce
        await store.db.write([secrets.dropping("openai")])
        assert await secrets.names() == []

    with_store(url, work)


@pytest.mark.parametrize("column", ["org_id", "id"])
def test_a_secret_moved_to_another_org_or_row_does_not_open(url: str, column: str) -> None:
    async def work(store: Store) -> None:
        await put(sealed_by(store, ORG, KEY), "openai", VALUE)
        sql = {"org_id": "UPDATE secrets SET org_id = 'moved'", "id": "UPDATE secrets SET id = 'moved'"}[column]
        await store.db.write([(sql, ())])
        with pytest.raises(StoreDown) as refused:
            await secret_of(sealed_by(store, "moved" if column == "org_id" else ORG, KEY), "openai")
        assert "canary" not in str(refused.value)

    with_store(url, work)


def test_another_orgs_secret_is_as_unknown_as_none(url: str) -> None:
    async def work(store: Store) -> None:
        await put(sealed_by(store, ORG, KEY), "openai", VALUE)
        other = sealed_by(store, "org_other", KEY)
        assert await other.names() == []
        with pytest.raises(NotFound, match="no such secret: openai"):
            await store.org("org_other").nouns.drop_secret("openai")
        await put(other, "openai", "theirs")
        assert await secret_of(sealed_by(store, ORG, KEY), "openai") == VALUE

    with_store(url, work)


def test_the_first_key_that_a_database_is_used_with_stays_its_key(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.key_id()
        store.seal_with(KEY)
        assert await store.settle_key() == SealingKey(KEY).id
        store.seal_with(NEXT)
        assert await store.settle_key() == SealingKey(KEY).id
        assert (first, await store.key_id()) == (None, SealingKey(KEY).id)

    with_store(url, work)


def test_servers_that_start_at_once_agree_on_one_key(postgres_url: str) -> None:
    async def run() -> None:
        for _ in range(5):
            stores = [await open_store(postgres_url, worker=f"w{n}") for n in range(4)]
            keys = [bytes([n]) * 32 for n in range(4)]
            for store, key in zip(stores, keys, strict=True):
                store.seal_with(key)
            [settled] = {*await asyncio.gather(*(store.settle_key() for store in stores))}
            assert settled in {SealingKey(key).id for key in keys}
            await stores[0].db.write([("DELETE FROM sealing_key", ())])
            for store in stores:
                await store.close()

    asyncio.run(run())


def test_the_key_of_a_database_from_before_is_the_one_that_most_of_its_secrets_are_sealed_with(url: str) -> None:
    async def work(store: Store) -> None:
        for sql in ("DROP TABLE sealing_key", "DELETE FROM schema_version WHERE name = 'sealing_key'"):
            await store.db.write([(sql, ())])
        for name, key in (("a", NEXT), ("b", KEY), ("c", KEY)):
            await put(sealed_by(store, ORG, key), name, VALUE)
        await migrate.migrate(store.db)
        assert await store.key_id() == SealingKey(KEY).id

    with_store(url, work)


def test_a_sealing_key_has_32_bytes_and_shows_none_of_them() -> None:
    with pytest.raises(ValueError):
        SealingKey(b"short")
    assert "kkk" not in repr(SealingKey(KEY))
    assert KEY.hex()[:8] not in repr(SealingKey(KEY))


def test_a_changed_ciphertext_does_not_open() -> None:
    key = SealingKey(KEY)
    sealed = key.seal(b"text", ORG, "row")
    assert key.open(sealed, ORG, "row") == b"text"
    for broken in (sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", sealed[:5]):
        with pytest.raises(StoreDown):
            key.open(broken, ORG, "row")
