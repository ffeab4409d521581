from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the golden requests of tests/providers anew")


@pytest.fixture
def writes_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--golden", False))
