"""Agents that give vectors, on a real server, against a service on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole


def embedded(asked: Asked) -> Said:
    data = [{"object": "embedding", "index": 0, "embedding": [3.0, 4.0]}]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return whole({"object": "list", "model": asked.json["model"], "data": data, "usage": usage})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(embedded) as one:
        yield one


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = f'[providers.up]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/v1"\n'
    with Serving(tmp_path_factory.mktemp("vectors"), toml) as serving:
        yield Agents(serving)


@pytest.mark.parametrize("where", ["type", "configuration", "request"])
def test_an_agent_of_type_embedding_gives_a_vector_of_the_size_that_it_says(
    agents: Agents, upstream: Upstream, where: str
):
    configuration: dict[str, Any] = {"model": "e", "dimensions": 2}
    if where == "configuration":
        configuration["type"] = "embedding"
    more = {"type": "embedding"} if where == "type" else {}
    agent = agents.agent(service="up", configuration=configuration, **more)
    body: dict[str, Any] = {"agent_id": agent, "user": "two words"}
    if where == "request":
        body["configuration"] = {"type": "embedding"}
    answer = agents.post("/api/v2/model/chat/completion", body)
    assert answer["data"] == {"embedding": [3.0, 4.0], "model": "e"}
    assert answer["usage"]["input_tokens"] == 5
    asked = upstream.asked[-1]
    assert (asked.path, asked.json["input"], asked.json["dimensions"]) == ("/v1/embeddings", ["two words"], 2)
