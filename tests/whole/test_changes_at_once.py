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
from ..store.sealed import secret_of
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
            return await secret_of(store.org(DEFAULT_ORG).secrets, secret)
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


def test_of_two_orgs_that_name_one_model_as_their_own_at_once_one_is_refused(servers: tuple[Serving, Serving]):
    keys = []
    for name in ("a", "b"):
        org = servers[0].ask("POST", "/v1/admin/orgs", {"name": name}).json["id"]
        key = servers[0].ask("POST", "/v1/admin/keys", {"name": name, "org_id": org, "scopes": ["admin"]})
        keys.append(key.json["key"])
    for number in range(12):
        asked = [(servers[n % 2], keys[n // 2 % 2]) for n in range(8)]
        body = {"name": f"tuned-{number}", "service": "openai", "model": f"ft:gpt-4o:acme-{number}"}
        with ThreadPoolExecutor(8) as threads:
            ends = [threads.submit(server.ask, "POST", "/v1/admin/models", body, key=key) for server, key in asked]
        said = sorted((end.result().status, end.result().json.get("error", {}).get("code")) for end in ends)
        taken, foreign = (409, "already_exists"), (403, "organization_not_permitted")
        assert said == [(201, None)] + [foreign] * 4 + [taken] * 3


def test_of_mcp_servers_of_one_name_that_are_made_or_renamed_at_once_there_is_one(servers: tuple[Serving, Serving]):
    path, url = "/v1/admin/mcp_servers", "https://mcp.example.org/mcp"
    for number in range(8):
        old = [servers[0].ask("POST", path, {"name": f"old-{number}-{n}", "url": url}).json["id"] for n in range(2)]
        changes = [("POST", path, {"name": f"new-{number}", "url": url}) for _ in range(2)]
        changes += [("PATCH", f"{path}/{id}", {"name": f"new-{number}"}) for id in old]
        with ThreadPoolExecutor(4) as threads:
            ends = [threads.submit(servers[n % 2].ask, *change) for n, change in enumerate(changes)]
        replies = [end.result() for end in ends]
        assert sum(reply.status in (200, 201) for reply in replies) == 1
        errors = [reply.json["error"] for reply in replies if reply.status == 409]
        assert [(one["code"], one["param"]) for one in errors] == [("already_exists", "name")] * 3
