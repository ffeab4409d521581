"""PostgreSQL databases that cannot be used: what whoever starts a server is told."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from midstream.core.errors import StoreDown
from midstream.store import open_store

from ..postgres import Server, owned_by_a_role


def refusal(url: str) -> str:
    async def run() -> str:
        with pytest.raises(StoreDown) as refused:
            await (await open_store(url, worker="w")).close()
        return str(refused.value)

    return asyncio.run(run())


def run_sql(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def test_a_role_that_may_make_no_tables_is_told_so_in_the_servers_words(server: Server, postgres_url: str) -> None:
    """As of PostgreSQL 15 only a database's owner may."""
    with owned_by_a_role(server, postgres_url) as (url, name, role):
        run_sql(postgres_url, f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
        run_sql(postgres_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        run_sql(postgres_url, f"GRANT CONNECT ON DATABASE {name} TO {role}")
        assert refusal(url) == "PostgreSQL makes no tables here: permission denied for schema public"


def test_a_database_without_a_schema_to_make_tables_in_is_said_to_be_one(server: Server, postgres_url: str) -> None:
    run_sql(postgres_url, f"ALTER DATABASE {urlsplit(postgres_url).path[1:]} SET search_path = nowhere")
    assert refusal(postgres_url) == "PostgreSQL makes no tables here: no schema has been selected to create in"


def test_a_database_that_has_no_place_for_all_text_is_refused(server: Server) -> None:
    """It took some messages, and refused those with a sign that its encoding has not."""
    url = server.url("latin")
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        said = refusal(url)
    finally:
        server.drop(url)
    assert said == "PostgreSQL cannot be used: the database is in LATIN1: make one with ENCODING 'UTF8'"


def test_why_nobody_is_let_in_is_said_in_words(server: Server, postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    nobody = parts._replace(netloc=f"nobody:hunter2@{parts.hostname}:{parts.port}").geturl()
    assert refusal(nobody) == 'PostgreSQL cannot be used: role "nobody" does not exist'
    nowhere = server.url("no_such_database")
    assert refusal(nowhere) == 'PostgreSQL cannot be used: database "no_such_database" does not exist'
    closed = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    assert refusal(closed) == "PostgreSQL cannot be used: Connect call failed ('127.0.0.1', 1)"
    unknown = "postgresql://nobody:hunter2@nowhere.invalid/none"
    assert "gaierror" not in refusal(unknown)
