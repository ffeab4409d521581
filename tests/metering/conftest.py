from __future__ import annotations

import pytest

from midstream.metering.prices import price_table


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return price_table(tmp_path_factory.mktemp("prices"))
