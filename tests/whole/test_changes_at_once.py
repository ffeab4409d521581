"""Two servers on one PostgreSQL whose admins change the same things at the same moment."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from midstream.store import open_store
from midstream.store.orgs import DEFAULT_ORG

from ..postgres import private_postgres
from .serving import Serving

KEY = b"secret-key-of-two-servers-012345"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with private_postgres() as server:
        yield server.create()


@pytest.fixture(scope="module")
def servers(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Serving]]:
    where = {"MIDSTREAM_DATABASE_URL": database, "MIDSTREAM_SECRET_KEY": base64.b64encode(KEY).decode()}
    one, two = [Serving(tmp_path_factory.mktemp(name), **where) for name in ("one", "two")]
    with one, two:
        yield one, two


def kept(database: str, secret: str) -> str:
    async def read() -> str:
        store = await open_store(database, worker="test")
        store.seal_with(KEY)
        try:
            return await store.org(DEFAULT_ORG).secrets.get(secret)
        finally:
            await store.close()

    return asyncio.run(read())


def test_the_credential_of_a_change_that_was_refused_stands_beside_no_other_address(
    servers: tuple[Serving, Serving], database: str
):
    new = {"name": "t", "kind": "http", "http": {"url": "https://none.example.org/"}}
    path = "/v1/admin/tools/" + servers[0].ask("POST", "/v1/admin/tools", new).json["id"]
    refused = number = 0
    while refused < 5 and number < 100:
        number += 1
        bodies = [
            {"http": {"url": f"https://{who}-{number}.example.org/", "headers": {"authorization": f"{who}-{number}"}}}
            for who in ("one", "two")
        ]
        with ThreadPoolExecutor(2) as threads:
            asked = [
                threads.submit(server.ask, "PATCH", path, body) for server, body in zip(servers, bodies, strict=True)
            ]
        refused += sum(one.result().status == 409 for one in asked)
        url = servers[0].ask("GET", path).json["http"]["url"]
        assert kept(database, f"{path.rpartition('/')[2]}.authorization") in url
    assert refused >= 5, "two changes never met"


def test_no_change_of_an_orgs_settings_is_lost(servers: tuple[Serving, Serving]):
    path = "/v1/admin/settings"
    changes = [{"timezone": "Asia/Tokyo"}, {"embedding": {"model": "midstream/rehearsal"}}]
    for _ in range(15):
        servers[0].ask("PATCH", path, {"timezone": None, "embedding": None})
        with ThreadPoolExecutor(2) as threads:
            for server, change in zip(servers, changes, strict=True):
                threads.submit(server.ask, "PATCH", path, change)
        settings = servers[0].ask("GET", path).json
        assert (settings["timezone"], "embedding" in settings) == ("Asia/Tokyo", True)
