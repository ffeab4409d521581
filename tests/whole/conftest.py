from __future__ import annotations

from collections.abc import Iterator

import pytest

from .scripted_model import Models
from .serving import Serving
from .upstream import Upstream

TOML = """
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
api_key = "sk-upstream-secret"
prices = {{ "*" = {{ input = "0.10", output = "0.40", cached = "0.02" }} }}
[providers.claude]
kind = "anthropic"
base_url = "{url}"
api_key = "sk-ant-secret"
[providers.flash]
kind = "gemini"
base_url = "{url}"
api_key = "goog-secret"
[providers.answers]
kind = "openai_response"
base_url = "{url}/v1"
api_key = "sk-upstream-secret"
[providers.gone]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
[models.two]
targets = ["gone/a", "up/b"]
[models.single]
targets = ["claude/a", "up/b"]
"""


@pytest.fixture(scope="module")
def models() -> Models:
    """For files whose upstream says what they have written for it."""
    return Models()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serving"), TOML.format(url=upstream.url)) as running:
        yield running


@pytest.fixture(autouse=True)
def forgotten(upstream: Upstream) -> None:
    upstream.asked.clear()
