"""What a plan becomes as a Messages request: relayed when it is one already, else written by the service's rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec import Raw

from midstream.core.errors import BadRequest
from midstream.core.parts import (
    Cache,
    Citation,
    Foreign,
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from midstream.core.turn import Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire import anthropic_messages as dialect

NAME = dialect.NAME
USER = Message("user", (Text("hello"),))
FUNCTION = Tool("f", "d", {"type": "object"})


def ask(*messages: Message, model: str = "m", **members: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body for a prompt of another dialect, and what was dropped."""
    plan_members = {name: members.pop(name) for name in ("history", "max_tokens_default") if name in members}
    fields = members.pop("fields", {})
    stream = members.pop("stream", False)
    prompt = Prompt(messages or (USER,), **members)
    turn = Turn("another", fields, lambda _: prompt, model="x")
    asked = dialect.write_ask(Plan(turn, model, stream, **plan_members))
    return json.loads(asked.body), asked.dropped


def said(body: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in body["messages"]]


def user_content(*parts: Part) -> Any:
    body, _ = ask(Message("user", parts))
    return body["messages"][0]["content"]


# --- system and order


def test_leading_system_messages_become_the_system_field() -> None:
    body, dropped = ask(Message("system", (Text("a"),)), Message("developer", (Text("b"),)), USER)
    assert body["system"] == "a\n\nb"
    assert said(body) == [("user", "hello")]
    assert dropped == ()


def test_a_marked_system_message_makes_the_field_a_list() -> None:
    body, _ = ask(Message("system", (Text("a", cache=Cache("1h")), Text("b"))), USER)
    assert body["system"] == [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "b"},
    ]


def test_a_system_message_in_the_middle_keeps_its_place_and_is_told() -> None:
    body, dropped = ask(USER, Message("assistant", (Text("1"),)), Message("system", (Text("s"),)), USER)
    assert "system" not in body
    assert dropped == ("messages.role",)
    texts = [block["text"] for block in body["messages"][2]["content"]]
    assert texts == ["<system>", "s", "</system>", "hello"]


def test_the_turns_own_system_message_stands_before_the_history() -> None:
    body, dropped = ask(
        Message("system", (Text("s"),)), USER, history=(USER, Message("assistant", (Text("1"),)))
    )  # fmt: skip
    assert (body["system"], dropped) == ("s", ())
    assert [role for role, _ in said(body)] == ["user", "assistant", "user"]


def test_the_first_message_is_always_the_users() -> None:
    body, _ = ask(Message("assistant", (Text("hi"),)), USER)
    assert [role for role, _ in said(body)] == ["user", "assistant", "user"]
    body, _ = ask(Message("system", (Text("s"),)))
    assert said(body) == [("user", "Continue.")]


