from __future__ import annotations

from typing import Any

import msgspec
import pytest

from midstream.core.dialect import Say
from midstream.core.errors import BadRequest
from midstream.core.events import Delta, Done, Embedded, PartStarted, Started, Stopped
from midstream.core.parts import Text
from midstream.core.turn import Turn
from midstream.core.web import Request
from midstream.faces import gemini

HI = [{"role": "user", "parts": [{"text": "hi"}]}]
ANSWER = [Started("id"), PartStarted(0, Text("")), Delta(0, "Hello"), Delta(0, " you"), Stopped("stop"), Done()]


def read(task: str, query: dict[str, str] | None = None, model: str = "m", **body: Any) -> Turn:
    request = Request("POST", "/v1beta/models/x", query or {}, {}, {"model": model}, "req", msgspec.json.encode(body))
    return gemini.read(task, request)


def test_the_model_stands_in_the_path_with_all_of_its_name():
    assert read("chat", model="up/some-model", contents=HI).model == "up/some-model"


@pytest.mark.parametrize("task", ["chat", "stream", "count_tokens", "embedding"])
@pytest.mark.parametrize("model", ["models/", "models", "/", "models//"])
def test_a_path_without_a_model_is_said_to_miss_it(task: str, model: str):
    with pytest.raises(BadRequest, match="missing in the path") as refused:
        read(task, model=model, contents=HI, content={"parts": HI[0]["parts"]})
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    "task, query, stream, as_array",
    [
        ("chat", {}, False, False),
        ("chat", {"alt": "sse"}, False, False),
        ("stream", {"alt": "sse"}, True, False),
        ("stream", {}, True, True),
        ("stream", {"alt": "json"}, True, True),
    ],
)
def test_a_stream_is_events_with_alt_sse_and_one_json_array_without(task, query, stream: bool, as_array: bool):
    turn = read(task, query, contents=HI)
    assert (turn.stream, turn.as_array) == (stream, as_array)


def test_an_array_with_pings_anywhere_is_still_one_json_value():
    turn = read("stream", contents=HI)
    writer = gemini.writer(turn, Say("id", 1, "m"))
    data = b"\n".join([b"", *(writer.write([event]) for event in ANSWER), b""])
    texts = [piece["candidates"][0]["content"]["parts"][0].get("text", "") for piece in msgspec.json.decode(data)[:2]]
    assert "".join(texts) == "Hello you"


def test_new_contents_are_those_after_the_models():
    said = [*HI, {"role": "model", "parts": [{"text": "x"}]}, {"parts": [{"text": "no role is the user's"}]}]
    [(role, native)] = read("chat", contents=said).fresh
    assert (role, msgspec.json.decode(native.raw)) == ("user", said[2])


@pytest.mark.parametrize(
    "contents, param", [("hi", "contents"), ([7], "contents[0]"), ([{"role": 1}], "contents[0].role")]
)
def test_a_mistake_is_named_by_its_path_where_it_is_read(contents: Any, param: str):
    turn = read("chat", contents=contents)
    with pytest.raises(BadRequest) as refused:
        _ = turn.prompt
    assert refused.value.param == param


def test_one_embedding_and_several_are_answered_in_their_own_forms():
    result = Embedded("m", ((0.5,),))
    one = read("embedding", content={"parts": [{"text": "a"}]})
    assert msgspec.json.decode(gemini.write_result(one, result))["embedding"] == {"values": [0.5]}
    several = read("embeddings", requests=[{"model": "models/m", "content": {"parts": [{"text": "a"}]}}])
    assert msgspec.json.decode(gemini.write_result(several, result))["embeddings"] == [{"values": [0.5]}]
