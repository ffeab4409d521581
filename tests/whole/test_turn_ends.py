"""What an agent's turn says it came to, where that is not the plain way: another model, another agent, no answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .serving import Reply, Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

ASK = "/api/v2/model/chat/completion"
TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
prices = {{ "*" = {{ input = "1", output = "1" }} }}
[providers.tired]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.spare]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.away]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
[providers.usual]
kind = "openai"
api_key = "sk-usual"
base_url = "{url}/v1"
"""
#: Tokens of one model call.
SPENT = 12


class Model:
    """Says `text`, or what it was asked. calls: what it asks for in its first rounds. refuses: the statuses of its next
    answers. stop: why the others end."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: list[dict[str, Any]] = []
        self.refuses: list[int] = []
        self.stop = "stop"

    def __call__(self, asked: Asked) -> Said:
        if asked.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
            return whole({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 1}})
        if asked.json["model"] == "slow":
            return Said((3.0, b"{}"))
        if asked.json["model"] == "failing" and asked.json["messages"][-1]["role"] == "tool":
            return whole({"error": {"message": "no more"}}, 400)
        if asked.json["model"] == "x" and self.refuses:
            return whole({"error": {"message": "not now"}}, self.refuses.pop(0))
        messages = asked.json["messages"]
        message: dict[str, Any] = {"role": "assistant", "content": self.text or messages[-1]["content"]}
        rounds = sum(one["role"] == "assistant" for one in messages)
        wanted = [called("look", city="Oslo")] if asked.json["model"] == "failing" else self.calls
        if asked.json.get("tools") and rounds < len(wanted):
            function = {
                **wanted[rounds],
                "arguments": msgspec.json.encode(wanted[rounds]["arguments"]).decode(),
            }
            message = {
                "role": "assistant", "content": None,
                "tool_calls": [{"id": f"c{rounds}", "type": "function", "function": function}],
            }  # fmt: skip
        stop = "tool_calls" if "tool_calls" in message else self.stop
        choice = {"index": 0, "message": message, "finish_reason": stop}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": SPENT}
        return whole({"id": "c", "object": "chat.completion", "created": 1, "model": asked.json["model"],
                      "choices": [choice], "usage": usage})  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def upstream(model: Model) -> Iterator[Upstream]:
    with Upstream(model) as running:
        yield running


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("ends"), TOML.format(port=tools.port, url=upstream.url)) as serving:
        yield Agents(serving)


@pytest.fixture(autouse=True)
def forgotten(upstream: Upstream, tools: ToolServer, model: Model) -> None:
    upstream.asked.clear()
    tools.calls.clear()
    model.__init__()  # type: ignore[misc]


def up(agents: Agents, **more: Any) -> str:
    return agents.agent(service="up", configuration={"model": "x", **more.pop("configuration", {})}, **more)


def asked(agents: Agents, agent: str, **more: Any) -> Reply:
    return agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "Hello.", **more})


def called(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


# another model


def test_another_model_has_answered_only_when_one_has(agents: Agents, model: Model):
    agent = agents.agent(
        service="tired", configuration={"model": "x"}, settings={"fall_back": {"service": "spare", "model": "y"}}
    )
    model.refuses = [503]
    data = asked(agents, agent).json["data"]
    assert (data["model"], data["fallback"], data["firstAttemptError"]) == ("x", False, "")  # it was asked once more
    model.refuses = [403]
    data = asked(agents, agent).json["data"]
    assert (data["model"], data["fallback"], data["firstAttemptError"]) == ("y", True, "not now")


@pytest.mark.parametrize("where", ["request", "settings", "configuration"])
def test_where_falling_back_is_switched_off_the_usual_model_does_not_answer(
    agents: Agents, model: Model, upstream: Upstream, where: str
):
    off = {"fall_back": {"is_enable": False}}
    more = {"settings": off} if where == "settings" else {}
    configuration = {"model": "x", **(off if where == "configuration" else {})}
    agent = agents.agent(service="usual", configuration=configuration, **more)
    model.refuses = [500] * 9
    reply = asked(agents, agent, **({"configuration": off} if where == "request" else {}))
    assert reply.json["success"] is False
    assert "gpt-4o" not in {one.json["model"] for one in upstream.asked}
    on = {"fall_back": {"is_enable": True}}
    model.refuses = [500] * 9
    data = asked(agents, agent, configuration=on).json["data"]
    assert (data["model"], data["fallback"]) == ("gpt-4o", True)


@pytest.mark.parametrize(
    "named, field",
    [
        ({"service": "nobody", "model": "y"}, "service"),
        ({"service": "usual", "model": "claude-sonnet-4-5"}, "model"),
        ({"service": "usual", "model": "ft:gpt-4o:theirs"}, "model"),
        ({"service": 5, "model": "y"}, "service"),
    ],
)
def test_a_fallback_of_the_request_that_could_never_answer_is_refused_and_nobody_is_asked(
    agents: Agents, upstream: Upstream, named: dict[str, Any], field: str
):
    if str(named["model"]).startswith("ft:"):
        org = agents.post("/v1/admin/orgs", {"name": "theirs"})["id"]
        own = {"name": "theirs", "service": "usual", "model": named["model"], "org_id": org}
        agents.post("/v1/admin/models", own)
    agent, other = (agents.agent(service="usual", configuration={"model": "x"}) for _ in range(2))
    refused = asked(agents, agent, configuration={"fall_back": named})
    assert (refused.status, refused.json["code"]) == (400, "configuration_invalid")
    assert refused.json["param"] == f"configuration.fall_back.{field}"
    assert upstream.asked == []
    # nor is a version published that says so
    draft = agents.post(f"/v1/admin/agents/{other}/versions", {"configuration": {"fall_back": named}})
    told = agents.serving.ask("POST", f"/v1/admin/agents/{other}/publish", {"version_id": draft["id"]})
    assert [one["path"] for one in told.json["problems"]] == [f"configuration.fall_back.{field}"]


def test_a_fallback_without_a_key_is_left_out(agents: Agents, upstream: Upstream):
    agent = up(agents)
    named = {"fall_back": {"service": "groq", "model": "llama-3.3-70b"}}
    assert asked(agents, agent, configuration=named).json["data"]["content"] == "Hello."


def test_a_model_that_was_not_even_asked_has_not_answered(agents: Agents):
    agent = agents.agent(
        service="away", configuration={"model": "x"}, settings={"fall_back": {"service": "spare", "model": "y"}}
    )
    for _ in range(8):  # until it is left alone for a while
        data = asked(agents, agent).json["data"]
        assert (data["model"], data["fallback"]) == ("y", True)
        assert data["firstAttemptError"]
    assert data["firstAttemptError"] == "away/x was not asked: it is failing or over its limit"


def test_of_several_answers_one_would_be_told_so_one_is_asked_for(agents: Agents, upstream: Upstream):
    agent = agents.agent(service="usual", configuration={"model": "x", "response_count": "max"})
    data = asked(agents, agent).json["data"]
    assert (data["content"], data["dropped_parameters"]) == ("Hello.", ["response_count"])
    assert asked(agents, agent, configuration={"response_count": 1}).json["data"]["dropped_parameters"] == []
    assert [one.json.get("n") for one in upstream.asked] == [None, 1]


@pytest.mark.parametrize(("stop", "why"), [("length", "max_tokens"), ("content_filter", "content filter")])
def test_json_that_was_ended_early_is_told_as_that_and_asked_for_once(
    agents: Agents, model: Model, upstream: Upstream, stop: str, why: str
):
    model.text, model.stop = '{"n": ', stop
    reply = asked(agents, up(agents), response_type="json")
    assert (reply.status, reply.json["code"]) == (502, "response_invalid")
    assert why in reply.json["error"]
    assert len(upstream.asked) == 1


def test_a_turn_that_fails_is_counted_as_the_model_that_was_asked_first(agents: Agents, model: Model):
    agent = agents.agent(
        service="away", configuration={"model": "z"}, settings={"fall_back": {"service": "spare", "model": "x"}}
    )
    assert asked(agents, agent, configuration={"fall_back": {"is_enable": False}}).status == 502
    for _ in range(8):  # until the first is left alone for a while
        assert asked(agents, agent).json["success"] is True
    model.refuses = [400]
    assert asked(agents, agent).status == 400

    def counted() -> list[dict[str, Any]]:
        return list(agents.serving.ask("GET", f"/v1/admin/metrics?bucket=raw&agent_id={agent}").json["data"])

    until(lambda: len(counted()) == 10)
    ends = [(row["service"], row["model"], row["success"], row["attempts"]) for row in counted()]
    assert sorted(one for one in ends if not one[2]) == [("away", "z", False, 3), ("spare", "x", False, 1)]


# another agent


def test_the_answer_of_the_agent_that_goes_on_is_the_turns_own(agents: Agents, model: Model):
    other = agents.agent()
    connected = {"other": {"agent_id": other, "description": "goes on", "transfer": True}}
    agent = up(agents, connected_agents=connected)
    model.calls = [called("other", message="say 2 words")]
    data = asked(agents, agent).json["data"]
    assert (data["content"], data["finish_reason"]) == ("word1 word2", "stop")
    told = [*agents.events(ASK, {"agent_id": agent, "user": "Hello.", "stream": True})]
    assert [name for name, _ in told] == ["tool_call", "tool_result", "delta", "done"]
    assert told[2][1] == {"content": "word1 word2"}
    told = [*agents.events("/api/v1/conversation", {"agentId": agent, "message": "Hello."})]
    assert ("text", {"delta": "word1 word2"}) in told
    assert told[-1][1]["finishReason"] == "stop"


def test_the_answer_of_the_agent_that_goes_on_has_to_pass_the_first_ones_guardrails(agents: Agents, model: Model):
    connected = {"other": {"agent_id": agents.agent(), "description": "goes on", "transfer": True}}
    rails = {"output": {"patterns": ["rehearsal"]}, "message": "Not that."}
    agent = up(agents, connected_agents=connected, settings={"guardrails": rails})
    model.calls = [called("other", message="Go on.")]
    reply = asked(agents, agent)
    data = reply.json["data"]
    assert (data["content"], data["finish_reason"]) == ("Not that.", "content_filter")
    assert data["blocked"] == "it matches rehearsal"
    assert "This is" not in reply.body.decode()
    told = [*agents.events(ASK, {"agent_id": agent, "user": "Hello.", "stream": True})]
    assert [name for name, _ in told] == ["tool_call", "tool_result", "delta", "done"]
    assert "This is" not in str(told)
    model.calls = [called("other", message="say 2 words")]
    assert asked(agents, agent).json["data"]["content"] == "word1 word2"


def test_the_answer_of_the_agent_that_goes_on_has_the_form_that_was_asked_for(
    agents: Agents, upstream: Upstream, model: Model
):
    other = agents.agent()
    connected = {"other": {"agent_id": other, "description": "goes on", "transfer": True}}
    agent = up(agents, connected_agents=connected)
    model.calls, model.text = [called("other", message="say 2 words")], '{"n": 1}'
    data = asked(agents, agent, response_type="json").json["data"]
    assert (data["content"], data["value"]) == ('{"n": 1}', {"n": 1})
    said = [one["content"] for one in upstream.asked[-1].json["messages"]]
    assert said[-2] == "word1 word2"
    assert said[-1].startswith("Your answer does not have the form that is needed")
    model.text = "No."
    refused = asked(agents, agent, response_type="json")
    assert (refused.status, refused.json["code"]) == (502, "response_invalid")
    formed = agents.agent(configuration={"response_type": "json"})
    agent = up(agents, connected_agents={"other": {**connected["other"], "agent_id": formed}})
    before = len(upstream.asked)
    assert isinstance(asked(agents, agent, response_type="json").json["data"]["value"], dict)
    assert len(upstream.asked) == before + 1  # it had the form


def attempts_lately(agents: Agents) -> list[dict[str, Any]]:
    """By the newest turn and by all that it has called."""
    runs = agents.serving.ask("GET", "/v1/admin/runs?limit=50").json["data"]
    top = next(run["id"] for run in runs if run["face"] == "completion_v2")
    ids = {run["id"] for run in runs if top in (run["id"], run["request_id"])}
    return [row for row in agents.serving.attempts() if row["run_id"] in ids]


def tokens_of(rows: list[dict[str, Any]]) -> int:
    return sum(row["usage"]["input_tokens"] + row["usage"]["output_tokens"] for row in rows)


def spent_lately(agents: Agents) -> tuple[int, Decimal]:
    """The same: tokens, USD."""
    rows = attempts_lately(agents)
    return tokens_of(rows), sum((Decimal(row["cost"]) for row in rows), Decimal(0))


def test_what_an_agent_has_spent_that_failed_counts_as_that_of_one_that_did_not(
    agents: Agents, tools: ToolServer, model: Model
):
    look = agents.tool("look", f"{tools.url}/echo/look")
    failing = up(agents, configuration={"model": "failing"}, tool_ids=[look])
    connected = {"other": {"agent_id": failing, "description": "fails"}}
    agent = up(agents, connected_agents=connected, settings={"tokens": SPENT + 1})
    # The agent asks the other one, which looks, and fails when it is asked about what it has seen.
    model.calls = [called("other", message="go on")] * 3
    reply = asked(agents, agent).json
    assert [step["status"] for step in reply["data"]["tools_data"].values()] == [
        "failed"
    ]  # then the ceiling is reached
    assert reply["usage"]["total_tokens"] == 3 * SPENT
    assert (reply["usage"]["total_tokens"], Decimal(reply["usage"]["cost"])) == spent_lately(agents)
    until(lambda: metered(agents, agent))
    assert metered(agents, agent) == 3 * SPENT


def test_what_an_agent_has_spent_that_was_stopped_counts_as_well(agents: Agents, model: Model):
    slow = up(agents, configuration={"model": "slow"})
    tool = agents.post(
        "/v1/admin/tools",
        {"name": "ask_slow", "kind": "agent", "agent": {"agent_id": slow}, "timeout_seconds": 0.3},
    )["id"]
    model.calls = [called("ask_slow", message="go on, and take your time about it")]
    agent = up(agents, tool_ids=[tool])
    reply = asked(agents, agent).json
    assert [step["status"] for step in reply["data"]["tools_data"].values()] == ["timeout"]
    tokens, cost = spent_lately(agents)
    assert tokens > 2 * SPENT
    assert (reply["usage"]["total_tokens"], Decimal(reply["usage"]["cost"])) == (tokens, cost)


@pytest.mark.parametrize("how", ["too late", "left"])
def test_the_attempts_of_an_agent_that_was_stopped_count_where_its_tokens_do(agents: Agents, model: Model, how: str):
    slow = up(agents, configuration={"model": "slow"})
    seconds = 0.3 if how == "too late" else 9.0
    name = f"ask_slow_{how.replace(' ', '_')}"
    made = {"name": name, "kind": "agent", "agent": {"agent_id": slow}, "timeout_seconds": seconds}
    agent = up(agents, tool_ids=[agents.post("/v1/admin/tools", made)["id"]])
    model.calls = [called(name, message="go on")]
    if how == "too late":
        assert asked(agents, agent).status == 200
    else:
        told = agents.events(ASK, {"agent_id": agent, "user": "Hello.", "stream": True})
        assert next(told)[0] == "tool_call"
        time.sleep(0.3)
        told.close()

    [row] = until(lambda: raw_of(agents, agent))
    assert row["attempts"] == len(attempts_lately(agents)) == (3 if how == "too late" else 2)
    assert (row["input_tokens"] + row["output_tokens"], Decimal(row["cost"])) == spent_lately(agents)


@pytest.mark.parametrize("how", ["goes on", "is over"])
def test_a_turn_whose_server_was_killed_counts_the_attempts_of_agents_that_it_had_called(
    agents: Agents, model: Model, upstream: Upstream, how: str
):
    slow = up(agents, configuration={"model": "slow"})
    agent = up(agents, connected_agents={"other": {"agent_id": slow, "description": "takes its time"}})
    model.calls = [called("other", message="go on")]
    later = {"response_format": {"type": "queue", "cred": {"name": "after-a-kill"}}} if how == "goes on" else {}
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(asked, agents, agent, **later)
        until(lambda: [one.json["model"] for one in upstream.asked] == ["x", "slow"])
        agents.serving.kill()
        agents.serving.start()
        assert (asking.exception() is None) == (how == "goes on")
    [row] = until(lambda: raw_of(agents, agent), 30)
    attempts = attempts_lately(agents)
    assert row["success"] is (how == "goes on")
    assert "unknown" in {one["status"] for one in attempts}
    assert len(attempts) > 1
    assert (row["attempts"], row["input_tokens"] + row["output_tokens"]) == (len(attempts), tokens_of(attempts))
    assert Decimal(row["cost"]) == spent_lately(agents)[1]


def raw_of(agents: Agents, agent: str) -> list[dict[str, Any]]:
    return list(agents.serving.ask("GET", f"/v1/admin/metrics?bucket=raw&agent_id={agent}").json["data"])


def metered(agents: Agents, agent: str) -> int:
    rows = agents.serving.ask("GET", "/v1/admin/metrics?group_by=agent").json["data"]
    return next((row["total_tokens"] for row in rows if row["group"] == agent), 0)


# tools


def test_what_a_model_says_of_a_mapped_argument_is_nowhere(agents: Agents, tools: ToolServer, model: Model):
    tool = agents.tool("pay", f"{tools.url}/echo/pay", properties={"city": {}, "account": {}}, mapped={"account": "me"})
    model.calls = [called("pay", city="Oslo", account="another's")]
    data = asked(agents, up(agents, tool_ids=[tool]), variables={"me": "mine"}).json["data"]
    assert tools.calls[0]["body"] == {"city": "Oslo", "account": "mine"}
    assert [step["arguments"] for step in data["tools_data"].values()] == [{"city": "Oslo"}]


def test_pre_tools_build_on_each_other_on_defaults_and_on_mapped_arguments(agents: Agents, tools: ToolServer):
    properties = {"city": {"type": "string"}, "account": {"type": "string"}}
    first = agents.tool("first", f"{tools.url}/echo/first", properties=properties)
    second = agents.tool("second", f"{tools.url}/echo/second")
    agent = up(
        agents,
        configuration={"prompt": "{{second.got.city}}"},
        variables_state={"account": {"default": "a-1"}, "where": {"default": "Oslo"}},
        variables_path={"first": {"account": "account"}},
        pre_tools=[
            {"tool_id": first, "args": {"city": "{{where}}"}},
            {"tool_id": second, "args": {"city": "{{first.got.city}} {{first.got.account}} {{nowhere.at.all}}"}},
        ],
    )
    reply = asked(agents, agent)
    assert [call["body"] for call in tools.calls] == [
        {"city": "Oslo", "account": "a-1"}, {"city": "Oslo a-1 {{nowhere.at.all}}"},
    ]  # fmt: skip
    assert reply.json["data"]["missing_variables"] == ["nowhere.at.all"]


# no answer


@pytest.mark.parametrize("type", ["embedding", "chat"])
def test_a_vector_is_given_in_one_piece_though_a_stream_was_asked_for(agents: Agents, type: str):
    agent = agents.agent(type=type, service="up", configuration={"model": "e"})
    configuration = {"type": "embedding"}
    reply = asked(agents, agent, stream=True, configuration=configuration)
    assert reply.json["data"]["embedding"] == [0.5, -1.0]
    if type == "embedding":
        reply = agents.serving.ask("POST", "/api/v1/conversation", {"agentId": agent, "message": "Hello."})
        assert reply.json["embeddings"] == [[0.5, -1.0]]


# what no caller reads


def test_a_key_that_may_only_chat_has_no_secret_sent_where_it_says(agents: Agents, tools: ToolServer, model: Model):
    agents.post("/v1/admin/secrets", {"name": "S1", "value": "hush-hush"})
    headers = {"x-kept": "{{secret:S1}}", "authorization": "Bearer own-hush"}
    stored = agents.tool("stored", f"{tools.url}/echo/stored", http={"headers": headers})
    key = agents.post("/v1/admin/keys", {"name": "chat", "scopes": ["chat"]})["key"]
    asks = {"user": "Use it.", "service": "up", "model": "x"}

    def leak(named: str) -> Reply:
        mine = {"name": "leak", "url": f"{tools.url}/echo/leak", "headers": {"x-leak": named}}
        return agents.serving.ask("POST", ASK, {**asks, "extra_tools": [mine]}, key=key)

    model.calls = [called("leak")]
    for name in ("S1", f"{stored}.authorization"):
        refused = leak(f"{{{{secret:{name}}}}}")
        assert (refused.status, refused.json["param"]) == (400, "extra_tools[0].headers.x-leak")
    assert tools.calls == []
    assert leak("mine").status == 200
    assert [call["headers"]["x-leak"] for call in tools.calls] == ["mine"]
    model.calls = [called("stored", city="Oslo")]  # what an admin has stored is sent where the admin says
    assert agents.serving.ask("POST", ASK, {**asks, "tools": ["stored"]}, key=key).status == 200
    assert tools.calls[-1]["headers"]["x-kept"] == "hush-hush"
    assert tools.calls[-1]["headers"]["authorization"] == "Bearer own-hush"
