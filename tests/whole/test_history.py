"""The history routes of conversations on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from midstream.core.ids import as_uuid, from_uuid

from .agents_at import Agents
from .serving import Serving

AT = "/api/v1/conversation"


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("history")) as serving:
        yield Agents(serving)


def test_a_history_is_listed_read_searched_renamed_and_deleted(agents: Agents):
    ask, agent = agents.serving.ask, agents.agent()
    first = agents.say(agent, "the zebra crosses").json["conversationId"]
    second = agents.say(agent, "something else").json["conversationId"]
    assert ask("GET", f"{AT}/chat-history").status == 200
    assert {first, second} <= {row["id"] for row in ask("GET", f"{AT}/chat-history").json["data"]}
    shown = ask("GET", f"{AT}/{first}").json
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    found = ask("GET", f"{AT}/search?q=zebra").json["data"]
    assert {row["conversationId"] for row in found} == {first}
    assert ask("PATCH", f"{AT}/{first}", {"title": "Stripes"}).json["title"] == "Stripes"
    reaction = f"{AT}/{first}/messages/{shown['messages'][1]['id']}/reaction"
    assert ask("POST", reaction, {"reaction": "like"}).status in (200, 204)
    assert ask("DELETE", f"{AT}/{first}").status in (200, 204)
    gone = ask("GET", f"{AT}/{first}")
    assert (gone.status, gone.json["message"]) == (404, f"no such conversation: {first}")
    assert ask("GET", f"{AT}/search?q=zebra").json["data"] == []


def test_what_is_written_without_spaces_is_found_in_its_own_org(agents: Agents):
    ask, agent = agents.serving.ask, agents.agent()
    said = agents.say(agent, "昨日、東京タワーに登りました。").json["conversationId"]
    agents.say(agent, "京都")
    found = ask("GET", f"{AT}/search?q={quote('東京')}").json["data"]
    assert {row["conversationId"] for row in found} == {said}
    assert all("東京タワー" in row["snippet"] for row in found)
    agents.post("/v1/admin/documents", {"name": "tower", "text": "東京タワーの高さは333メートルです。"})
    asked = {"name": "search_documents", "arguments": {"queries": ["タワーはどのくらい高いですか"]}}
    assert "333メートル" in agents.post("/mcp/v1/tools/call-tool", asked)["content"][0]["text"]
    org = agents.post("/v1/admin/orgs", {"name": "elsewhere"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org, "scopes": ["admin", "chat"]})["key"]
    assert ask("GET", f"{AT}/search?q={quote('東京')}", key=key).json["data"] == []
    reply = ask("POST", "/mcp/v1/tools/call-tool", asked, key=key).json
    assert reply["content"][0]["text"] == "nothing was found"


def test_conversations_of_an_agent_are_listed_by_any_of_its_names(agents: Agents):
    agent = agents.agent()
    said = agents.say(agent, "hello").json["conversationId"]
    agents.say(agents.agent(), "elsewhere")
    slug = agents.serving.ask("GET", f"/v1/admin/agents/{agent}").json["slug"]
    for name in (agent, as_uuid(agent), slug):
        found = agents.serving.ask("GET", f"{AT}/chat-history?agentId={name}").json["data"]
        assert [row["id"] for row in found] == [said], name
    assert agents.serving.ask("GET", f"{AT}/chat-history?agentId=nobody").json["data"] == []
    assert agents.serving.ask("DELETE", f"/v1/admin/agents/{agent}").status == 200
    assert len(agents.serving.ask("GET", f"{AT}/chat-history?agentId={agent}").json["data"]) == 1


def test_another_orgs_history_is_as_unknown_as_one_that_never_was(agents: Agents):
    conversation = agents.say(agents.agent(), "hello").json["conversationId"]
    org = agents.post("/v1/admin/orgs", {"name": "other"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org})["key"]
    for method, path, body in (
        ("GET", "", None), ("PATCH", "", {"title": "x"}), ("DELETE", "", None), ("POST", "/reset", None),
        ("GET", "/branches", None),
    ):  # fmt: skip
        reply = agents.serving.ask(method, f"{AT}/{conversation}{path}", body, key=key)
        assert (reply.status, reply.json["statusCode"]) == (404, 404), (method, path)
    assert agents.serving.ask("GET", f"{AT}/chat-history", key=key).json["data"] == []
    assert agents.serving.ask("GET", f"{AT}/chat-history", key="").status == 401


def test_on_v1_a_conversation_goes_on_in_the_branch_that_is_in_use(agents: Agents):
    ask, agent = agents.serving.ask, agents.agent()
    first = agents.say(agent, "one two three").json
    conversation = first["conversationId"]
    told = [message["id"] for message in ask("GET", f"{AT}/{conversation}").json["messages"]]
    agents.say(agent, "four", conversationId=conversation)
    agents.say(agent, "another beginning", conversationId=conversation, editMessageId=told[0])
    body = {
        "model": "midstream/rehearsal",
        "messages": [{"role": "user", "content": "five"}],
        "conversation": from_uuid("conv_", conversation),
    }
    named = ask("GET", f"{AT}/{conversation}").json
    assert [message["text"] for message in named["messages"] if message["role"] == "user"] == ["another beginning"]
    assert ask("POST", "/v1/chat/completions", body).status == 200
    shown = ask("GET", f"{AT}/{conversation}").json["messages"]
    assert [message["text"] for message in shown if message["role"] == "user"] == ["another beginning", "five"]
    assert [message["role"] for message in shown] == ["user", "assistant", "user", "assistant"]


def test_on_v1_what_was_said_before_a_reset_is_not_shown_to_the_model(agents: Agents):
    ask = agents.serving.ask
    conversation = agents.say(agents.agent(), "one two three four five six seven").json["conversationId"]
    body = {
        "model": "midstream/rehearsal",
        "messages": [{"role": "user", "content": "hi"}],
        "conversation": from_uuid("conv_", conversation),
    }
    assert ask("POST", f"{AT}/{conversation}/reset", {}).status in (200, 204)
    assert ask("POST", "/v1/chat/completions", body).json["usage"]["prompt_tokens"] == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("begun", ["/v1/chat/completions", "/api/v2/model/chat/completion"])
def test_a_conversation_without_an_agent_asks_for_one_before_anything_is_kept(agents: Agents, begun: str, stream: bool):
    ask, agent = agents.serving.ask, agents.agent()
    body = {"model": "midstream/rehearsal", "messages": [{"role": "user", "content": "one"}], "conversation": {}}
    if begun.startswith("/api"):
        body = {"service": "midstream", "model": "rehearsal", "user": "one", "thread_id": f"nobodys-{stream}"}
    assert ask("POST", begun, body).status == 200
    conversation = ask("GET", f"{AT}/chat-history?limit=1").json["data"][0]["id"]
    before = ask("GET", f"{AT}/{conversation}").json["messages"]
    refused = ask("POST", AT, {"conversationId": conversation, "message": "two", "stream": stream})
    assert (refused.status, refused.json) == (
        400,
        {
            "statusCode": 400, "message": "agentId: name the agent that shall answer",
            "error": "missing_required_parameter",
        },
    )  # fmt: skip
    assert ask("GET", f"{AT}/{conversation}").json["messages"] == before
    assert agents.say(agent, "three", conversationId=conversation).json["text"]


def test_messages_are_paged_and_name_no_parent_that_is_deleted(agents: Agents):
    ask, agent = agents.serving.ask, agents.agent()
    conversation = agents.say(agent, "one").json["conversationId"]
    for word in ("two", "three"):
        agents.say(agent, word, conversationId=conversation)
    newest = ask("GET", f"{AT}/{conversation}?limit=4").json
    assert newest["hasMore"]
    older = ask("GET", f"{AT}/{conversation}?limit=4&before={newest['firstId']}").json
    assert not older["hasMore"]
    said = [one["text"].rpartition(": ")[2] for one in older["messages"] + newest["messages"]]
    assert said == ["one", "one", "two", "two", "three", "three"]
    behind = ask("GET", f"{AT}/{conversation}?limit=1&after={older['lastId']}").json
    assert (behind["lastId"], behind["hasMore"]) == (newest["firstId"], True)
    assert ask("DELETE", f"{AT}/{conversation}/messages/{older['lastId']}").status == 200
    assert ask("GET", f"{AT}/{conversation}").json["messages"][1]["parentId"] == older["firstId"]