def test_roles_alternate_and_all_results_of_a_turn_come_first_in_one_message() -> None:
    body, _ = ask(
        USER,
        Message("assistant", (Text("let me see"),)),
        Message("assistant", (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", ""))),
        Message("tool", (ToolResult("a", (Text("1"),)),)),
        Message("user", (Text("and?"),)),
        Message("tool", (ToolResult("b", (Text("2"), Text("3")), is_error=True, cache=Cache()),)),
    )
    assert said(body)[1:] == [
        (
            "assistant",
            [
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {
                    "type": "tool_result",
                    "tool_use_id": "b",
                    "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "3"}],
                    "is_error": True,
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "and?"},
            ],
        ),
    ]


@pytest.mark.parametrize("count", [1, 2, 3000])
def test_many_messages_of_one_turn_are_put_together_as_few_are(count: int) -> None:
    ids = [f"c{at}" for at in range(count)]
    results = (
        Message(role, parts)
        for id in ids
        for role, parts in (("user", (Text(f"about {id}"),)), ("tool", (ToolResult(id, (Text(id),)),)))
    )
    body, _ = ask(USER, Message("assistant", tuple(ToolCall(id, "f", "{}") for id in ids)), *results)
    (_, _), (_, calls), (role, told) = said(body)
    assert (role, [one["id"] for one in calls]) == ("user", ids)
    assert [one["tool_use_id"] for one in told[:count]] == ids
    assert [one["text"] for one in told[count:]] == [f"about {id}" for id in ids]


def test_ids_that_the_service_refuses_are_changed_alike_in_call_and_result() -> None:
    ids = ("call.1", "call:1", "", "ok-1_A", "é")
    body, _ = ask(
        USER,
        Message("assistant", tuple(ToolCall(id, "f") for id in ids)),
        *(Message("tool", (ToolResult(id, (Text("r"),)),)) for id in ids),
    )
    calls = [block["id"] for block in body["messages"][1]["content"]]
    results = [block["tool_use_id"] for block in body["messages"][2]["content"]]
    assert calls == results
    assert len(set(calls)) == len(ids)
    assert all(id and id.isascii() and id.replace("-", "").replace("_", "").isalnum() for id in calls)
    assert calls[3] == "ok-1_A"


def test_an_id_that_a_turn_uses_twice_becomes_two_in_calls_and_results() -> None:
    def calls(*ids: str) -> Message:
        return Message("assistant", tuple(ToolCall(id, "f") for id in ids))

    def results(*ids: str) -> Message:
        return Message("tool", tuple(ToolResult(id, (Text("r"),)) for id in ids))

    ids = ("a.0", "b", "a.0", "b_2", "b", "", "call_1", "b")
    first, answers, second, again = (
        [block.get("id") or block.get("tool_use_id") for block in content]
        for _, content in said(
            ask(calls(*ids), results(*ids), calls("b", "b"), Message("user", (Text(" "),)), calls("b"), results("b"))[0]
        )[1:]
    )
    assert first == answers
    assert len(set(first)) == len(first)
    assert [id for id in first if id in ids] == ["b", "b_2", "call_1"]
    # The service takes an id again in a later turn. Turns that become one are one.
    assert second == ["b", "b_2", "b_3"]
    assert again == ["b"]


def test_a_text_of_white_space_alone_is_left_out_as_an_empty_one_is() -> None:
    """The service refuses the whole conversation for one."""
    blank = Text(" \n\u00a0", cache=Cache())
    body, dropped = ask(
        Message("system", (blank, Text("s"))),
        Message("user", (Text("hello"), blank)),
        Message("assistant", (Text("\n\n"), Refusal("\n"), ToolCall("a", "f"))),
        Message("tool", (ToolResult("a", (blank, Text("1\n"))),)),
        Message("assistant", (blank,)),
        Message("developer", (blank,)),
        Message("user", (Text(" and? "),)),
    )
    assert (body["system"], dropped) == ("s", ())
    assert said(body) == [
        ("user", "hello"),
        ("assistant", [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": "1\n"},
                {"type": "text", "text": " and? "},
            ],
        ),
    ]
    assert said(ask(Message("system", (blank,)), Message("user", (blank,)))[0]) == [("user", "Continue.")]
    assert "system" not in ask(Message("system", (blank,)), USER)[0]


def test_a_search_result_of_white_space_is_no_text_and_goes_back_to_its_issuer() -> None:
    found = {"type": "search_result", "source": "u", "title": "", "content": [{"type": "text", "text": "\n"}]}
    assert user_content(Text("hello"), Text("\n\n", state=State(NAME, {"search_result": found})))[1] == found


@pytest.mark.parametrize("arguments", ["[1]", '{"a":', '"null"', "plain words"])
def test_arguments_that_are_no_object_are_kept_under_a_name(arguments: str) -> None:
    body, _ = ask(USER, Message("assistant", (ToolCall("a", "f", arguments),)))
    assert body["messages"][1]["content"][0]["input"] == {"input": arguments}


@pytest.mark.parametrize("arguments", ["", " ", "null", "{}"])
def test_no_arguments_however_they_are_written_are_an_empty_object(arguments: str) -> None:
    body, _ = ask(USER, Message("assistant", (ToolCall("a", "f", arguments),)))
    assert body["messages"][1]["content"][0]["input"] == {}


def test_of_more_marks_than_four_the_oldest_are_lost_and_that_is_told() -> None:
    marked = [Message("user", (Text(str(n), cache=Cache()),)) for n in range(6)]
    for history, own in ((0, 6), (1, 5), (2, 4), (5, 1)):
        body, dropped = ask(*marked[history:], history=tuple(marked[:history]))
        assert ["cache_control" in block for block in body["messages"][0]["content"]] == [False] * 2 + [True] * 4
        assert dropped == (("cache_control",) if own > 4 else ())  # stored ones have done their service
    body, dropped = ask(Message("system", (Text("s", cache=Cache()),)), *marked[:4])
    assert ("cache_control" in body["system"][0], dropped) == (False, ("cache_control",))  # it is read before these
    assert body["messages"][0]["content"] == ask(*marked[:4])[0]["messages"][0]["content"]
    assert ask(*marked[:4])[1] == ()


def test_marks_are_lost_in_the_order_in_which_the_service_reads_tools_system_and_messages() -> None:
    def lost(tools: int, system: int, said: int, history: tuple[Message, ...] = ()) -> Any:
        """The places that have lost their mark, and what was told."""
        body, dropped = ask(
            Message("system", tuple(Text(f"s{n}", cache=Cache()) for n in range(system))),
            *(Message("user", (Text(f"m{n}", cache=Cache()),)) for n in range(said)),
            tools=tuple(Tool(f"t{n}", cache=Cache()) for n in range(tools)),
            history=history,
        )
        blocks = [*body.get("tools", ()), *body.get("system", ()), *body["messages"][0]["content"]]
        return [one.get("name") or one["text"] for one in blocks if "cache_control" not in one], dropped

    told = ("cache_control",)
    assert lost(6, 0, 1) == (["t0", "t1", "t2"], told)
    assert lost(0, 6, 1) == (["s0", "s1", "s2"], told)
    assert lost(1, 1, 4) == (["t0", "s0"], told)
    assert lost(2, 2, 1) == (["t0"], told)
    assert lost(1, 2, 1) == ([], ())
    # Stored messages have done their service: theirs go before any of the caller's own, and unsaid.
    early = Message("system", (Text("e0", cache=Cache()), Text("e1", cache=Cache())))
    before = tuple(Message("user", (Text(f"h{n}", cache=Cache()),)) for n in range(2))
    assert lost(1, 1, 2, before) == (["h0", "h1"], ())
    assert lost(1, 1, 1, (early, *before)) == (["e0", "e1", "h0"], ())
    assert lost(3, 1, 2, (early, *before)) == (["t0", "t1", "e0", "e1", "h0", "h1"], told)


def test_a_result_loses_the_marks_in_it_one_by_one() -> None:
    inside = ToolResult("a", tuple(Text(str(n), cache=Cache()) for n in range(3)), cache=Cache())
    for more, left in ((1, [False, True, True, True]), (3, [False, False, False, True])):
        last = Message("user", tuple(Text(str(n), cache=Cache()) for n in range(more)))
        body, _ = ask(USER, Message("assistant", (ToolCall("a", "f"),)), Message("tool", (inside,)), last)
        result = body["messages"][2]["content"][0]
        assert ["cache_control" in block for block in (*result["content"], result)] == left


def test_the_word_in_arguments_schemas_and_texts_is_no_mark() -> None:
    word = {"cache_control": {"type": "ephemeral"}}
    call = ToolCall("a", "f", json.dumps({**word, "content": [word, word]}))
    spoken = (Text('"cache_control":{}'), Text("x", cache=Cache()))
    turn = [USER, Message("assistant", (call,)), Message("tool", (ToolResult("a", spoken),))]
    tools = (Tool("f", parameters={"type": "object", "properties": word, "content": [word]}, cache=Cache()),)
    marked = Message("user", (Text("1", cache=Cache()), Text("2", cache=Cache())))
    body, dropped = ask(*turn, marked, tools=tools)
    assert dropped == ()
    assert "cache_control" in body["tools"][0]
    assert [("cache_control" in block) for block in body["messages"][2]["content"][0]["content"]] == [False, True]
    assert [("cache_control" in block) for block in body["messages"][2]["content"][1:]] == [True, True]
    body, dropped = ask(*turn, marked, marked, tools=tools)
    assert dropped == ("cache_control",)
    assert body["messages"][1]["content"][0]["input"] == json.loads(call.arguments)
    assert body["tools"][0]["input_schema"] == tools[0].parameters


# --- parts


def test_only_what_this_service_signed_goes_back_to_it() -> None:
    body, dropped = ask(
        USER,
        Message(
            "assistant",
            (
                Reasoning("ours", state=State(NAME, {"signature": "s"})),
                Reasoning(state=State(NAME, {"type": "redacted_thinking", "data": "d"})),
                Reasoning("theirs", state=State("another", "enc")),
                Reasoning("unsigned"),
                Reasoning("shown by us", state=State(NAME, {"signature": ""})),
                Foreign("server_tool_use", State(NAME, {"type": "server_tool_use", "id": "x"})),
                Foreign("web_search_call", State("another", {})),
                Refusal("I will not"),
                Text(""),
                Text("t", citations=(Citation("u", state=State(NAME, {"type": "c"})), Citation("v"))),
            ),
        ),
    )
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "ours", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "server_tool_use", "id": "x"},
        {"type": "text", "text": "I will not"},
        {"type": "text", "text": "t", "citations": [{"type": "c"}]},
    ]
    assert dropped == ("messages.content.web_search_call", "reasoning", "messages.content.citations")


