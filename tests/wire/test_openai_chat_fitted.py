"""The caller's own messages for services that would refuse some of what stands in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from midstream.wire.openai_chat.fitted import fitted, short_id
from midstream.wire.openai_chat.quirks import Quirks

STRICT = Quirks(
    developer_role=False,
    short_ids=True,
    reasoning_history="thinking",
    refuses=frozenset({"refusal", "reasoning_content", "annotations"}),
)


def fit(*messages: Any, quirks: Quirks = STRICT) -> tuple[Any, list[str]]:
    dropped: list[str] = []
    return json.loads(bytes(fitted(Raw(json.dumps(messages).encode()), quirks, dropped))), dropped


def test_messages_that_fit_are_the_very_same_bytes() -> None:
    raw = Raw(b'[ {"role": "assistant", "content": "developer \\u00e9 \\"tool_call", "tool_calls" : [] } , {"x":1e5}]')
    assert fitted(raw, STRICT, []) is raw
    other = Raw(b'[{"role":"developer","refusal":null}]')
    assert fitted(other, Quirks(), []) is other


@pytest.mark.parametrize("raw", [b'"tool_call"', b'{"refusal":1}', b'["refusal", 5]', b'[{"tool_calls":5,"a":1}]'])
def test_what_is_no_list_of_messages_is_left_for_the_service_to_refuse(raw: bytes) -> None:
    assert bytes(fitted(Raw(raw), STRICT, [])) == raw


def test_a_developer_becomes_the_system() -> None:
    assert fit({"role": "developer", "content": "a"}) == ([{"role": "system", "content": "a"}], [])


def test_what_the_service_refuses_is_left_out_and_reported_when_it_said_something() -> None:
    message = {"role": "assistant", "content": "a", "refusal": None, "annotations": [], "name": "n"}
    assert fit(message) == ([{"role": "assistant", "content": "a", "name": "n"}], [])
    assert fit({**message, "refusal": "no"}, {**message, "refusal": "never"})[1] == ["refusal"]


def test_earlier_reasoning_goes_back_in_the_services_own_form() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    said, dropped = fit({"role": "assistant", "content": "a", "reasoning_content": "hm"})
    assert (said, dropped) == ([{"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}], [])
    assert fit({"role": "assistant", "content": None, "reasoning_content": "hm"})[0][0]["content"] == [thought]
    plain = Quirks(refuses=STRICT.refuses)
    said, dropped = fit({"role": "assistant", "content": "a", "reasoning_content": "hm"}, quirks=plain)
    assert (said, dropped) == ([{"role": "assistant", "content": "a"}], ["reasoning_content"])


def test_ids_of_other_services_become_short_on_both_sides_of_a_call() -> None:
    call = {"id": "call_0123456789", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (asked, answered), _ = fit(
        {"role": "assistant", "tool_calls": [call, {**call, "id": "abcdefgh1"}]},
        {"role": "tool", "tool_call_id": "call_0123456789", "content": "1"},
    )
    first, second = asked["tool_calls"]
    assert first["id"] == answered["tool_call_id"] == short_id("call_0123456789")
    assert second["id"] == "abcdefgh1"
    assert first["function"] == call["function"]


@given(st.text())
def test_a_short_id_is_nine_letters_or_digits_and_stays_what_it_is(own: str) -> None:
    short = short_id(own)
    assert len(short) == 9
    assert short.isalnum()
    assert short.isascii()
    assert short_id(short) == short


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["role", "tool_calls", "tool_call_id", "id", "refusal", "reasoning_content", "content"]), inner
)))  # fmt: skip
def test_hostile_messages_never_break_it(value: Any) -> None:
    json.loads(bytes(fitted(Raw(json.dumps(value).encode()), STRICT, [])))


@given(st.lists(st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "developer", "tool"])},
    optional={
        "content": st.none() | st.text() | st.just([{"type": "text", "text": '"refusal"'}]),
        "refusal": st.none() | st.text(),
        "reasoning_content": st.text(min_size=1),
        "annotations": st.just([]),
        "tool_calls": st.just([{"id": "call_0123456789", "type": "function", "function": {"name": "f"}}]),
        "tool_call_id": st.just("call_0123456789"),
    },
)))  # fmt: skip
def test_beside_a_long_text_messages_are_made_to_fit_as_they_are_alone(messages: list[Any]) -> None:
    long = {"role": "user", "content": 'she says "developer", \\ and "refusal"\n' * 100}
    said, dropped = fit(*messages)
    assert fit(*messages, long) == ([*said, long], dropped)
    assert fit(long, *messages) == ([long, *said], dropped)
