"""What a provider is sent of conversations that begin with a transcript, are long, or have lost messages."""

from __future__ import annotations

import pytest

from midstream.core.ids import as_uuid

from .agents_at import Agents
from .serving import Serving
from .test_chat import CALL, HI, REPLY, TOOLS, ask, strictly
from .upstream import Upstream, whole


def test_a_conversation_that_begins_with_a_transcript_goes_on_from_all_of_it(serving: Serving, upstream: Upstream):
    upstream.answer = strictly
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    told = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    transcript = [{"role": "user", "content": "my name is Ada"}, {"role": "assistant", "content": "Hi Ada"}]
    transcript += [{"role": "user", "content": "weather?"}, asked, told]
    first = ask(serving, conversation={}, tools=TOOLS, messages=transcript)
    assert first.status == 200, first.body
    id = first.headers["x-conversation-id"]
    assert first.json["conversation"]["title"] == "my name is Ada"
    second = ask(serving, conversation=id, tools=TOOLS, messages=[{"role": "user", "content": "who am I?"}])
    assert second.status == 200, second.body
    sent = upstream.asked[-1].json["messages"]
    assert sent[:5] == transcript
    assert [(one["role"], one["content"]) for one in sent[5:]] == [("assistant", "Hello!"), ("user", "who am I?")]
    again = [*transcript, {"role": "user", "content": "only this is new"}]
    assert ask(serving, conversation=id, tools=TOOLS, messages=again).status == 200
    kept = ask(serving, conversation=id, tools=TOOLS, messages=[{"role": "user", "content": "so?"}])
    assert kept.status == 200
    sent = upstream.asked[-1].json["messages"]
    assert [one["content"] for one in sent[6::2]] == ["who am I?", "only this is new", "so?"]


def test_a_transcript_stands_in_its_runs_events_as_it_was_sent(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    transcript = [*HI, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "go on"}]
    run = ask(serving, conversation={}, messages=transcript).headers["x-run-id"]
    events = [
        one for one in serving.ask("GET", f"/v1/admin/runs/{run}/events").json["data"] if one["type"] == "message"
    ]
    assert [one["data"]["content"] for one in events[:3]] == transcript
    assert len(events) == 4


def test_a_conversation_goes_on_when_the_answer_that_called_a_tool_is_deleted(serving: Serving, upstream: Upstream):
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    upstream.answer = lambda asked: whole(
        {**REPLY, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    )
    id = ask(serving, conversation={}, tools=TOOLS).headers["x-conversation-id"]
    upstream.answer = strictly
    told = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    assert ask(serving, conversation=id, tools=TOOLS, messages=[told]).status == 200
    path = f"/api/v1/conversation/{as_uuid(id)}"
    [calling] = [one["id"] for one in serving.ask("GET", path).json["messages"][1:2]]
    assert serving.ask("DELETE", f"{path}/messages/{calling}").status == 200
    reply = ask(serving, conversation=id, tools=TOOLS, messages=[{"role": "user", "content": "thanks"}])
    assert reply.status == 200, reply.body
    assert [one["role"] for one in upstream.asked[-1].json["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    "most, shown", [(0, []), (2, ["q2", "Hello!"]), (3, ["q2", "Hello!"]), (4, ["q1", "Hello!", "q2", "Hello!"])]
)
def test_the_end_of_a_long_conversation_that_an_agent_is_shown_begins_where_the_user_speaks(
    serving: Serving, upstream: Upstream, most: int, shown: list[str]
):
    upstream.answer = lambda asked: whole(REPLY)
    agents = Agents(serving)
    agent = agents.agent(service="up", configuration={"model": "m"}, settings={"history_messages": most})
    id = agents.say(agent, "q0").json["conversationId"]
    for message in ("q1", "q2", "now"):
        assert agents.say(agent, message, conversationId=id).status == 200
    said = [one["content"] for one in upstream.asked[-1].json["messages"] if one["role"] != "system"]
    assert said == [*shown, "now"]
    answer = serving.ask("GET", f"/api/v1/conversation/{id}").json["messages"][-1]["id"]
    reply = agents.say(agent, "", conversationId=id, regenerateMessageId=answer)
    assert reply.status == 200, reply.body
    said = [one["content"] for one in upstream.asked[-1].json["messages"] if one["role"] != "system"]
    assert said == [*shown, "now"]