def test_media_become_images_and_documents() -> None:
    text = base64.b64encode("grüß".encode()).decode()
    assert user_content(
        Media("image", "image/gif", data="R0lGODdh"),
        Media("image", data="/9j/4AAQ"),
        Media("image", url="https://a.example/x", cache=Cache()),
        Media("image", url="data:image/webp;base64,UklGRg=="),
        Media("file", "application/pdf", data="JVBERi0=", name="a.pdf"),
        Media("file", "text/csv", data=text),
        Media("file", url="https://a.example/x.pdf"),
        Media("image", file_id="file_1", state=State(NAME, {})),
    ) == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGODdh"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"}},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://a.example/x"},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "UklGRg=="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "grüß"}},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ]


def test_lost_hints_and_foreign_file_ids_are_told() -> None:
    body, dropped = ask(
        Message("user", (Media("image", url="https://a", detail="high"), Media("file", file_id="file-abc"), Text("x"))),
        Message("assistant", (Text("y"), Media("image", "image/png", data="iVBORw0KGgo"))),
    )
    assert dropped == ("messages.content.detail", "messages.content.file_id", "messages.content.media")
    assert [block["type"] for block in body["messages"][0]["content"]] == ["image", "text"]


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "audio/wav", data="UklGRg=="),
        Media("video", url="https://a"),
        Media("file", "application/zip", data="UEs="),
        Media("file", "text/plain", data="/w=="),
        Media("image", url="data:image/png,plain"),
        Media("image"),
    ],
)
def test_media_that_cannot_be_carried_are_refused_not_forgotten(part: Media) -> None:
    with pytest.raises(BadRequest):
        ask(Message("user", (part,)))


