"""The price list, compiled once for all tests of this process instead of at the first start of each server."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from midstream.metering.prices import price_table, table_name


@cache
def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return price_table(Path(folder))


def put_price_list(data: Path) -> None:
    """Where a server with this data directory looks for it. The directory is made as a server would make it."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data / table_name()).write_bytes(_compiled())
