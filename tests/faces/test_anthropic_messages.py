from __future__ import annotations

from typing import Any

import msgspec
import pytest

from midstream.core.errors import BadRequest
from midstream.core.turn import Turn
from midstream.core.web import Request
from midstream.faces import anthropic_messages

HI = [{"role": "user", "content": "hi"}]


def read(task: str = "chat", **body: Any) -> Turn:
    headers = {"anthropic-beta": "x-1"}
    return anthropic_messages.read(
        task, Request("POST", "/v1/messages", {}, headers, {}, "r", msgspec.json.encode(body))
    )


@pytest.mark.parametrize(
    "body, param",
    [
        ({"messages": HI}, "model"),
        ({"model": "m", "messages": HI, "stream": 1}, "stream"),
    ],
)
def test_a_mistake_is_named_by_its_path(body: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as refused:
        read(**body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "body, param", [({}, "messages"), ({"messages": {}}, "messages"), ({"messages": [[]]}, "messages.0")]
)
def test_messages_that_are_none_are_refused_with_their_path(body: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as refused:
        _ = read(model="m", **body).prompt
    assert refused.value.param == param


def test_a_count_is_never_a_stream():
    assert read("chat", model="m", messages=HI, stream=True).stream
    assert not read("count_tokens", model="m", messages=HI, stream=True).stream
    assert read("count_tokens", model="m", messages=HI).kind == "count_tokens"


def test_the_callers_headers_come_along_for_the_provider():
    turn = read(model="m", messages=HI)
    assert turn.headers is not None
    assert turn.headers["anthropic-beta"] == "x-1"


def test_results_of_tools_are_new_when_the_model_has_asked_for_them():
    asked = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}
    given = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}
    [(role, native)] = read(model="m", messages=[*HI, asked, given]).fresh
    assert (role, msgspec.json.decode(native.raw)) == ("user", given)
