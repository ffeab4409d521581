"""Everything that sums what was used, by every group that it knows, against a count by hand: two orgs, agents that call
tools and each other, another model's answer, failures, a turn without an agent, and a call that is no turn."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest

from midstream.store.metrics import MetricsGroup
from midstream.store.reading import UsageGroup

from ..postgres import private_postgres
from .serving import ADMIN_KEY, Reply, Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
prices = {{ "*" = {{ input = "1", cached = "0.5", output = "2", reasoning = "2" }} }}
[providers.tired]
kind = "openai_compatible"
base_url = "{url}/v1"
prices = {{ "*" = {{ input = "1", output = "2" }} }}
"""
ORG = "org_default"
ASK = "/api/v2/model/chat/completion"
#: Of one answer, by hand: input (cached ones included), output (reasoning included), cached, reasoning, USD.
IN, OUT, CACHED, REASONED, COST = 9, 3, 4, 1, Decimal("0.000013")


def answered(asked: Asked) -> Said:
    """Refuses as "broken" and "failing"; calls the tool that the user has named, once, else says ok."""
    model, messages = asked.json["model"], asked.json["messages"]
    if model in ("broken", "failing"):
        return whole({"error": {"message": "no"}}, 403 if model == "broken" else 400)
    message: dict[str, Any] = {"role": "assistant", "content": "ok"}
    if messages[-1]["role"] == "user" and (name := str(messages[-1]["content"]).removeprefix("call ")) in TOOLS:
        arguments = msgspec.json.encode({TOOLS[name]: "Oslo"}).decode()
        call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    stop = "tool_calls" if "tool_calls" in message else "stop"
    usage = {
        "prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT,
        "prompt_tokens_details": {"cached_tokens": CACHED}, "completion_tokens_details": {"reasoning_tokens": REASONED},
    }  # fmt: skip
    choice = {"index": 0, "message": message, "finish_reason": stop}
    return whole({"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
                  "usage": usage})  # fmt: skip


#: By name: the argument that it takes.
TOOLS = {"look": "city", "helper": "message"}


@dataclass
class Call:
    """One model call, by hand. answers: 1, or 0 when it was refused."""

    org: str
    key: str
    agent: str | None
    provider: str
    model: str
    answers: int = 1


@dataclass
class Turn:
    """One turn of an agent, by hand, with all calls that were made for it."""

    agent: str | None
    version: str | None
    thread: str | None
    service: str
    model: str
    calls: list[Call]
    success: bool = True


