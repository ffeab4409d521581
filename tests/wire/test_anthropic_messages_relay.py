"""A request of this format to a service of this format: the caller's own bytes, and stored ones before them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from midstream.core.errors import BadRequest
from midstream.core.parts import Message, Native, Reasoning, State, Text, ToolCall
from midstream.core.turn import Asked, Plan, Turn
from midstream.wire import anthropic_messages as dialect
from midstream.wire.strict_json import read_object

NAME = dialect.NAME
USER = Message("user", (Text("hello"),))


def relay(body: bytes, **members: Any) -> Asked:
    turn = Turn(NAME, read_object(body), dialect.read_ask, model="x")
    return dialect.write_ask(Plan(turn, members.pop("model", "up"), members.pop("stream", False), **members))


def test_the_callers_bytes_are_relayed() -> None:
    body = b'{ "model":"x", "max_tokens":1.0e1 , "messages":[ {"role":"user", "content":"h\\u00e9"} ],"new":{"a" :1},"store":true,"conversation":"c","stream":true}'  # noqa: E501
    assert relay(body, stream=True).body == (
        b'{"model":"up","max_tokens":1.0e1,"messages":[ {"role":"user", "content":"h\\u00e9"} ],"new":{"a" :1},"store":true,"conversation":"c","stream":true}'  # noqa: E501
    )
    assert relay(b'{"model":"x","messages":[],"stream":true}').body == (
        b'{"model":"up","messages":[],"stream":false,"max_tokens":4096}'
    )
    assert b"stream" not in relay(b'{"model":"x","messages":[]}').body


def test_a_relay_does_not_read_the_messages() -> None:
    assert b'[{"role":"nobody"}]' in relay(b'{"model":"x","max_tokens":1,"messages":[{"role":"nobody"}]}').body


def test_history_goes_before_the_callers_messages_with_its_own_bytes() -> None:
    first = b'{"role":"user",  "content":"one"}'
    history = (
        Message("user", (Text("one"),), native=Native(NAME, first)),
        Message("assistant", (Reasoning("hm", state=State(NAME, {"signature": "s"})), Text("1"))),
    )
    out = relay(b'{"model":"x","max_tokens":1,"messages":[{"role":"user","content": "two"}]}', history=history).body
    want = b'[%b,{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"1"}]},{"role":"user","content": "two"}]'  # noqa: E501
    assert bytes(read_object(out)["messages"]) == want % first


def test_a_message_that_was_split_is_sent_once() -> None:
    result = b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"},{"type":"text","text":"w"}]}'
    fields = {"messages": Raw(b"[" + result + b"]")}
    history = (
        Message("user", (Text("u"),)),
        Message("assistant", (ToolCall("t", "f"),)),
        *dialect.read_ask(fields).messages,
        Message("assistant", (Text("fine"),)),
    )
    out = relay(b'{"model":"x","messages":[{"role":"user","content":"two"}]}', history=history).body
    assert out.count(b'"text":"w"') == 1
    assert result in out
    # When what carried the bytes is gone, the rest is written from its parts.
    out = relay(b'{"model":"x","messages":[]}', history=(history[0], history[3])).body
    assert json.loads(out)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "u"}, {"type": "text", "text": "w"}]}
    ]


def test_stored_system_messages_join_the_callers_system() -> None:
    history = (Message("system", (Text("stored"),)), USER, Message("assistant", (Text("1"),)))
    out = json.loads(relay(b'{"model":"x","messages":[],"system":"own"}', history=history).body)
    assert [block["text"] for block in out["system"]] == ["stored", "own"]


def test_marks_of_earlier_turns_never_make_a_fifth() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    raws = [json.dumps({"role": role, "content": [marked]}).encode() for role in ("user", "assistant") * 3]
    history = tuple(Message(json.loads(raw)["role"], (Text("x"),), native=Native(NAME, raw)) for raw in raws)
    own = json.dumps({"model": "x", "messages": [{"role": "user", "content": [marked, marked]}]}).encode()
    out = relay(own, history=history).body
    assert out.count(b'"cache_control"') == 4
    messages = json.loads(out)["messages"]
    assert ["cache_control" in json.dumps(message) for message in messages] == [False] * 4 + [True] * 3


def test_only_marks_on_blocks_and_tools_are_counted_and_the_rest_of_a_stored_block_keeps_its_bytes() -> None:
    mark = b'"cache_control": {"type":"ephemeral"}'
    call = b'{"type":"tool_use","id":"t","name":"f","input":{%b,"content":[{%b}],"n":1.0e1}, %b}' % (mark, mark, mark)
    result = b'{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r",%b}]}' % mark
    none = b'{"type":"text","text":"\\"cache_control\\":","cache_control":null}'
    raws = [
        b'{"role":"user","content":"go"}',
        b'{"role":"assistant","content":[%b]}' % call,
        b'{"role":"user","content":[%b,%b]}' % (result, none),
        b'{"role":"assistant","content":"fine"}',
    ]
    history = tuple(Message(json.loads(raw)["role"], (), native=Native(NAME, raw)) for raw in raws)
    tool = b'{"name":"f","input_schema":{"type":"object","properties":{%b}},%b}' % (mark, mark)
    own = b'{"role":"user","content":[{"type":"text","text":"x",%b}]}' % mark
    body = b'{"model":"x","max_tokens":1,"system":%b,"tools":[%b],"messages":[%b]}'
    messages = bytes(read_object(relay(body % (b'"s"', tool, own), history=history).body)["messages"])
    assert messages == b"[" + b",".join([*raws, own]) + b"]"
    system = b'[{"type":"text","text":"s",%b}]' % mark
    messages = bytes(read_object(relay(body % (system, tool, own), history=history).body)["messages"])
    assert messages == b"[" + b",".join([*raws, own]).replace(b", " + mark + b"}", b"}") + b"]"
    assert relay(body % (b'"cache_control"', b"3", b'"cache_control",{"content":["cache_control"]}'), history=history)


def test_thinking_that_another_service_did_is_not_sent_to_this_one() -> None:
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    text = {"type": "text", "text": 'says "signature": "" itself'}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"signature": ""}}
    user = b'{"role":"user",  "content":"one"}'
    given = [{"role": "assistant", "content": content} for content in ([unsigned, text], [signed, call], [unsigned])]
    raws = [user, *(json.dumps(message).encode() for message in given)]
    messages = json.loads(relay(b'{"model":"x","messages":[' + b",".join(raws) + b"]}").body)["messages"]
    assert [message["content"] for message in messages] == ["one", [text], [signed, call]]
    assert user in relay(b'{"model":"x","messages":[' + b",".join(raws) + b"]}").body
    history = tuple(Message(json.loads(raw)["role"], (), native=Native(NAME, raw)) for raw in raws[:2])
    assert [
        message["content"] for message in json.loads(relay(b'{"messages":[]}', history=history).body)["messages"]
    ] == [
        "one",
        [text],
    ]
    broken = b'[{"role":"user","content":[{"signature":"" }, 3]}]'
    assert broken in relay(b'{"model":"x","messages":' + broken + b"}").body


@pytest.mark.parametrize(
    ("first", "kind", "thinks"),
    [
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, "enabled", True),
        ({"type": "thinking", "thinking": "hm", "signature": ""}, "enabled", False),
        ({"type": "redacted_thinking", "data": "d"}, "enabled", True),
        ({"type": "text", "text": "a"}, "enabled", False),
        ({"type": "text", "text": "a"}, "adaptive", True),
    ],
)
def test_a_tool_turn_of_another_service_goes_on_without_thinking(first: Any, kind: str, thinks: bool) -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "1"}
    messages = [{"role": "assistant", "content": [first, call]}, {"role": "user", "content": [result]}]
    step = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    for ended, more in ((False, []), (False, step), (True, [{"role": "user", "content": "next"}])):
        asked = [{"role": "user", "content": "go"}, *messages, *more]
        body = {"model": "x", "messages": asked, "thinking": {"type": kind, "budget_tokens": 1024}}
        out = relay(json.dumps(body).encode())
        assert ("thinking" in json.loads(out.body)) is (thinks or ended)
        assert out.dropped == (() if thinks or ended else ("thinking",))


def test_history_cannot_be_put_before_what_is_no_list() -> None:
    with pytest.raises(BadRequest):
        relay(b'{"model":"x","messages":"hello"}', history=(USER,))
