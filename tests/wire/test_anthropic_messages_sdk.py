"""The vendor's own client reads what is written here: streams, whole answers, errors, lists."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import anthropic
import pytest

from midstream.core.dialect import Say
from midstream.core.errors import BadRequest, Busy, Cut, LimitReached, Refused
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
)
from midstream.core.parts import Citation, Reasoning, Text, ToolCall
from midstream.core.turn import Plan, Turn
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages as dialect
from midstream.wire.strict_json import read_object

SAY = Say("msg_ours", 1, "asked", request_id="req_1")
ASK: dict[str, Any] = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
EVENTS: list[Event] = [
    Attempted("p", "another"),
    Started("chatcmpl-1", "gpt"),
    PartStarted(0, Reasoning("")),
    Delta(0, "hm"),
    PartEnded(0),
    PartStarted(1, Text("")),
    Delta(1, "two "),
    Delta(1, "calls"),
    PartStarted(2, ToolCall("call.1", "f")),
    PartStarted(3, ToolCall("call_2", "g")),
    Delta(3, '{"y":'),
    Delta(2, '{"x":1}'),
    Delta(3, "[2]}"),
    PartEnded(1),
    PartEnded(2),
    PartEnded(3),
    PartStarted(4, ToolCall("call_3", "h")),
    PartEnded(4),
    Stopped("tool_calls", "tool_calls"),
    Used(Usage(uncached_in=5, cache_read=7, cache_write_1h=2, out_text=9, out_reasoning=4)),
    Done(),
]


class Upstream(BaseHTTPRequestHandler):
    """Answers with whatever the test put there."""

    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b""
    kind: ClassVar[str] = "application/json"
    asked: ClassVar[bytes] = b""

    def do_POST(self) -> None:
        type(self).asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-type", self.kind)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(address: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="k", base_url=address, max_retries=0) as client:
        yield client


def answer_with(body: bytes, status: int = 200, kind: str = "application/json") -> None:
    Upstream.body, Upstream.status, Upstream.kind = body, status, kind


def stream_with(events: list[Event]) -> None:
    answer_with(dialect.answer_writer(SAY).write(events), kind="text/event-stream")


def test_the_client_puts_a_translated_stream_together(client: anthropic.Anthropic) -> None:
    stream_with(EVENTS)
    with client.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == "two calls"
        message = stream.get_final_message()
    assert (message.id, message.model, message.stop_reason) == ("msg_ours", "gpt", "tool_use")
    thought, text, first, second, third = message.content
    assert (thought.thinking, thought.signature, text.text) == ("hm", "", "two calls")
    assert [(call.name, call.input) for call in (first, second, third)] == [
        ("f", {"x": 1}),
        ("g", {"y": [2]}),
        ("h", {}),
    ]
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (5, 7, 2)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (13, 4)


@pytest.mark.parametrize(
    ("pieces", "given"),
    [(["nu", "ll"], {}), (["[", "1]"], {"input": "[1]"}), ([" ", '{"x":', " 1}"], {"x": 1}), (["no"], {"input": "no"})],
)
def test_the_input_of_a_call_is_always_an_object(
    client: anthropic.Anthropic, pieces: list[str], given: dict[str, Any]
) -> None:
    told: list[Event] = [Delta(0, piece) for piece in pieces]
    stream_with(
        [
            Attempted("p", "another"),
            PartStarted(0, ToolCall("a", "f")),
            *told,
            PartEnded(0),
            Stopped("tool_calls"),
            Done(),
        ]
    )
    with client.messages.stream(**ASK) as stream:
        message = stream.get_final_message()
    assert (message.content[0].input, message.stop_reason) == (given, "tool_use")


def test_a_malformed_call_raises_the_clients_own_error_and_never_ends(client: anthropic.Anthropic) -> None:
    told: list[Event] = [Delta(0, piece) for piece in ('{"x": ', "1, 'y'", ": 2}")]
    stream_with(
        [
            Attempted("p", "another"),
            PartStarted(0, ToolCall("a", "f")),
            *told,
            PartEnded(0),
            Stopped("tool_calls"),
            Done(),
        ]
    )
    kinds = []
    with pytest.raises(anthropic.APIStatusError, match="no JSON object"), client.messages.stream(**ASK) as stream:
        kinds += [event.type for event in stream]
    assert "content_block_stop" not in kinds


def test_the_raw_stream_passes_strict_validation(address: str) -> None:
    stream_with(EVENTS)
    with anthropic.Anthropic(api_key="k", base_url=address, max_retries=0, _strict_response_validation=True) as strict:
        kinds = [event.type for event in strict.messages.create(**ASK, stream=True)]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"


def test_a_whole_answer_passes_strict_validation(address: str) -> None:
    parts = (Reasoning("hm"), Text("x", (Citation("https://a", "A", "q"),)), ToolCall("c", "f", '{"a":1}'))
    answer = Answer("id", "gpt", 0, (Choice(parts, "stop", "stop", "END"),), Usage(uncached_in=3, out_text=2))
    answer_with(dialect.write_answer(answer, SAY))
    with anthropic.Anthropic(api_key="k", base_url=address, max_retries=0, _strict_response_validation=True) as strict:
        message = strict.messages.create(**ASK)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    assert message.content[1].citations[0].url == "https://a"
    assert message.content[2].input == {"a": 1}
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 2)


def test_a_failure_in_the_stream_raises_in_the_client(client: anthropic.Anthropic) -> None:
    stream_with([*EVENTS[:9], Failed(Cut("it broke"))])
    with pytest.raises(anthropic.APIStatusError) as caught, client.messages.stream(**ASK) as stream:
        for _ in stream:
            pass
    assert "it broke" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("no", param="messages.0"), anthropic.BadRequestError),
        (LimitReached("slow"), anthropic.RateLimitError),
        (Busy("later"), anthropic.InternalServerError),
        (Refused("o", status=529), anthropic.InternalServerError),
    ],
)
def test_errors_raise_as_the_clients_own(client: anthropic.Anthropic, error: Any, kind: type[Exception]) -> None:
    answer_with(dialect.write_error(error, "req_7"), error.status)
    with pytest.raises(kind) as caught:
        client.messages.create(**ASK)
    assert error.message in str(caught.value)
    assert caught.value.body["request_id"] == "req_7"  # type: ignore[attr-defined]


def test_lists_and_counts(client: anthropic.Anthropic) -> None:
    answer_with(dialect.write_models(["a", "b"], {}))
    assert [model.id for model in client.models.list()] == ["a", "b"]
    answer_with(dialect.write_model("a"))
    assert client.models.retrieve("a").display_name == "a"
    answer_with(dialect.write_count(7))
    assert client.messages.count_tokens(model="m", messages=ASK["messages"]).input_tokens == 7


def test_what_the_client_sends_is_relayed_and_understood(client: anthropic.Anthropic) -> None:
    answer_with(dialect.write_answer(Answer(choices=(Choice((Text("x"),)),)), SAY))
    client.messages.create(
        **ASK,
        system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
        tool_choice={"type": "any"},
        thinking={"type": "disabled"},
        metadata={"user_id": "u"},
    )
    turn = Turn(dialect.NAME, read_object(Upstream.asked), dialect.read_ask, model="m")
    assert [message.role for message in turn.prompt.messages] == ["system", "user"]
    relayed = json.loads(dialect.write_ask(Plan(turn, "up", False)).body)
    assert relayed == {**json.loads(Upstream.asked), "model": "up"}
