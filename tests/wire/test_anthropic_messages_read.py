"""What a Messages request means in neutral words, and how a wrong one is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from midstream.core.errors import BadRequest
from midstream.core.parts import Cache, Foreign, Media, Message, Native, Reasoning, State, Text, ToolCall, ToolResult
from midstream.core.turn import Prompt, Thinking, ToolChoice
from midstream.wire import anthropic_messages as dialect
from midstream.wire.strict_json import read_object

NAME = dialect.NAME
HELLO = {"role": "user", "content": "hello"}


def read(**members: Any) -> Prompt:
    fields = {"model": "m", "max_tokens": 10, "messages": [HELLO], **members}
    return dialect.read_ask(read_object(json.dumps(fields).encode()))


def blocks(*content: Any, role: str = "user") -> tuple[Message, ...]:
    return read(messages=[{"role": role, "content": list(content)}]).messages


def only(*content: Any) -> Any:
    ((part,),) = (message.parts for message in blocks(*content))
    return part


def test_a_plain_question_keeps_its_own_bytes() -> None:
    (message,) = read().messages
    assert message == Message("user", (Text("hello"),), native=Native(NAME, b'{"role": "user", "content": "hello"}'))


def test_the_system_field_comes_first_with_its_cache_marks() -> None:
    assert read(system="be brief").messages[0] == Message("system", (Text("be brief"),))
    marked = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert read(system=marked).messages[0].parts == (Text("a", cache=Cache("1h")),)
    assert read(system=None).messages[0].role == read(system=[]).messages[0].role == "user"


def test_a_system_message_among_the_others_stays_in_its_place() -> None:
    messages = read(messages=[HELLO, {"role": "system", "content": "now in French"}]).messages
    assert [message.role for message in messages] == ["user", "system"]


def test_images_and_documents_come_in_every_form_of_source() -> None:
    data = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert only({"type": "image", "source": data}) == Media("image", "image/png", data="iVBORw0KGgo=")
    url = {"type": "url", "url": "https://a.example/b.jpg"}
    assert only({"type": "image", "source": url}) == Media("image", url="https://a.example/b.jpg")
    paper = Media("file", "application/pdf", url="https://a.example/b.jpg")  # there are no others by address
    assert only({"type": "document", "source": url}) == paper
    part = only({"type": "image", "source": {"type": "file", "file_id": "file_1"}})
    assert (part.file_id, part.state.issuer) == ("file_1", NAME)
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    part = only({"type": "document", "source": pdf, "title": "a.pdf", "citations": {"enabled": True}})
    assert (part.kind, part.mime, part.name) == ("file", "application/pdf", "a.pdf")
    assert part.state == State(NAME, {"citations": {"enabled": True}})
    text = {"type": "text", "media_type": "text/plain", "data": "grüß"}
    part = only({"type": "document", "source": text})
    assert (part.mime, base64.b64decode(part.data).decode()) == ("text/plain", "grüß")
    content = {"type": "content", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    part = only({"type": "document", "source": content})
    assert base64.b64decode(part.data).decode() == "one\ntwo"
    assert part.state.payload["source"] == content
    pictures = {"type": "content", "content": [{"type": "image", "source": url}]}
    assert isinstance(only({"type": "document", "source": pictures}), Foreign)


def test_a_tool_call_keeps_its_arguments_as_they_were_written() -> None:
    raw = b'{"messages":[{"role":"assistant","content":[{"type":"text","text":"x"},{"type":"tool_use","id":"t","name":"f","input":{"a": 1.0,  "b":12345678901234567890123}}]}]}'  # fmt: skip  # noqa: E501
    call = dialect.read_ask(read_object(raw)).messages[0].parts[1]
    assert call == ToolCall("t", "f", '{"a": 1.0,  "b":12345678901234567890123}')


def test_results_and_words_of_one_message_become_two_and_the_bytes_stay_with_the_first() -> None:
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
    image = {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "3"}, image],
        "is_error": True,
    }
    both = {"role": "user", "content": [result, {"type": "text", "text": "go on"}]}
    _, _, tool, user = read(messages=[HELLO, call, both]).messages
    assert tool.role == "tool"
    assert tool.native == Native(NAME, json.dumps(both).encode())
    assert tool.parts == (
        ToolResult("t", (Text("3"), Media("image", url="https://a.example/x.png")), name="f", is_error=True),
    )
    assert (user.role, user.parts, user.native) == ("user", (Text("go on"),), Native(NAME, b""))


def test_results_alone_are_one_message() -> None:
    (message,) = blocks({"type": "tool_result", "tool_use_id": "t"})
    assert (message.role, message.parts) == ("tool", (ToolResult("t", ()),))


def test_thinking_keeps_its_signature_and_redacted_thinking_its_data() -> None:
    parts = blocks(
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "zzz"},
        role="assistant",
    )[0].parts
    assert parts == (
        Reasoning("hm", state=State(NAME, {"signature": "sig"})),
        Reasoning(state=State(NAME, {"type": "redacted_thinking", "data": "zzz"})),
    )


@pytest.mark.parametrize(
    "kind", ["server_tool_use", "web_search_tool_result", "container_upload", "search_result", "x"]
)
def test_a_block_only_its_issuer_understands_is_kept_whole(kind: str) -> None:
    block = {"type": kind, "anything": [1, {"b": None}]}
    assert only(block) == Foreign(kind, State(NAME, block))


def test_citations_keep_their_address_and_their_own_form() -> None:
    location = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "q"}
    (citation,) = only({"type": "text", "text": "t", "citations": [location]}).citations
    assert (citation.url, citation.title, citation.quote) == ("https://a.example", "A", "q")
    assert citation.state == State(NAME, location)


def test_tools_of_ones_own_and_hosted_ones() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}
    custom = {
        "name": "f",
        "description": "d",
        "input_schema": schema,
        "cache_control": {"type": "ephemeral"},
        "defer_loading": True,
    }
    hosted = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    mine, theirs = read(tools=[custom, hosted]).tools
    (server,) = read(tools=[{"type": "mcp_toolset", "mcp_server_name": "wiki"}]).tools
    assert (server.kind, server.name) == ("hosted", "wiki")
    assert (mine.name, mine.description, mine.parameters, mine.cache) == ("f", "d", schema, Cache())
    assert mine.state == State(NAME, {"defer_loading": True})
    assert (theirs.kind, theirs.name, theirs.state) == ("hosted", "web_search", State(NAME, hosted))


@pytest.mark.parametrize(
    ("choice", "want", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("tool", ("f",)), True),
        ({"type": "none"}, ToolChoice("none"), None),
    ],
)
def test_the_choice_of_tools(choice: dict[str, Any], want: ToolChoice, parallel: bool | None) -> None:
    prompt = read(tool_choice=choice)
    assert (prompt.tool_choice, prompt.params.parallel_tools) == (want, parallel)


@pytest.mark.parametrize(
    ("members", "want"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 3000}}, Thinking(budget=3000, shown=True)),
        ({"thinking": {"type": "adaptive"}}, Thinking(budget=-1)),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, Thinking(budget=-1, show=True)),
        ({"thinking": {"type": "disabled"}}, Thinking(budget=0)),
        ({"output_config": {"effort": "low"}}, Thinking("low")),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
            Thinking("max", -1, False),
        ),
    ],
)
def test_reasoning_knobs(members: dict[str, Any], want: Thinking) -> None:
    assert read(**members).params.thinking == want


def test_params_and_fields_nobody_knows() -> None:
    prompt = read(
        temperature=1,
        top_p=0.5,
        top_k=3,
        stop_sequences=["a"],
        service_tier="auto",
        metadata={"user_id": "u", "other": 1},
        output_config={"task_budget": {"total": 5}},
        container="c",
        conversation="conv_1",
        store=False,
    )
    params = prompt.params
    assert (params.max_tokens, params.temperature, params.top_p, params.top_k) == (10, 1.0, 0.5, 3)
    assert (params.stop, params.user, params.service_tier) == (("a",), "u", "auto")
    assert prompt.extras == {
        "container": "c",
        "conversation": "conv_1",
        "store": False,
        "metadata": {"other": 1},
        "output_config": {"task_budget": {"total": 5}},
    }


@pytest.mark.parametrize("where", ["output_format", "output_config"])
def test_the_form_of_the_answer_in_its_old_and_its_new_place(where: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    members = {where: form if where == "output_format" else {"format": form}}
    form_read = read(**members).params.format
    assert form_read is not None
    assert (form_read.kind, form_read.schema) == ("json_schema", {"type": "object"})


def test_a_token_count_is_asked_without_a_limit() -> None:
    prompt = dialect.read_ask(read_object(b'{"model":"m","messages":[{"role":"user","content":"x"}]}'))
    assert prompt.params.max_tokens is None


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [3]}, "messages.0"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0"),
        ({"messages": [HELLO, {"role": "user", "content": 3}]}, "messages.1.content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0.content.0.source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
            "messages.0.content.0.source.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [1]}]}]},
            "messages.0.content.0.content.0",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
            "messages.0.content",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": ""}]}
                ]
            },
            "messages.0.content.0.input",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "", "cache_control": {"ttl": "9d"}}]}]},
            "messages.0.content.0.cache_control.ttl",
        ),
        ({"system": 1}, "system"),
        ({"system": [{"type": "text"}]}, "system.0.text"),
        ({"tools": [1]}, "tools.0"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "yaml"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop_sequences": "x"}, "stop_sequences"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(members: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**members)
    assert caught.value.param == path
    assert path in caught.value.message


def test_a_request_without_messages_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        dialect.read_ask({})
    assert caught.value.param == "messages"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("aé", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "source",
                    "content",
                    "input",
                    "id",
                    "name",
                    "data",
                    "url",
                    "role",
                    "cache_control",
                    "citations",
                ]
            ),
            inner
            | st.sampled_from(
                ["text", "image", "document", "tool_use", "tool_result", "thinking", "url", "base64", "content"]
            ),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "messages",
                "system",
                "tools",
                "tool_choice",
                "thinking",
                "output_config",
                "output_format",
                "metadata",
                "stop_sequences",
            ]
        ),
        JSON | st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": JSON})),
        max_size=4,
    )
)
def test_no_request_however_odd_does_more_than_be_refused(members: dict[str, Any]) -> None:
    fields = read_object(msgspec.json.encode(members))
    refusal = refusal_of(fields)
    assert refusal is None or refusal.param


def refusal_of(fields: dict[str, Raw]) -> BadRequest | None:
    try:
        dialect.read_ask(fields)
    except BadRequest as error:
        return error
    return None