# --- tools


def test_tools_are_sent_as_they_are_and_never_changed() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}
    before = json.dumps(schema)
    hosted = {"type": "web_search_20250305", "name": "web_search"}
    body, dropped = ask(
        tools=(
            Tool("f", "d", schema, True, cache=Cache(), state=State(NAME, {"defer_loading": True})),
            Tool("free", kind="custom"),
            Tool("web_search", kind="hosted", state=State(NAME, hosted)),
            Tool("theirs", kind="hosted", state=State("another", {})),
            Tool("bare"),
        )
    )
    assert json.dumps(schema) == before
    assert body["tools"] == [
        {
            "name": "f",
            "description": "d",
            "input_schema": {"type": "object", **schema},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
            "defer_loading": True,
        },
        {
            "name": "free",
            "input_schema": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
        },
        hosted,
        {"name": "bare", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert dropped == ("tools.theirs",)


@pytest.mark.parametrize(
    ("choice", "parallel", "want"),
    [
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("required"), True, {"type": "any", "disable_parallel_tool_use": False}),
        (ToolChoice("tool", ("f",)), False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
    ],
)
def test_the_choice_of_tools(choice: ToolChoice | None, parallel: bool | None, want: Any) -> None:
    body, dropped = ask(tools=(FUNCTION,), tool_choice=choice, params=Params(parallel_tools=parallel))
    assert (body.get("tool_choice"), dropped) == (want, ())


def test_a_choice_among_some_tools_leaves_the_others_out() -> None:
    body, _ = ask(tools=(FUNCTION, Tool("g")), tool_choice=ToolChoice("required", ("g",)))
    assert [tool["name"] for tool in body["tools"]] == ["g"]


def test_without_tools_there_is_no_choice() -> None:
    assert "tool_choice" not in ask(tool_choice=ToolChoice("auto"), params=Params(parallel_tools=False))[0]


# --- the rest


def test_a_limit_is_always_sent() -> None:
    assert ask(max_tokens_default=77)[0]["max_tokens"] == 77
    assert ask(params=Params(max_tokens=5))[0]["max_tokens"] == 5


def test_what_the_service_has_no_word_for_is_told() -> None:
    params = Params(
        frequency_penalty=1, presence_penalty=1, seed=1, logit_bias={"1": 1}, logprobs=True, top_logprobs=2,
        cache_key="k", verbosity="low", modalities=("text", "audio"), audio={"voice": "x"}, service_tier="flex",
        stop=("a", " "), user="u",
    )  # fmt: skip
    body, dropped = ask(params=params, extras={"reasoning_format": 1})
    assert set(dropped) == {
        *("frequency_penalty", "presence_penalty", "seed", "logit_bias", "logprobs", "top_logprobs"),
        *("cache_key", "verbosity", "modalities", "audio", "service_tier", "stop", "reasoning_format"),
    }
    assert set(body) == {"model", "max_tokens", "messages", "stop_sequences", "metadata"}
    assert (body["stop_sequences"], body["metadata"]) == (["a"], {"user_id": "u"})
    assert ask(params=Params(n=1, logprobs=False, modalities=("text",), service_tier="default"))[1] == ()


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        ("openai_chat", {"prompt_cache_key", "frequency_penalty"}),
        ("openai_responses", {"prompt_cache_key", "frequency_penalty"}),
        ("gemini", {"cache_key", "frequencyPenalty"}),
    ],
)
def test_what_is_left_out_is_told_in_the_callers_words(caller: str, words: set[str]) -> None:
    prompt = Prompt((USER,), params=Params(cache_key="k", frequency_penalty=1))
    turn = Turn(caller, {}, lambda _: prompt, model="x")
    assert set(dialect.write_ask(Plan(turn, "m", False)).dropped) == words


