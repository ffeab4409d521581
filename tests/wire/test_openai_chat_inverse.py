"""What is written of a prompt is read back as that prompt, within what this dialect can say."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.core.json_words import JSON_ONLY, speaks_of_json
from midstream.core.parts import (
    Cache,
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
from midstream.wire.openai_chat import NAME, Quirks, read_ask, write_ask
from midstream.wire.strict_json import read_object

#: A service that takes all there is.
EVERYTHING = Quirks(
    top_k=True,
    cache_control=True,
    media=frozenset({"image", "audio", "video", "file"}),
    file_urls="file_data",
    reasoning="reasoning",
    reasoning_history="reasoning_details",
)

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
_NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
_CACHE = st.sampled_from([None, Cache("5m"), Cache("1h")])
_TEXTS = st.builds(Text, _TEXT, cache=_CACHE)
_DATA = st.sampled_from(["QUJD", "QQ=="])
_MEDIA = st.one_of(
    st.builds(Media, st.just("image"), url=st.just("https://x/y"), detail=st.sampled_from([None, "low"]), cache=_CACHE),
    st.builds(Media, st.just("image"), mime=st.just("image/png"), data=_DATA, cache=_CACHE),
    st.builds(Media, st.just("audio"), mime=st.sampled_from(["audio/wav", "audio/mpeg"]), data=_DATA),
    st.builds(Media, st.just("video"), url=st.just("https://x/v")),
    st.builds(Media, st.just("file"), mime=st.just("application/pdf"), data=_DATA, name=_NAME, cache=_CACHE),
    st.builds(Media, st.just("file"), file_id=_NAME, name=st.none() | _NAME),
    st.builds(Media, st.just("file"), url=st.just("https://x/f"), name=st.none() | _NAME),
)
_FOREIGN = st.builds(lambda kind: Foreign(f"x{kind}", State(NAME, {"type": f"x{kind}", "y": 1})), _NAME)
_OPTIONAL_TEXT = st.none() | _TEXT
_FUNCTION = st.builds(
    Tool,
    _NAME,
    description=_OPTIONAL_TEXT,
    parameters=st.sampled_from([None, {"type": "object", "properties": {}}]),
    strict=st.sampled_from([None, True, False]),
    cache=_CACHE,
)
_CUSTOM = st.builds(Tool, _NAME, description=_OPTIONAL_TEXT, kind=st.just("custom"))


@st.composite
def assistants(draw: st.DrawFn, number: int) -> list[Message]:
    """An assistant's message, and the results of its calls."""
    parts: list[Part] = []
    if draw(st.booleans()):
        details = draw(st.sampled_from([None, State(NAME, {"reasoning_details": [{"type": "x"}]})]))
        parts.append(Reasoning("" if details else draw(_TEXT), state=details))
    parts += draw(st.lists(_TEXTS, max_size=2))
    if draw(st.booleans()):
        parts.append(Refusal(draw(_TEXT)))
    extra = st.sampled_from([None, State(NAME, {"extra_content": {"a": 1}})])
    made: list[tuple[str, Any]] = draw(st.lists(st.tuples(_NAME, st.sampled_from(["function", "custom"])), max_size=2))
    calls = [
        ToolCall(f"c{number}_{at}", name, "{}" if kind == "function" else "free", kind, draw(_CACHE), draw(extra))
        for at, (name, kind) in enumerate(made)
    ]
    results: list[Message] = []
    for call in calls:
        texts = tuple(draw(st.lists(_TEXTS, max_size=2)))
        results.append(Message("tool", (ToolResult(call.id, texts, name=call.name),)))
    return [Message("assistant", (*parts, *calls), name=draw(st.none() | _NAME)), *results]


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    messages: list[Message] = []
    for number in range(draw(st.integers(1, 3))):
        role: Any = draw(st.sampled_from(["system", "developer", "user"]))
        pieces = st.one_of(_TEXTS, _MEDIA, _FOREIGN) if role == "user" else _TEXTS
        parts = tuple(draw(st.lists(pieces, min_size=1, max_size=3)))
        messages.append(Message(role, parts, name=draw(st.none() | _NAME)))
        if draw(st.booleans()):
            messages += draw(assistants(number))
    tools = tuple(draw(st.lists(st.one_of(_FUNCTION, _CUSTOM), max_size=3, unique_by=lambda tool: tool.name)))
    return Prompt(tuple(messages), tools, draw(_choices(tools)), draw(_params(bool(tools))))


def _choices(tools: tuple[Tool, ...]) -> st.SearchStrategy[ToolChoice | None]:
    if not tools:
        return st.none()
    modes: Any = st.sampled_from(["auto", "none", "required"])
    names = (tools[0].name,)
    named = [ToolChoice("tool", names), ToolChoice("auto", names), ToolChoice("required", names)]
    return st.one_of(st.none(), st.builds(ToolChoice, modes), st.sampled_from(named))


def _params(has_tools: bool) -> st.SearchStrategy[Params]:
    def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.none() | values

    number = maybe(st.floats(0, 2, allow_nan=False))
    count = maybe(st.integers(1, 9))
    schema = Format("json_schema", schema={"type": "object"}, name="n", description="d", strict=True)
    thinking = [
        Thinking("low"),
        Thinking(budget=100),
        Thinking("high", show=False),
        Thinking("none"),
        Thinking("high", summary="auto"),
    ]
    return st.builds(
        Params,
        max_tokens=count, temperature=number, top_p=number, top_k=count, frequency_penalty=number,
        presence_penalty=number, seed=count, stop=st.lists(_TEXT, max_size=4).map(tuple), n=count,
        logprobs=maybe(st.booleans()), top_logprobs=count, logit_bias=maybe(st.just({"1": -1.0})),
        format=maybe(st.sampled_from([Format("text"), Format("json"), schema])),
        thinking=maybe(st.sampled_from(thinking)),
        parallel_tools=maybe(st.booleans()) if has_tools else st.none(),
        user=maybe(_TEXT), service_tier=maybe(st.sampled_from(["auto", "flex"])), cache_key=maybe(_TEXT),
        verbosity=maybe(st.just("low")), modalities=st.sampled_from([(), ("text", "audio")]),
        audio=maybe(st.just({"voice": "v", "format": "wav"})),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(prompts())
def test_a_written_prompt_reads_back_the_same(prompt: Prompt) -> None:
    turn = Turn("gemini", {}, lambda fields: prompt, model="m")
    asked = write_ask(Plan(turn, "m", stream=True), EVERYTHING)
    again = read_ask(read_object(asked.body))
    assert asked.dropped == ()
    asks = [Message("system", (Text(JSON_ONLY),))] if prompt.params.format == Format("json") else []
    expected = [*(asks if not speaks_of_json(prompt.messages) else []), *prompt.messages]
    assert [replace(message, native=None) for message in again.messages] == expected
    assert (again.tools, again.tool_choice, again.params, again.extras) == (
        prompt.tools, prompt.tool_choice, prompt.params, {},
    )  # fmt: skip