class Orgs:
    """What is asked of a server by two orgs, and what that comes to by hand."""

    def __init__(self, serving: Serving, tools: ToolServer) -> None:
        self.serving = serving
        self.calls: list[Call] = []
        self.turns: list[Turn] = []
        ours = self.post("/v1/admin/keys", {"name": "ours"})
        self.other = self.post("/v1/admin/orgs", {"name": "other"})["id"]
        theirs = self.post("/v1/admin/keys", {"name": "theirs", "org_id": self.other})
        self.keys = {ORG: (ours["id"], ours["key"]), self.other: (theirs["id"], theirs["key"])}
        self.reader = self.post("/v1/admin/keys", {"name": "r", "org_id": self.other, "scopes": ["read"]})["key"]
        look = self.post(
            "/v1/admin/tools",
            {"name": "look", "description": "looks", "kind": "http", "http": {"method": "POST", "url": tools.url},
             "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
        )["id"]  # fmt: skip
        self.helper, _ = self.agent("helper", model="y")
        connected = {"helper": {"agent_id": self.helper, "description": "helps"}}
        self.main, self.version = self.agent("main", tool_ids=[look], connected_agents=connected)
        fall_back = {"fall_back": {"service": "up", "model": "z"}}
        self.falling, self.falls = self.agent("falling", service="tired", model="broken", settings=fall_back)
        self.theirs, self.their_version = self.agent("theirs", org=self.other)

    def post(self, path: str, body: Any) -> Any:
        reply = self.serving.ask("POST", path, body)
        assert reply.status in (200, 201), reply.body
        return reply.json

    def agent(self, name: str, org: str = ORG, service: str = "up", model: str = "x", **more: Any) -> tuple[str, str]:
        body = {"org_id": org, "name": name, "slug": name, "service": service, "configuration": {"model": model}}
        made = self.post("/v1/admin/agents", body | more)
        self.post(f"/v1/admin/agents/{made['id']}/publish?org_id={org}", {"version_id": made["version_id"]})
        return made["id"], made["version_id"]

    def say(self, agent: str, text: str, thread: str, org: str = ORG, path: str = ASK, **more: Any) -> Reply:
        body = {"agent_id": agent, "user": text, "thread_id": thread, **more}
        return self.serving.ask("POST", path, body, key=self.keys[org][1])

    def call(self, agent: str | None, model: str = "x", org: str = ORG, provider: str = "up", answers: int = 1) -> Call:
        made = Call(org, self.keys[org][0], agent, provider, model, answers)
        self.calls.append(made)
        return made

    def work(self) -> None:
        """Every way in which a call is counted, with the count of it."""
        main, call = self.main, self.call
        assert self.say(main, "hello", "t1").status == 200
        self.turns.append(Turn(main, self.version, "t1", "up", "x", [call(main)]))
        assert self.say(main, "call look", "t1").status == 200
        self.turns.append(Turn(main, self.version, "t1", "up", "x", [call(main), call(main)]))
        assert self.say(main, "call helper", "t2").status == 200
        with_helper = [call(main), call(self.helper, "y"), call(main)]
        self.turns.append(Turn(main, self.version, "t2", "up", "x", with_helper))
        assert self.say(self.falling, "hello", "t2").json["data"]["fallback"] is True
        fell = [call(self.falling, "broken", provider="tired", answers=0), call(self.falling, "z")]
        self.turns.append(Turn(self.falling, self.falls, "t2", "up", "z", fell))
        assert self.say(self.theirs, "hello", "t1", self.other).status == 200
        theirs = [call(self.theirs, org=self.other)]
        self.turns.append(Turn(self.theirs, self.their_version, "t1", "up", "x", theirs))
        failing = {"configuration": {"model": "failing"}}
        assert self.say(self.theirs, "hello", "t3", self.other, **failing).status >= 400
        failed = [call(self.theirs, "failing", self.other, answers=0)]
        self.turns.append(Turn(self.theirs, self.their_version, "t3", "up", "failing", failed, success=False))
        said = {"model": "up/x", "messages": [{"role": "user", "content": "hello"}], "stream": False}
        key = self.keys[ORG][1]
        assert self.serving.ask("POST", "/api/v1/agent/run", said, key=key).status == 200
        self.turns.append(Turn(None, None, None, "up", "x", [call(None)]))
        assert self.serving.ask("POST", "/v1/chat/completions", said, key=key).status == 200
        call(None)  # no turn
        play = f"/api/v2/model/playground/chat/completion/{main}"
        assert self.serving.ask("POST", play, {"user": "hello"}, key=key).status == 200
        call(main)  # no turn that counts

    def counted(self) -> list[dict[str, Any]]:
        """The turns as the server has them, once it has all of them."""

        def rows() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = self.serving.ask("GET", "/v1/admin/metrics?bucket=raw").json["data"]
            return found

        until(lambda: len(rows()) == len(self.turns))
        return rows()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def orgs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orgs]:
    with ExitStack() as stack:
        upstream, tools = stack.enter_context(Upstream(answered)), stack.enter_context(ToolServer())
        on_postgres = request.param == "postgres"
        environ = {"MIDSTREAM_DATABASE_URL": stack.enter_context(private_postgres()).create()} if on_postgres else {}
        toml = TOML.format(port=tools.port, url=upstream.url)
        serving = stack.enter_context(Serving(tmp_path_factory.mktemp("sums"), toml, **environ))
        made = Orgs(serving, tools)
        made.work()
        made.counted()
        yield made


def sums(calls: list[Call]) -> tuple[int, int, int, int, int, Decimal]:
    answers = sum(call.answers for call in calls)
    return len(calls), answers * IN, answers * OUT, answers * CACHED, answers * REASONED, answers * COST