@pytest.mark.parametrize(("caller", "word"), [("openai_chat", "n"), ("gemini", "candidateCount")])
def test_several_answers_are_refused_and_not_made_one(caller: str, word: str) -> None:
    prompt = Prompt((USER,), params=Params(n=2))
    plan = Plan(Turn(caller, {}, lambda _: prompt, model="x"), "m", False)
    with pytest.raises(BadRequest) as refused:
        dialect.write_ask(plan)
    assert (refused.value.param, refused.value.code) == (word, "unsupported")
    assert json.loads(dialect.write_count_ask(plan))["model"] == "m"  # how many answers changes no prompt


def test_names_of_authors_are_told() -> None:
    assert ask(Message("user", (Text("x"),), name="bob"))[1] == ("messages.name",)


def test_a_stream_is_asked_for_only_when_wanted() -> None:
    assert ask(stream=True)[0]["stream"] is True
    assert "stream" not in ask()[0]


@pytest.mark.parametrize(
    ("params", "model", "want", "dropped"),
    [
        (Params(temperature=0.3), "m", {"temperature": 0.3}, ()),
        (Params(temperature=1.7), "m", {"temperature": 1}, ("temperature",)),
        (Params(temperature=-1), "m", {"temperature": 0}, ("temperature",)),
        (Params(temperature=0.3, top_p=0.9, top_k=4), "m", {"temperature": 0.3, "top_k": 4}, ("top_p",)),
        (Params(temperature=1, top_p=0.9), "m", {"top_p": 0.9}, ()),
        (Params(temperature=0.3, top_k=4), "claude-opus-4-7", {}, ("temperature", "top_k")),
        (Params(temperature=1), "claude-opus-4-7", {}, ()),
    ],
)
def test_sampling(params: Params, model: str, want: dict[str, Any], dropped: tuple[str, ...]) -> None:
    body, told = ask(params=params, model=model)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == want
    assert told == dropped


