"""OpenAI's own SDK, in its strict mode, reads what we write: from a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import openai
import pytest

from midstream.core.dialect import Say
from midstream.core.errors import Cut, LimitReached
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    Marked,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
    fold,
    unfold,
)  # fmt: skip
from midstream.core.parts import Citation, Media, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire import openai_responses as dialect

SAY = Say("resp_1a2b", 1_700_000_000, "gpt-x")
TOKEN = {"token": "Hi", "bytes": None, "logprob": -0.5, "top_logprobs": []}
TOOLS = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]
EVENTS: list[Event] = [
    Attempted("p", "another_dialect"),
    Started("chatcmpl-1", "gpt-y", 1_700_000_001),
    PartStarted(0, Reasoning("", state=State("another_dialect", {"signature": "s"}))),
    Delta(0, "Let me "),
    Delta(0, "think."),
    PartEnded(0),
    PartStarted(1, Text("")),
    Delta(1, "Hi 100%"),
    Marked(1, logprobs=(TOKEN,)),
    Marked(1, citations=(Citation(url="https://example.org/", title="T", start=0, end=2),)),
    PartEnded(1),
    PartStarted(2, Refusal("No.")),
    PartEnded(2),
    PartStarted(3, ToolCall("call_1", "look")),
    PartStarted(4, ToolCall("call_2", "look", kind="custom")),
    Delta(4, "free "),
    Delta(3, '{"a"'),
    Delta(4, "text"),
    PartEnded(4),
    Delta(3, ":1}"),
    PartEnded(3),
    PartStarted(5, Media("image", mime="image/png", data="aGk=")),
    PartEnded(5),
    Used(Usage(uncached_in=7, cache_read=3, cache_write_5m=2, out_text=5, out_reasoning=4)),
    Stopped("tool_calls"),
    Done(),
]


class _Served(ThreadingHTTPServer):
    body = b""
    status = 200
    kind = "text/event-stream"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        served = self.server
        assert isinstance(served, _Served)
        self.send_response(served.status)
        self.send_header("content-type", served.kind)
        self.send_header("content-length", str(len(served.body)))
        self.end_headers()
        self.wfile.write(served.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[_Served]:
    server = _Served(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(served: _Served) -> Iterator[openai.OpenAI]:
    url = f"http://127.0.0.1:{served.server_address[1]}/v1"
    with openai.OpenAI(api_key="k", base_url=url, max_retries=0, _strict_response_validation=True) as made:
        yield made


def _echo() -> dialect.Echo:
    asked = {"tools": TOOLS, "metadata": {"a": "b"}, "temperature": 0.5, "store": False, "reasoning": {"effort": "low"}}
    return dialect.echo_of({name: msgspec.Raw(json.dumps(value).encode()) for name, value in asked.items()})


def test_the_sdk_reads_every_event_of_a_stream(served: _Served, client: openai.OpenAI) -> None:
    served.body = dialect.answer_writer(SAY, _echo()).write(EVENTS)
    events = list(client.responses.create(model="m", input="x", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


def test_the_stream_helper_builds_the_final_response(served: _Served, client: openai.OpenAI) -> None:
    served.body = dialect.answer_writer(SAY, _echo()).write(EVENTS)
    with client.responses.stream(model="m", input="x") as stream:
        seen = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert seen == final.output_text == "Hi 100%"
    kinds = [item.type for item in final.output]
    assert kinds == ["reasoning", "message", "function_call", "custom_tool_call", "image_generation_call"]
    assert final.output[0].summary[0].text == "Let me think."  # type: ignore[union-attr]
    assert final.output[2].arguments == '{"a":1}'  # type: ignore[union-attr]
    assert final.output[3].input == "free text"  # type: ignore[union-attr]
    assert final.usage is not None
    assert final.usage.input_tokens == 12
    assert final.usage.input_tokens_details.cache_write_tokens == 2
    assert final.usage.output_tokens_details.reasoning_tokens == 4
    assert final.metadata == {"a": "b"}


def test_the_snapshot_of_the_stream_helper_is_the_final_output(served: _Served, client: openai.OpenAI) -> None:
    """Its snapshot is built by index from the events alone: any disorder shows."""
    served.body = dialect.answer_writer(SAY).write(EVENTS)
    with client.responses.stream(model="m", input="x") as stream:
        for event in stream:
            if event.type == "response.completed":
                snapshot = stream._state._ResponseStreamState__current_snapshot  # type: ignore[attr-defined]
                break
    assert snapshot is not None
    final = fold(_read(served.body))
    assert [item.type for item in snapshot.output] == [
        "reasoning", "message", "function_call", "custom_tool_call", "image_generation_call",
    ]  # fmt: skip
    assert [type(part) for part in final.choices[0].parts] == [Reasoning, Text, Refusal, ToolCall, ToolCall, Media]


def _read(body: bytes) -> list[Event]:
    reader = dialect.answer_reader()
    return [*reader.feed(body), *reader.finish()]


def test_the_sdk_reads_a_whole_answer(served: _Served, client: openai.OpenAI) -> None:
    served.kind = "application/json"
    served.body = dialect.write_answer(fold(EVENTS), SAY, _echo())
    response = client.responses.create(model="m", input="x")
    assert response.output_text == "Hi 100%"
    assert response.id == "resp_1a2b"
    assert response.model == "gpt-y"
    assert response.tools[0].strict is None  # type: ignore[union-attr]


def test_a_streamed_and_a_whole_answer_are_the_same_object() -> None:
    streamed = dialect.answer_writer(SAY, _echo())
    streamed.write(EVENTS)
    whole = json.loads(dialect.write_answer(fold(EVENTS), SAY, _echo()))
    assert streamed.response == whole


def test_the_sdk_reads_an_incomplete_answer(served: _Served, client: openai.OpenAI) -> None:
    served.kind = "application/json"
    served.body = dialect.write_answer(Answer(choices=(Choice((Text("half"),), stop="length"),)), SAY)
    response = client.responses.create(model="m", input="x")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[-1].status == "incomplete"  # type: ignore[union-attr]


def test_a_whole_answer_streams(served: _Served, client: openai.OpenAI) -> None:
    served.body = dialect.answer_writer(SAY).write([Attempted("p", "x"), Whole(fold(EVENTS)), Done()])
    with client.responses.stream(model="m", input="x") as stream:
        assert stream.get_final_response().output_text == "Hi 100%"
    assert fold(_read(served.body)).choices[0].parts == fold(_read(_written(unfold(fold(EVENTS))))).choices[0].parts


def _written(events: list[Event]) -> bytes:
    return dialect.answer_writer(SAY).write([*events, Done()])


def test_a_failure_in_the_stream_reaches_the_sdk_as_an_error(served: _Served, client: openai.OpenAI) -> None:
    served.body = dialect.answer_writer(SAY).write([*EVENTS[:5], Failed(Cut("the provider hung up"))])
    with pytest.raises(openai.APIError, match="the provider hung up"):
        list(client.responses.create(model="m", input="x", stream=True))


def test_the_sdk_raises_its_own_error_for_an_error_body(served: _Served, client: openai.OpenAI) -> None:
    served.kind, served.status = "application/json", 429
    served.body = dialect.write_error(LimitReached("slow down", param="model"), "req_1")
    with pytest.raises(openai.RateLimitError) as caught:
        client.responses.create(model="m", input="x")
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.type == "rate_limit_error"
    assert caught.value.param == "model"
