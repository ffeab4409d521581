from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..postgres import Server, postgres


@pytest.fixture(scope="session")
def _given_or_private() -> Iterator[Server | None]:
    with postgres() as server:
        yield server


@pytest.fixture
def server(_given_or_private: Server | None) -> Server:
    if _given_or_private is None:
        pytest.skip("no PostgreSQL programs on this machine")
    return _given_or_private


@pytest.fixture
def postgres_url(server: Server) -> Iterator[str]:
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/midstream.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "memory", "postgres"])
def any_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind, and the one without a file."""
    if request.param == "memory":
        return "sqlite://:memory:"
    return str(request.getfixturevalue(f"{request.param}_url"))