def thinking_of(thinking: Thinking, *, model: str = "m", **params: Any) -> tuple[Any, Any, int, tuple[str, ...]]:
    body, dropped = ask(params=Params(thinking=thinking, **params), model=model)
    return body.get("thinking"), body.get("output_config"), body["max_tokens"], dropped


def test_effort_becomes_a_budget_below_the_limit() -> None:
    assert thinking_of(Thinking("high")) == ({"type": "enabled", "budget_tokens": 16384}, None, 4096 + 16384, ())
    assert thinking_of(Thinking("high"), max_tokens=8000)[0] == {"type": "enabled", "budget_tokens": 6000}
    assert thinking_of(Thinking("low"), max_tokens=1024) == (None, None, 1024, ("reasoning_effort",))
    assert thinking_of(Thinking("none"))[0] == {"type": "disabled"}
    assert thinking_of(Thinking("strange"))[0] is None


def test_the_callers_own_number_is_kept() -> None:
    assert thinking_of(Thinking(budget=5000), max_tokens=6000)[0]["budget_tokens"] == 5000
    assert thinking_of(Thinking(budget=5000), max_tokens=3000)[0::3] == (
        {"type": "enabled", "budget_tokens": 2999},
        ("reasoning_effort",),
    )
    assert thinking_of(Thinking(budget=10))[0]["budget_tokens"] == 1024
    assert thinking_of(Thinking(budget=0))[0] == {"type": "disabled"}


def test_newer_models_get_effort_and_adaptive_thinking() -> None:
    assert thinking_of(Thinking("minimal", show=True), model="claude-opus-4-7")[:3] == (
        {"type": "adaptive", "display": "summarized"},
        {"effort": "low"},
        4096 + 1024,
    )
    assert thinking_of(Thinking("xhigh"), model="claude-opus-4-6")[1] == {"effort": "high"}
    assert thinking_of(Thinking("xhigh"), model="claude-opus-5")[1] == {"effort": "xhigh"}
    assert thinking_of(Thinking(budget=3000), model="claude-opus-4-6")[0]["budget_tokens"] == 3000
    assert thinking_of(Thinking(budget=3000), model="claude-opus-4-8")[1] == {"effort": "medium"}
    assert thinking_of(Thinking(budget=-1, show=False), model="claude-sonnet-5")[0]["display"] == "omitted"


