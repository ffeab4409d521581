from __future__ import annotations

import re
import time

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
from midstream.store.keys import hash_of

from .turns import ORG, with_store


def test_a_key_is_shown_once_and_stored_as_its_hash(url: str) -> None:
    async def work(store: Store) -> None:
        key, text = await store.keys.create(ORG, "laptop", ["chat", "admin"], expires_at=50.0)
        assert re.fullmatch(r"ms-[0-9a-f]{64}", text)
        assert key.scopes == {"chat", "admin"}
        stored = repr(await store.db.read("SELECT * FROM api_keys"))
        assert text not in stored
        assert hash_of(text) in stored
        assert await store.keys.find(text) == key
        assert await store.keys.list(ORG) == [key]
        assert text not in repr(key)
        assert (key.valid(49.9), key.valid(50.0)) == (True, False)

    with_store(url, work)


def test_what_is_no_key_is_not_found(url: str) -> None:
    async def work(store: Store) -> None:
        _, text = await store.keys.create(ORG, "k")
        for wrong in ("", "ms-", text[:-1], text + "0", text.upper(), "\ud800", "a\0b"):
            assert await store.keys.find(wrong) is None

    with_store(url, work)


def test_a_revoked_key_stays_revoked_from_the_first_time(url: str) -> None:
    async def work(store: Store) -> None:
        key, text = await store.keys.create(ORG, "k")
        await store.keys.revoke(ORG, key.id)
        first = await store.keys.find(text)
        assert first is not None
        assert not first.valid(0.0)
        await store.keys.revoke(ORG, key.id)
        assert await store.keys.find(text) == first

    with_store(url, work)


def test_of_many_keys_those_that_still_open_something_are_told_at_once(url: str) -> None:
    async def work(store: Store) -> None:
        now = time.time()
        good, later = [(await store.keys.create(ORG, "k", expires_at=at))[0].id for at in (None, now + 100)]
        over, revoked = [(await store.keys.create(ORG, "k", expires_at=at))[0].id for at in (now - 100, None)]
        await store.keys.revoke(ORG, revoked)
        assert await store.keys.valid([good, later, over, revoked, "key_gone"]) == {good, later}
        assert await store.keys.valid([]) == set()

    with_store(url, work)


def test_another_orgs_key_is_as_unknown_as_none(url: str) -> None:
    async def work(store: Store) -> None:
        other = (await store.all_orgs().create_org("other")).id
        key, text = await store.keys.create(ORG, "k")
        for id in (key.id, "key_never"):
            with pytest.raises(NotFound, match=f"no such key: {id}"):
                await store.keys.revoke(other, id)
        assert await store.keys.list(other) == []
        found = await store.keys.find(text)
        assert found is not None
        assert found.valid(0.0)
        with pytest.raises(NotFound):
            await store.keys.create("org_never", "k")

    with_store(url, work)


def test_what_a_key_may_ask_in_a_minute_is_kept_and_can_be_changed_by_its_org_alone(url: str) -> None:
    async def work(store: Store) -> None:
        key, text = await store.keys.create(ORG, "k", requests_per_minute=7)
        assert key.requests_per_minute == 7
        other = (await store.all_orgs().create_org("other")).id
        with pytest.raises(NotFound, match=f"no such key: {key.id}"):
            await store.keys.limit(other, key.id, 1)
        found = await store.keys.find(text)
        assert found == key
        for limit in (9, None):
            assert (await store.keys.limit(ORG, key.id, limit)).requests_per_minute == limit
            found = await store.keys.find(text)
            assert found is not None
            assert found.requests_per_minute == limit

    with_store(url, work)


def test_the_last_use_only_moves_forward(url: str) -> None:
    async def work(store: Store) -> None:
        key, text = await store.keys.create(ORG, "k")
        for at in (10.0, 30.0, 20.0):
            await store.keys.touch({key.id: at, "key_gone": at})
        found = await store.keys.find(text)
        assert found is not None
        assert found.last_used_at == 30.0

    with_store(url, work)
