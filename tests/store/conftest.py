from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..postgres import Server, postgres


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture
def postgres_url(server: Server) -> Iterator[str]:
    with server.database() as url:
        yield url


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
