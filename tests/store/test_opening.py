from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from midstream.core.errors import StoreDown
from midstream.store import Store, open_store

from .turns import with_store


@pytest.mark.parametrize("url", ["", "sqlite:", "sqlite://", "sqlite:///", "sqlite://x", "mysql://h/db", "/tmp/x.db"])
def test_a_url_of_no_known_kind_is_refused(url: str) -> None:
    with pytest.raises(StoreDown, match="a database URL begins with"):
        asyncio.run(open_store(url, worker="w"))


def test_the_default_org_is_there_from_the_start_and_stays_one(any_url: str) -> None:
    async def work(store: Store) -> None:
        assert [row.id for row in await store.all_orgs().orgs()] == ["org_default"]

    with_store(any_url, work)
    with_store(any_url, work)


def test_the_directory_of_the_file_is_made(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.ping()

    with_store(f"sqlite:///{tmp_path}/a/b/midstream.db", work)
    assert (tmp_path / "a" / "b" / "midstream.db").exists()


def test_closing_twice_is_closing_once(any_url: str) -> None:
    async def run() -> None:
        store = await open_store(any_url, worker="w")
        await store.close()
        await store.close()
        with pytest.raises(StoreDown):
            await store.ping()

    asyncio.run(run())


def test_each_start_is_a_worker_of_its_own(sqlite_url: str) -> None:
    names: list[str] = []

    async def work(store: Store) -> None:
        names.append(store.worker)

    with_store(sqlite_url, work)
    with_store(sqlite_url, work)
    assert len(set(names)) == 2