def shown(row: dict[str, Any]) -> tuple[int, int, int, int, int, Decimal]:
    names = ("attempts", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    attempts, given, said, cached, reasoned = (row[name] for name in names)
    return attempts, given, said, cached, reasoned, Decimal(row["cost"])


def together(rows: list[tuple[Any, ...]]) -> list[Any]:
    return [sum(column) for column in zip(*rows, strict=True)]


def by(rows: list[Any], group: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(group(row), []).append(row)
    return found


def test_usage_by_every_group_is_what_a_count_by_hand_gives(orgs: Orgs):
    began = [datetime.datetime.fromtimestamp(row["started_at"], datetime.UTC) for row in orgs.serving.attempts()]
    made = list(zip(orgs.calls, began, strict=True))
    for key, org in ((ADMIN_KEY, None), (orgs.reader, orgs.other)):
        calls = [(call, at) for call, at in made if org in (None, call.org)]
        for group in get_args(UsageGroup):
            rows = orgs.serving.ask("GET", f"/v1/admin/usage?group_by={group}", key=key).json["data"]
            hand = by(
                calls, lambda one, group=group: f"{one[1]:%Y-%m-%d}" if group == "day" else getattr(one[0], group)
            )
            assert len(rows) == len(hand), group
            assert {row["group"]: shown(row) for row in rows} == {
                one: sums([call for call, _ in hand[one]]) for one in hand
            }, group


def test_metrics_by_every_group_and_bucket_are_what_a_count_by_hand_gives(orgs: Orgs):
    began = [row["created_at"] for row in orgs.counted()]  # in the order in which they were made
    told = {"org": lambda turn: turn.calls[0].org, "key": lambda turn: turn.calls[0].key, "user": lambda turn: None}
    for key, org in ((ADMIN_KEY, None), (orgs.reader, orgs.other)):
        turns = [(turn, at) for turn, at in zip(orgs.turns, began, strict=True) if org in (None, turn.calls[0].org)]
        for group in get_args(MetricsGroup):
            for bucket, span in (("none", None), ("5min", 300), ("day", 86400)):
                query = f"/v1/admin/metrics?group_by={group}&bucket={bucket}"
                rows = orgs.serving.ask("GET", query, key=key).json["data"]
                name = told.get(group) or (lambda turn, group=group: getattr(turn, group))
                hand = by(turns, lambda one, name=name, span=span: (name(one[0]), span and one[1] // span * span))
                assert len(rows) == len(hand), query
                assert {(row["group"], row["start"]): (row["turns"], row["failures"], *shown(row)) for row in rows} == {
                    one: (
                        len(hand[one]), sum(not turn.success for turn, _ in hand[one]),
                        *sums([call for turn, _ in hand[one] for call in turn.calls]),
                    )
                    for one in hand
                }, query  # fmt: skip


def test_all_turns_together_are_all_attempts_but_those_that_are_no_turns(orgs: Orgs):
    rows = [shown(row) for row in orgs.counted()]
    of_turns = {id(call) for turn in orgs.turns for call in turn.calls}
    made = zip(orgs.serving.attempts(), orgs.calls, strict=True)
    attempts = [attempt for attempt, call in made if id(call) in of_turns]
    assert sum(row[0] for row in rows) == len(attempts) == len(orgs.calls) - 2
    for place, name in enumerate(("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"), 1):
        assert sum(row[place] for row in rows) == sum(one["usage"][name] for one in attempts)
    assert sum(row[5] for row in rows) == sum(Decimal(one["cost"]) for one in attempts)


def test_a_turn_counts_the_attempts_of_an_agent_that_it_has_called_as_it_counts_their_tokens(orgs: Orgs):
    row = orgs.counted()[2]
    assert (row["agent_id"], row["attempts"], row["input_tokens"]) == (orgs.main, 3, 3 * IN)
    rows = orgs.serving.ask("GET", f"/v1/admin/metrics?agent_id={orgs.helper}&bucket=raw").json["data"]
    assert rows == []  # what it has done is the other one's turn


def test_sums_between_any_two_turns_are_those_of_the_turns_between(orgs: Orgs):
    rows = orgs.counted()
    times = [row["created_at"] for row in rows]
    for since, end in ((times[1], times[4]), (times[0], times[0]), (times[2] + 0.00001, times[-1] + 1)):
        within = [shown(row) for row in rows if since <= row["created_at"] < end]
        for group in get_args(MetricsGroup):
            for bucket in ("none", "5min", "day"):
                query = f"/v1/admin/metrics?group_by={group}&bucket={bucket}&from={since!r}&to={end!r}"
                found = [shown(row) for row in orgs.serving.ask("GET", query).json["data"]]
                assert together(found) == together(within), query
