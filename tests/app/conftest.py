"""Where commands are tried: as on a machine of which nothing has been said yet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, and without a variable that the server would read."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("MIDSTREAM_") or name.endswith(("_API_KEY", "_BASE_URL")) or name == "OLLAMA_HOST":
            monkeypatch.delenv(name)
