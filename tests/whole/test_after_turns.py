"""What happens after agents' turns, on a real server whose models are the test's own: memory, titles."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from midstream.core.ids import from_uuid

from .agents_at import Agents
from .conftest import TOML
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole
from .waiting import until


class Model:
    """It remembers what users say of themselves, takes `slow` seconds for it, and fails as often as it is told to when
    asked what to remember. thinks: seconds that it takes to answer a turn. As "router" it has its first tool answer.
    titles, suggestions: what it says to those who ask for titles, or for suggestions. stop: why it stops when it is
    asked what to remember."""

    def __init__(self) -> None:
        self.failures = 0
        self.slow = self.thinks = 0.0
        self.titles = said("Ada's dog")
        self.suggestions = said("1. How old?\n2. Which breed?")
        self.stop = "stop"

    def __call__(self, asked: Asked) -> Said:
        if "You name conversations" in words(asked, "system"):
            return self.titles
        if "You help the user" in words(asked, "system"):
            return self.suggestions
        if asked.json["model"] == "router" and asked.json["messages"][-1]["role"] == "user":
            return handed_on(asked)
        if not about_memory(asked):
            return later(said("ok"), self.thinks)
        if self.failures:
            self.failures -= 1
            return whole({"error": {"message": "not today"}}, 400)
        facts = re.findall(r"^(?:User: )?(My .*)$", words(asked, "user"), re.M)
        return later(said("\n".join(dict.fromkeys(facts)) or "NOTHING", self.stop), self.slow)


def later(answer: Said, seconds: float) -> Said:
    return Said((seconds, *answer.pieces)) if seconds else answer


def handed_on(asked: Asked) -> Said:
    """Its first tool is told what the user has said last."""
    arguments = msgspec.json.encode({"message": asked.json["messages"][-1]["content"]}).decode()
    call = {"name": asked.json["tools"][0]["function"]["name"], "arguments": arguments}
    return said("", tool_calls=[{"id": "c", "type": "function", "function": call}])


def said(text: str, stop: str = "stop", **more: Any) -> Said:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": stop}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return whole(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    )


def words(asked: Asked, role: str) -> str:
    found = []
    for message in asked.json["messages"]:
        content = message["content"] or ""
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        found += [text] if message["role"] == role else []
    return "\n".join(found)


def about_memory(asked: Asked) -> bool:
    return "You keep the memory" in words(asked, "system")


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("after"), TOML.format(url=upstream.url)) as serving:
        yield Agents(serving)


@pytest.fixture
def model(upstream: Upstream) -> Model:
    upstream.answer = model = Model()
    return model


def agent_of(agents: Agents, **more: Any) -> str:
    return agents.agent(service="up", configuration={"model": "m", "prompt": "Be kind."}, **more)


def say(agents: Agents, agent: str, text: str, thread: str, **more: Any) -> Any:
    body = {"agent_id": agent, "user": text, "thread_id": thread, **more}
    reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", body)
    assert reply.status == 200, reply.body
    return reply.json


def memories(agents: Agents, agent: str) -> dict[str, str]:
    data = agents.serving.ask("GET", f"/v1/admin/agents/{agent}/memories").json["data"]
    return {one["thread_id"]: one["text"] for one in data}


def told(upstream: Upstream, text: str) -> str:
    """What the model was told with that message of a turn, but for the message."""
    [asked] = [one for one in upstream.asked if not about_memory(one) and words(one, "user").endswith(text)]
    return words(asked, "system")


def test_a_fact_of_the_first_turn_is_known_many_turns_later_with_no_history_and_in_no_other_thread(
    agents: Agents, upstream: Upstream, model: Model
):
    agent = agent_of(agents, memory=True, memory_prompt="Names above all.", settings={"history_messages": 0})
    say(agents, agent, "My name is Ada", "t1")
    until(lambda: memories(agents, agent) == {"t1": "My name is Ada"})
    [question] = [asked for asked in upstream.asked if about_memory(asked)]
    assert "Names above all." in words(question, "system")
    say(agents, agent, "My dog is Rex", "t1")
    until(lambda: memories(agents, agent) == {"t1": "My name is Ada\nMy dog is Rex"})
    for place in range(3):
        say(agents, agent, f"filler {place}", "t1")
    say(agents, agent, "who am I?", "t1")
    assert "<memory>\nMy name is Ada\nMy dog is Rex\n</memory>" in told(upstream, "who am I?")
    say(agents, agent, "who is this?", "t2")
    assert "Ada" not in told(upstream, "who is this?")
    other = agent_of(agents, memory=True)
    say(agents, other, "and here?", "t1")
    assert "Ada" not in told(upstream, "and here?")


def test_what_remembering_costs_is_a_run_of_its_own_below_the_turns(agents: Agents, model: Model):
    agent = agent_of(agents, memory=True)
    say(agents, agent, "My cat is Tom", "t1")

    def calls() -> list[dict[str, Any]]:
        rows = agents.serving.ask("GET", "/v1/admin/transactions?limit=1000").json["data"]
        return [row for row in rows if row["agent_id"] == agent]

    rows = until(lambda: len(calls()) == 2 and calls())
    assert len({row["run_id"] for row in rows}) == 2
    assert all((row["input_tokens"], row["output_tokens"], row["thread_id"]) == (9, 3, "t1") for row in rows)
    attempts = {row["id"]: row for row in agents.serving.attempts()}
    assert all(attempts[row["id"]]["cost"] == row["cost"] for row in rows)
    turns = agents.serving.ask("GET", "/v1/admin/metrics?bucket=raw&limit=1000").json["data"]
    assert len([row for row in turns if row["agent_id"] == agent]) == 1


@pytest.mark.parametrize("how", ["PUT", "DELETE", "DELETE all"])
@pytest.mark.parametrize("known", [False, True])
def test_a_memory_that_a_person_changes_or_forgets_while_it_is_written_is_as_the_person_left_it(
    agents: Agents, upstream: Upstream, model: Model, how: str, known: bool
):
    agent = agent_of(agents, memory=True)
    path = f"/v1/admin/agents/{agent}/memories"
    if known:
        agents.serving.ask("PUT", path, {"thread_id": "t1", "text": "My name is Eda"})
    model.slow = 1.0
    say(agents, agent, "My dog is Rex", "t1")
    until(lambda: any(map(about_memory, upstream.asked)))
    if how == "PUT":
        agents.serving.ask("PUT", path, {"thread_id": "t1", "text": "My name is Ada"})
        until(lambda: memories(agents, agent) == {"t1": "My name is Ada\nMy dog is Rex"})
        return
    agents.serving.ask("DELETE", path + ("?thread_id=t1" if how == "DELETE" else ""))
    model.slow = 0.0
    say(agents, agent, "My cat is Tom", "t2")
    time.sleep(1.5)
    assert memories(agents, agent) == {"t2": "My cat is Tom"}
    say(agents, agent, "My fish is Bob", "t1")
    until(lambda: memories(agents, agent) == {"t1": "My fish is Bob", "t2": "My cat is Tom"})


def test_nothing_is_remembered_where_it_is_not_asked_for_or_nothing_is_kept(
    agents: Agents, upstream: Upstream, model: Model
):
    say(agents, agent_of(agents), "My name is Eve", "t1")
    agent = agent_of(agents, memory=True)
    path = f"/api/v2/model/playground/chat/completion/{agent}"
    assert agents.serving.ask("POST", path, {"user": "My name is Bob", "thread_id": "t1"}).status == 200
    say(agents, agent, "My name is Cy", "t1")
    until(lambda: memories(agents, agent) == {"t1": "My name is Cy"})
    questions = [words(asked, "user") for asked in upstream.asked if about_memory(asked)]
    assert len(questions) == 1
    assert "Cy" in questions[0]


def router(agents: Agents, other: str, **how: Any) -> str:
    """An agent that has the other one answer."""
    connected = {"other": {"agent_id": other, "description": "answers", **how}}
    return agents.agent(service="up", configuration={"model": "router"}, connected_agents=connected)


@pytest.mark.parametrize("transfer", [False, True])
def test_an_agent_that_another_one_asks_remembers_the_thread_that_both_share(
    agents: Agents, upstream: Upstream, model: Model, transfer: bool
):
    keeper = agent_of(agents, memory=True, type="chatbot")
    say(agents, router(agents, keeper, thread="shared", transfer=transfer), "My name is Ada", "t1")
    until(lambda: memories(agents, keeper) == {"t1": "My name is Ada"})
    say(agents, keeper, "who am I?", "t1")
    assert "<memory>\nMy name is Ada\n</memory>" in told(upstream, "who am I?")
    assert not [asked for asked in upstream.asked if "You name conversations" in words(asked, "system")]

    def turns() -> list[Any]:
        rows = agents.serving.ask("GET", "/v1/admin/metrics?bucket=raw&limit=1000").json["data"]
        return [row for row in rows if row["agent_id"] == keeper]

    assert len(until(turns)) == 1  # its own: the other is part of the turn that has called it


def test_an_agent_that_is_asked_on_a_thread_of_its_own_remembers_nothing_of_it(
    agents: Agents, upstream: Upstream, model: Model
):
    keeper = agent_of(agents, memory=True)
    say(agents, router(agents, keeper), "My name is Ada", "t1")
    say(agents, keeper, "My name is Cy", "t1")
    until(lambda: memories(agents, keeper) == {"t1": "My name is Cy"})
    assert len([asked for asked in upstream.asked if about_memory(asked)]) == 1


def test_a_model_that_cannot_say_what_to_remember_is_asked_again(agents: Agents, upstream: Upstream, model: Model):
    model.failures = 1
    agent = agent_of(agents, memory=True)
    say(agents, agent, "My name is Fay", "t1")
    until(lambda: memories(agents, agent) == {"t1": "My name is Fay"})
    assert len([asked for asked in upstream.asked if about_memory(asked)]) == 2


@pytest.mark.parametrize("stop", ["length", "content_filter"])
def test_an_answer_that_was_cut_replaces_no_memory_and_is_no_title_or_suggestion(
    agents: Agents, upstream: Upstream, model: Model, stop: str
):
    settings = {"titles": True, "suggestions": True}
    agent = agent_of(agents, type="chatbot", memory=True, settings=settings)
    path = f"/v1/admin/agents/{agent}/memories"
    assert agents.serving.ask("PUT", path, {"thread_id": "t1", "text": "Allergic to nuts."}).status == 200
    model.stop, model.titles, model.suggestions = stop, said("Ada has", stop), said("Does she ha", stop)
    assert not say(agents, agent, "My name is Ada", "t1")["data"].get("suggestions")
    until(lambda: [one for one in upstream.asked if about_memory(one)])
    until(lambda: [one for one in upstream.asked if "You name" in words(one, "system")])
    model.stop = "stop"
    assert say(agents, agent, "My dog is Rex", "t1")["data"]["title"] == "My name is Ada"
    until(lambda: memories(agents, agent) == {"t1": "My dog is Rex"})
    [_, then] = [words(one, "user") for one in upstream.asked if about_memory(one)]
    assert "Memory so far:\nAllergic to nuts." in then


def test_a_chatbots_new_conversation_gets_a_title_once(agents: Agents, upstream: Upstream, model: Model):
    agent = agent_of(agents, type="chatbot")
    assert say(agents, agent, "I have a dog", "t1")["data"]["title"] == "I have a dog"
    until(lambda: say(agents, agent, "more", "t1")["data"]["title"] == "Ada's dog")
    say(agents, agent, "and more", "t1")
    assert len([asked for asked in upstream.asked if "You name" in words(asked, "system")]) == 1


def test_other_agents_name_conversations_where_they_shall(agents: Agents, upstream: Upstream, model: Model):
    say(agents, agent_of(agents), "hello", "t1")
    say(agents, agent_of(agents, type="chatbot", settings={"titles": False}), "hello", "t1")
    agent = agent_of(agents, settings={"titles": True})
    say(agents, agent, "I have a dog", "t1")
    until(lambda: say(agents, agent, "more", "t1")["data"]["title"] == "Ada's dog")
    assert len([asked for asked in upstream.asked if "You name" in words(asked, "system")]) == 1


def test_a_chatbot_may_suggest_what_comes_next_and_answers_without_when_it_cannot(agents: Agents, model: Model):
    agent = agent_of(agents, type="chatbot", settings={"suggestions": True, "titles": False})
    reply = say(agents, agent, "I have a dog", "t1")
    assert reply["data"]["suggestions"] == ["How old?", "Which breed?"]
    assert reply["usage"]["input_tokens"] == 18  # both calls are the turn's
    model.suggestions = whole({"error": {"message": "not today"}}, 400)
    reply = say(agents, agent, "It is old", "t1")
    assert (reply["data"]["content"], reply["data"].get("suggestions", [])) == ("ok", [])
    quiet = agent_of(agents, type="chatbot", settings={"titles": False})
    assert not say(agents, quiet, "I have a dog", "t1")["data"].get("suggestions")


def test_a_fact_of_turn_one_is_known_at_turn_twenty_with_history_cut_by_org_agent_and_thread(
    agents: Agents, upstream: Upstream, model: Model
):
    """Through the conversations of version 1, whose thread is the conversation."""
    agent = agent_of(agents, memory=True, settings={"history_messages": 2})
    conversation = agents.say(agent, "My name is Ada").json["conversationId"]
    until(lambda: [*memories(agents, agent).values()] == ["My name is Ada"])
    for number in range(2, 20):
        assert agents.say(agent, f"turn {number}", conversationId=conversation).status == 200
    assert agents.say(agent, "who am I, at turn 20?", conversationId=conversation).status == 200
    [asked] = [one for one in upstream.asked if words(one, "user").endswith("who am I, at turn 20?")][-1:]
    assert "My name is Ada" in words(asked, "system")
    assert "My name is Ada" not in words(asked, "user")
    assert len(asked.json["messages"]) == 4  # the system's, the last turn's two, the question
    org = agents.serving.ask("POST", "/v1/admin/orgs", {"name": "others"}).json["id"]
    theirs = agents.serving.ask("POST", "/v1/admin/keys", {"name": "k", "org_id": org}).json["key"]
    other = agents.post(
        "/v1/admin/agents",
        {"org_id": org, "name": "theirs", "slug": "theirs", "service": "up", "configuration": {"model": "m"},
         "memory": True},
    )  # fmt: skip
    agents.post(f"/v1/admin/agents/{other['id']}/publish?org_id={org}", {"version_id": other["version_id"]})
    thread = next(iter(memories(agents, agent)))
    asked_there = {"agent_id": "theirs", "user": "and there, in a thread of that name?", "thread_id": thread}
    assert agents.serving.ask("POST", "/api/v2/model/chat/completion", asked_there, key=theirs).status == 200
    assert "Ada" not in told(upstream, "and there, in a thread of that name?")


def test_what_a_guardrail_has_blocked_is_told_to_no_model_by_no_later_turn_memory_or_title(
    agents: Agents, upstream: Upstream, model: Model
):
    rails = {"input": {"patterns": ["bomb"]}, "output": {"patterns": ["^ok$"]}, "message": "Not that."}
    agent = agent_of(agents, type="chatbot", memory=True, settings={"guardrails": rails})
    assert say(agents, agent, "My bomb is here", "t1")["data"]["blocked"] == "it matches bomb"
    document = agents.post("/v1/admin/documents", {"name": "d", "text": "one two"})["id"]
    conversation = agents.serving.ask("GET", f"/api/v1/conversation/chat-history?agentId={agent}").json["data"][0]["id"]
    body = {"agentId": agent, "message": "bomb", "stream": False, "documentIds": [document]}
    model.thinks = 1.5
    with ThreadPoolExecutor() as pool:
        # What the model said is blocked, not what it was asked.
        dog = pool.submit(say, agents, agent, "My dog is Rex", "t1")
        until(lambda: any(words(one, "user").endswith("My dog is Rex") for one in upstream.asked))
        path = "/api/v1/conversation"
        failed = pool.submit(agents.serving.ask, "POST", path, {**body, "conversationId": conversation})
        time.sleep(0.4)
        assert agents.serving.ask("DELETE", f"/v1/admin/documents/{document}").status == 200
        assert dog.result()["data"]["content"] == "Not that."
        assert failed.result().status == 404  # when its turn came, before anything was checked
    model.thinks = 0.0
    open_rails = {"input": rails["input"]}
    assert say(agents, agent, "My cat is Tom", "t1", guardrails=open_rails)["data"]["content"] == "ok"
    [asked] = [one for one in upstream.asked if one.json["messages"][-1]["content"] == "My cat is Tom"]
    assert [one["content"] for one in asked.json["messages"][1:]] == ["My dog is Rex", "Not that.", "My cat is Tom"]
    until(lambda: memories(agents, agent))
    assert "bomb" not in memories(agents, agent)["t1"]
    on_v1 = {"model": "up/m", "messages": [{"role": "user", "content": "And?"}]}
    on_v1["conversation"] = from_uuid("conv_", conversation)
    assert agents.serving.ask("POST", "/v1/chat/completions", on_v1).status == 200
    [asked] = [one for one in upstream.asked if one.json["messages"][-1]["content"] == "And?"]
    assert words(asked, "user") == "My dog is Rex\nMy cat is Tom\nAnd?"
    assert [one for one in upstream.asked if b"bomb" in one.body] == []
    kept = agents.serving.ask("GET", f"/api/v1/conversation/{conversation}").json["messages"]
    before = ["My bomb is here", "Not that.", "My dog is Rex", "Not that.", "bomb", ""]
    assert [one["text"] for one in kept[:6]] == before
