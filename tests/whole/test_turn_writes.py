"""What of an agent's turn is durable when something leaves for its provider, a tool or a guardrail's webhook: read from
the database's file by those who are called."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from . import agent_script
from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream

TOML = """
[egress]
allow = ["127.0.0.1:{tools}"]
[providers.up]
kind = "openai_compatible"
base_url = "{upstream}/v1"
"""
QUESTIONS = {
    "run": "SELECT status FROM runs",
    "said": "SELECT role FROM messages ORDER BY seq",
    "attempts": "SELECT status FROM attempts ORDER BY number",
    "rounds": "SELECT number FROM rounds ORDER BY number",
    "tools": "SELECT name || ' ' || status FROM tool_calls ORDER BY round, place",
}


class Watch:
    """seen: who was called, and what was durable then."""

    def __init__(self) -> None:
        self.file = Path()
        self.seen: list[tuple[str, dict[str, str]]] = []

    def look(self, who: str) -> None:
        database = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=10)
        found = {name: " ".join(str(row[0]) for row in database.execute(sql)) for name, sql in QUESTIONS.items()}
        database.close()
        self.seen.append((who, found))

    def at(self, who: str, question: str) -> list[str]:
        return [found[question] for name, found in self.seen if name == who]


class WatchedTools(ToolServer):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def _called(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self._watch.look(path[1:])
        if path == "/guard":
            return 200, b'{"blocked":false}'
        return super()._called(method, path, headers, body)


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """Of one turn: five tools in three rounds, a file to be fetched before the first call, an answer to be judged."""
    watching = Watch()

    def answer(asked: Asked) -> Said:
        if asked.method == "POST":
            watching.look("model")
        return agent_script.answer(Asked(asked.method, asked.path, asked.headers, _without_files(asked.body)))

    with Upstream(answer) as upstream, WatchedTools(watching) as tools:
        toml = TOML.format(tools=tools.port, upstream=upstream.url)
        with Serving(tmp_path_factory.mktemp("writes"), toml) as serving:
            watching.file = serving.data / "midstream.db"
            agents = Agents(serving)
            specs = [agent_script.tool(name, tools.url) for name in agent_script.EFFECTS]
            made = [agents.post("/v1/admin/tools", spec)["id"] for spec in specs]
            rails = {"output": {"webhook": {"url": f"{tools.url}/guard"}}}
            agent = agents.agent(service="up", configuration={"model": "x", "guardrails": rails}, tool_ids=made)
            file = {"type": "file", "url": f"{tools.url}/file", "name": "a.pdf"}
            reply = agents.say(agent, "sold", attachments=[file])
            said = reply.json["text"]  # what stands at the address is JSON, so it is shown as text
            assert said.startswith("re: a.pdf:\n{")
            assert said.endswith("}sold")
            watching.look("client")
    return watching


def _without_files(body: bytes) -> bytes:
    asked = msgspec.json.decode(body or b"{}")
    for message in asked.get("messages", ()):
        if isinstance(message["content"], list):
            message["content"] = "".join(part.get("text", "") for part in message["content"])
    return msgspec.json.encode(asked)


#: What the tools have given before each model call.
GIVEN = ["", "look ok keep ok", "look ok keep ok pay ok", "look ok keep ok pay ok note ok ship ok"]


def test_the_question_and_each_attempt_are_durable_before_the_call(watch: Watch):
    assert watch.at("model", "attempts") == ["started", "ok started", "ok ok started", "ok ok ok started"]
    assert {*watch.at("model", "run")} == {"running"}
    assert {*watch.at("model", "said")} == {"user"}


def test_a_reply_that_asks_for_tools_and_that_each_runs_are_durable_before_it_is_called(watch: Watch):
    for tool in ("look", "keep"):
        assert (watch.at(tool, "attempts"), watch.at(tool, "rounds")) == (["ok"], ["1"])
        assert f"{tool} running" in watch.at(tool, "tools")[0]
    assert (watch.at("pay", "attempts"), watch.at("pay", "rounds")) == (["ok ok"], ["1 2"])
    assert watch.at("pay", "tools") == ["look ok keep ok pay running"]
    for tool in ("note", "ship"):
        assert (watch.at(tool, "attempts"), watch.at(tool, "rounds")) == (["ok ok ok"], ["1 2 3"])
        assert f"{tool} running" in watch.at(tool, "tools")[0]


def test_what_tools_gave_is_durable_before_the_model_reads_it(watch: Watch):
    assert watch.at("model", "tools") == GIVEN


def test_nothing_is_held_while_something_else_is_waited_for(watch: Watch):
    # What was fetched is there for the other calls.
    assert [watch.at("file", about) for about in ("run", "said", "attempts", "tools")] == [
        ["running"],
        ["user"],
        [""],
        [""],
    ]
    assert watch.at("guard", "attempts") == ["ok ok ok ok"]
    assert (watch.at("guard", "run"), watch.at("guard", "said")) == (["running"], ["user"])


def test_the_answer_is_durable_before_it_is_delivered(watch: Watch):
    assert watch.at("client", "said") == ["user assistant"]
    assert watch.at("client", "run") == ["completed"]
    assert watch.at("client", "attempts") == ["ok ok ok ok"]
