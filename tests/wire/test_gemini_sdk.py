"""Google's own client understands what is written, and what it asks is understood."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from midstream.core.dialect import Say
from midstream.core.errors import LimitReached
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Embedded,
    Failed,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
)
from midstream.core.parts import Citation, Media, Reasoning, Refusal, Text, ToolCall
from midstream.core.turn import Prompt
from midstream.core.usage import Usage
from midstream.wire import gemini
from midstream.wire.strict_json import read_object

SAY = Say("say-1", 1, "as-called")
RICH = Answer(
    "id-1",
    "gpt-x",
    7,
    (
        Choice(
            (
                Reasoning("hm"),
                Text("see é", (Citation("https://a.example", "A", "quote", 4, 5),)),
                Refusal("no"),
                Media("image", "image/png", data="AAAA"),
                ToolCall("c1", "add", '{"a":1}'),
            ),
            "tool_calls",
            "tool_use",
            logprobs=({"token": "x", "logprob": -1.0, "bytes": [120], "top_logprobs": []},),
        ),
        Choice((Text("other"),), "error", "weird"),
        Choice((), "pause", "pause_turn"),
    ),
    Usage(3, 2, audio_in=1, out_text=4, out_reasoning=5, image_out=6),
)


def test_every_kind_of_part_and_stop_is_parsed_by_googles_types() -> None:
    parsed = types.GenerateContentResponse.model_validate(json.loads(gemini.write_answer(RICH, SAY)))
    assert parsed.candidates is not None
    content = parsed.candidates[0].content
    assert content is not None
    assert content.parts is not None
    assert [part.text for part in content.parts] == ["hm", "see é", "no", None, None]
    assert content.parts[4].function_call.args == {"a": 1}
    assert [one.finish_reason.value for one in parsed.candidates] == ["STOP", "OTHER", "CONTINUATION"]
    assert parsed.usage_metadata.total_token_count == 21


class _Handler(BaseHTTPRequestHandler):
    asked: list[tuple[str, Any]] = []
    reply: tuple[int, str, bytes] = (200, "", b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).asked.append((self.path, read_object(body)))
        status, kind, reply = type(self).reply
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@contextmanager
def answering(reply: bytes, kind: str = "application/json", status: int = 200) -> Iterator[tuple[genai.Client, Any]]:
    handler = type("Handler", (_Handler,), {"asked": [], "reply": (status, kind, reply)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}")
    client = genai.Client(api_key="k", http_options=options)
    try:
        yield client, handler.asked
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def test_a_clients_question_is_read_and_its_answer_understood() -> None:
    reply = gemini.write_answer(Answer("i", "m", 0, (Choice((Text("hello"),), "stop"),), Usage(1, out_text=1)), SAY)
    config = types.GenerateContentConfig(
        system_instruction="be kind", temperature=0.5, max_output_tokens=9, stop_sequences=["x"],
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=5),
        tools=[add, types.Tool(google_search=types.GoogleSearch())], response_modalities=["TEXT"],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
    )  # fmt: skip
    with answering(reply) as (client, asked):
        response = client.models.generate_content(model="m", contents=["hi"], config=config)
    assert response.text == "hello"
    path, fields = asked[0]
    assert path.endswith("/models/m:generateContent")
    prompt: Prompt = gemini.read_ask(fields)
    assert [(message.role, message.parts) for message in prompt.messages] == [
        ("system", (Text("be kind"),)),
        ("user", (Text("hi"),)),
    ]
    tools = {tool.name: tool for tool in prompt.tools}
    assert {name: tool.kind for name, tool in tools.items()} == {"add": "function", "googleSearch": "hosted"}
    assert tools["add"].parameters["properties"]["a"]["type"] == "integer"
    assert (prompt.params.max_tokens, prompt.params.thinking.budget, prompt.params.thinking.show) == (9, 5, True)
    assert prompt.tool_choice.mode == "required"
    assert prompt.extras == {}


def test_a_chat_keeps_what_we_stream_in_its_history() -> None:
    events = [
        Attempted("x", "other"), Started("i", "m"), PartStarted(0, Reasoning()), Delta(0, "hm"), PartEnded(0),
        PartStarted(1, Text("")), Delta(1, "hel"), Delta(1, "lo"), PartEnded(1), Stopped("stop"),
        Used(Usage(3, out_text=2, out_reasoning=1)), Done(),
    ]  # fmt: skip
    written = gemini.answer_writer(SAY).write(events)
    with answering(written, "text/event-stream") as (client, asked):
        chat = client.chats.create(model="m")
        chunks = list(chat.send_message_stream("hi"))
        history = chat.get_history(curated=True)
    assert asked[0][0].endswith("/models/m:streamGenerateContent?alt=sse")
    assert "".join(chunk.text or "" for chunk in chunks) == "hello"
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.thoughts_token_count == 1
    assert {content.role for content in history} == {"user", "model"}  # the client keeps only what it holds to be valid


def test_streamed_calls_reach_the_client_whole() -> None:
    events = [
        Attempted("x", "other"), PartStarted(0, ToolCall("c1", "f")), Delta(0, '{"a":'), Delta(0, "1}"),
        PartEnded(0), PartStarted(1, ToolCall("c2", "g")), PartEnded(1), Stopped("tool_calls"), Done(),
    ]  # fmt: skip
    with answering(gemini.answer_writer(SAY).write(events), "text/event-stream") as (client, _):
        chunks = list(client.models.generate_content_stream(model="m", contents="hi"))
    calls = [call for chunk in chunks for call in chunk.function_calls or ()]
    assert [(call.id, call.name, call.args) for call in calls] == [("c1", "f", {"a": 1}), ("c2", "g", {})]


def test_errors_reach_the_client_with_their_status() -> None:
    body = gemini.write_error(LimitReached("slow down", retry_after=3), "req_1")
    with answering(body, status=429) as (client, _), pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="m", contents="hi")
    assert (caught.value.code, caught.value.status, caught.value.message) == (429, "RESOURCE_EXHAUSTED", "slow down")


def test_an_error_at_the_end_of_a_stream_reaches_the_client() -> None:
    events = [Attempted("x", "other"), PartStarted(0, Text("")), Delta(0, "a"), Failed(LimitReached("slow down"))]
    written = gemini.answer_writer(SAY).write(events)
    with answering(written, "text/event-stream") as (client, _), pytest.raises(errors.APIError):
        list(client.models.generate_content_stream(model="m", contents="hi"))


def test_the_clients_embeddings_counts_and_models() -> None:
    vectors = gemini.write_embedded(Embedded("m", ((0.5, 1.0), (2.0, 3.0))), batch=True)
    with answering(vectors) as (client, asked):
        config = types.EmbedContentConfig(output_dimensionality=2, task_type="RETRIEVAL_QUERY")
        found = client.models.embed_content(model="e-1", contents=["a", "b"], config=config)
    assert [one.values for one in found.embeddings] == [[0.5, 1.0], [2.0, 3.0]]
    path, fields = asked[0]
    ask = gemini.read_embed_ask(fields, batch=path.endswith(":batchEmbedContents"))
    assert (ask.model, ask.inputs, ask.dimensions, ask.task) == ("e-1", ("a", "b"), 2, "RETRIEVAL_QUERY")
    with answering(gemini.write_count(12)) as (client, asked):
        assert client.models.count_tokens(model="m", contents="hi").total_tokens == 12
    assert gemini.read_count_ask(asked[0][1]).messages[0].parts == (Text("hi"),)
