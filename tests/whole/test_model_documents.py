"""What an org says of a model, as its agents' turns on a real server keep to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Reply, Serving
from .upstream import Asked, Said, Upstream, whole

ASK = "/api/v2/model/chat/completion"
TOML = """
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.claude]
kind = "anthropic"
api_key = "sk-ant"
base_url = "{url}"
"""


def answered(asked: Asked) -> Said:
    if asked.path == "/v1/messages":
        usage = {"input_tokens": 3, "output_tokens": 1}
        said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "yes"}], "usage": usage}
        return whole({"id": "msg_1", "model": asked.json["model"], "stop_reason": "end_turn", **said})
    message = {"role": "assistant", "content": "yes"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    return whole({"id": "1", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answered) as one:
        yield one


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("documents"), TOML.format(url=upstream.url)) as serving:
        yield Agents(serving)


def said(agents: Agents, user: str = "hello", **more: Any) -> Reply:
    return agents.serving.ask("POST", ASK, {"user": user, **more})


def test_what_a_model_leaves_out_is_reported_in_the_callers_words_and_nothing_is_said_to_be_used(
    agents: Agents, upstream: Upstream
):
    given = {"creativity_level": 0.3, "probability_cutoff": 0.5}
    older = said(agents, service="claude", model="claude-sonnet-4-5", configuration=given).json["data"]
    assert "top_p" not in upstream.asked[-1].json
    assert (older["dropped_parameters"], older.get("notices")) == (["probability_cutoff"], None)
    given = {"creativity_level": 1.5, "probability_cutoff": 2}
    newer = said(agents, service="claude", model="claude-opus-4-7", configuration=given).json["data"]
    assert not {"temperature", "top_p"} & upstream.asked[-1].json.keys()
    assert newer["dropped_parameters"] == ["creativity_level", "probability_cutoff"]
    assert "notices" not in newer


def test_a_turn_that_asked_no_model_says_of_no_value_that_it_was_used(agents: Agents):
    rails = {"input": {"patterns": ["secret"]}, "message": "no"}
    given = {"creativity_level": 9}
    asked = {"service": "up", "model": "m", "configuration": given, "guardrails": rails}
    assert "9" in said(agents, **asked).json["data"]["notices"][0]
    blocked = said(agents, "the secret", **asked).json["data"]
    assert (blocked["content"], blocked.get("notices")) == ("no", None)