def test_adaptive_thinking_too_has_room_beside_the_answer_where_the_caller_sets_no_limit() -> None:
    room = {
        Thinking("low"): 2048,
        Thinking("high"): 16384,
        Thinking(budget=20000): 24576,
        Thinking(budget=90000): 90000,
        Thinking(budget=-1): 16384,  # as much as the service thinks by itself
    }
    for thinking, tokens in room.items():
        assert thinking_of(thinking, model="claude-opus-4-8")[2] == 4096 + tokens
        assert thinking_of(thinking, model="claude-opus-4-8", max_tokens=3000)[2] == 3000
    assert thinking_of(Thinking("none"), model="claude-opus-4-8")[2] == 4096
    assert thinking_of(Thinking("none"), model="claude-fable-5")[2] == 4096 + 2048  # it always thinks


def test_thinking_leaves_no_room_for_sampling_nor_for_a_forced_call() -> None:
    body, dropped = ask(params=Params(thinking=Thinking("low"), temperature=0.2, top_k=3))
    assert "temperature" not in body
    assert dropped == ("temperature", "top_k")
    for choice in (ToolChoice("required"), ToolChoice("tool", ("f",))):
        fields = {"reasoning": Raw(b"{}")}
        body, dropped = ask(
            tools=(FUNCTION,), tool_choice=choice, params=Params(thinking=Thinking("low")), fields=fields
        )
        assert "thinking" not in body
        assert dropped == ("reasoning",)


def test_thinking_is_left_out_when_the_open_tool_turn_was_another_services() -> None:
    result = Message("tool", (ToolResult("a", (Text("1"),)),))
    theirs = (USER, Message("assistant", (ToolCall("a", "f"),)), result)
    body, dropped = ask(*theirs, tools=(FUNCTION,), params=Params(thinking=Thinking("low")))
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)
    signed = Reasoning("hm", state=State(NAME, {"signature": "s"}))
    ours = (USER, Message("assistant", (signed, ToolCall("a", "f"))), result)
    assert "thinking" in ask(*ours, tools=(FUNCTION,), params=Params(thinking=Thinking("low")))[0]


def test_a_schema_is_closed_and_the_callers_copy_stays_as_it_was() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "description": "count"}}}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "minimum": {"anyOf": [inner, {"type": "null"}]}},
        "$defs": {"x": {"type": "array", "items": inner, "minItems": 3}},
    }
    before = json.dumps(schema)
    body, dropped = ask(params=Params(format=Format("json_schema", schema, "name", "words", True)))
    closed = {
        "type": "object",
        "properties": {"n": {"type": "integer", "description": "count\n\n{minimum: 1}"}},
        "additionalProperties": False,
    }
    assert json.dumps(schema) == before
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "description": "words",
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/x"}, "minimum": {"anyOf": [closed, {"type": "null"}]}},
            "$defs": {"x": {"type": "array", "items": closed, "description": "{minItems: 3}"}},
            "additionalProperties": False,
        },
    }
    assert dropped == ()


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    body, _ = ask(Message("system", (Text("s"),)), USER, params=Params(format=Format("json")))
    assert body["system"].startswith("s\n\nAnswer with one valid JSON object")


def test_a_count_is_asked_without_what_concerns_the_answer() -> None:
    prompt = Prompt((Message("system", (Text("s"),)), USER), params=Params(temperature=0.1, stop=("x",), user="u"))
    turn = Turn("another", {}, lambda _: prompt, model="x")
    assert json.loads(dialect.write_count_ask(Plan(turn, "m", True))) == {
        "model": "m",
        "system": "s",
        "messages": [{"role": "user", "content": "hello"}],
    }


def test_calls_in_the_messages_are_named_where_no_tools_are_offered_and_may_not_be_made_again() -> None:
    call = Message("assistant", (ToolCall("toolu_1", "look_up", "{}"),))
    result = Message("tool", (ToolResult("toolu_1", (Text("found"),)),))
    body, _ = ask(USER, call, result)
    assert [tool["name"] for tool in body["tools"]] == ["look_up"]
    assert body["tool_choice"] == {"type": "none"}
    plain, _ = ask(USER)
    assert "tools" not in plain
    assert "tool_choice" not in plain
