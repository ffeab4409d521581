"""The history routes of conversations on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
    assert ask("GET", f"{AT}/{first}").status == 404
    assert ask("GET", f"{AT}/search?q=zebra").json["data"] == []


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
