#!/usr/bin/env python
"""Turns of an agent, Midstream's beside those of LangGraph behind FastAPI: the phase `agents` of bench/run, or alone
bench/agents.py [--quick] [--servers midstream,langgraph,langgraph-memory].

The server has one core; the fake model, the fake tools and the clients share the other. Every answer is checked, and
what the model and the tools have served is counted."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accounts
import agent_report
import install
from agent_upstream import words
from machine import Core, cpu_seconds, family, free_port, get, launch, rss_mb, stop, wait_idle
from targets import ADMIN_KEY, HERE, WORK, midstream_program

Result = dict[str, Any]
START_LIMIT = 60  # seconds
AT_ONCE = 8
REPEATS = 3
HISTORY, FEW = 200, 12
TOOLS = {"plain": [], "two": ["/tool", "/tool"], "slow": ["/slow"] * 5}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOML = """
[egress]
allow = ["127.0.0.1:{fake}"]
[limits]
agent_points = 1000000000
thread_points = 1000000000
[providers.up]
kind = "openai_compatible"
base_url = "http://127.0.0.1:{fake}/v1"
prices = {{ "*" = {{ input = "0.15", output = "0.60" }} }}
"""


class Wrong(Exception):
    """An answer is not what it should be, or the server does not come up."""


class Client:
    """One kept connection."""

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"content-type": "application/json", **(headers or {})}

    def post(self, path: str, body: Any) -> Any:
        """body: JSON as bytes, or what is to be written as such. Raises Wrong for every answer but 200 and 201."""
        written = body if isinstance(body, bytes) else json.dumps(body)
        self._connection.request("POST", path, written, self._headers)
        reply = self._connection.getresponse()
        data = reply.read()
        if reply.status not in (200, 201):
            raise Wrong(f"{path}: {reply.status} {data[:500]!r}")
        return json.loads(data)


class Midstream:
    """Default settings: keys checked, runs, attempts, tool calls and messages durable in SQLite, metrics kept."""

    def __init__(self) -> None:
        self.name, self.label = "midstream", "Midstream (SQLite)"
        self.headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        self._agents: dict[str, str] = {}

    def command(self, folder: Path, port: int, fake: int) -> tuple[list[str], dict[str, str]]:
        (folder / "midstream.toml").write_text(TOML.format(fake=fake))
        files = ["--config", str(folder / "midstream.toml"), "--data", str(folder / "data")]
        return [midstream_program(), "serve", *files, "--port", str(port)], {"MIDSTREAM_ADMIN_KEY": ADMIN_KEY}

    def prepare(self, client: Client, fake: int) -> None:
        for agent, paths in TOOLS.items():
            tools = []
            for place, path in enumerate(paths):
                spec = {"name": f"{agent}_{place}", "description": "looks", "kind": "http", "parameters": SCHEMA}
                spec["http"] = {"method": "POST", "url": f"http://127.0.0.1:{fake}{path}"}
                tools.append(client.post("/v1/admin/tools", spec)["id"])
            body = {"name": agent, "slug": agent, "service": "up", "configuration": {"model": "x"}, "tool_ids": tools}
            made = client.post("/v1/admin/agents", body)
            client.post(f"/v1/admin/agents/{made['id']}/publish", {"version_id": made["version_id"]})
            self._agents[agent] = made["id"]

    def turn(self, client: Client, agent: str, message: str, conversation: str) -> tuple[str, str]:
        body = {"agentId": self._agents[agent], "message": message, "stream": False}
        said = client.post("/api/v1/conversation", body | ({"conversationId": conversation} if conversation else {}))
        return said["text"], said["conversationId"]


class LangGraph:
    """peers/langgraph_app.py on uvicorn with uvloop and httptools, conversations in SQLite or in memory."""

    def __init__(self, name: str, label: str, kept: str) -> None:
        self.name, self.label, self._kept = name, label, kept
        self.headers: dict[str, str] = {}

    def command(self, folder: Path, port: int, fake: int) -> tuple[list[str], dict[str, str]]:
        program = [str(WORK / "v-graph/bin/uvicorn"), "langgraph_app:app", "--app-dir", str(HERE / "peers")]
        flags = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        kept = str(folder / self._kept) if self._kept else ""
        return [*program, *flags], {"FAKE": str(fake), "KEPT": kept, "LANGSMITH_TRACING": "false"}

    def prepare(self, client: Client, fake: int) -> None:
        """Its agents are in its code."""

    def turn(self, client: Client, agent: str, message: str, conversation: str) -> tuple[str, str]:
        said = client.post(f"/turn/{agent}", {"message": message, "conversation": conversation or None})
        return said["text"], said["conversation"]


def servers() -> dict[str, Midstream | LangGraph]:
    found = (
        Midstream(),
        LangGraph("langgraph", "LangGraph + FastAPI (SQLite)", "kept.db"),
        LangGraph("langgraph-memory", "LangGraph + FastAPI (memory)", ""),
    )
    return {one.name: one for one in found}


@dataclass
class Asking:
    """A server under load. model, tools: calls that the turns asked so far should have made."""

    server: Midstream | LangGraph
    port: int
    model: int = 0
    tools: int = 0

    def client(self) -> Client:
        return Client(self.port, self.server.headers)

    def say(self, client: Client, agent: str, message: str, conversation: str = "") -> str:
        """One turn; its conversation. Raises Wrong."""
        text, conversation = self.server.turn(client, agent, message, conversation)
        if text != words(message, len(TOOLS[agent])):
            raise Wrong(f"{self.server.name} answered {message!r} with {text[:200]!r}")
        return conversation

    def count(self, agent: str, turns: int) -> None:
        self.model += turns * (2 if TOOLS[agent] else 1)
        self.tools += turns * len(TOOLS[agent])

    def at_once(self, agent: str, seconds: float) -> int:
        """Turns of AT_ONCE clients, each in a conversation of its own. Raises Wrong."""
        counts, wrong = [0] * AT_ONCE, list[Exception]()
        end = time.monotonic() + seconds

        def ask(place: int) -> None:
            client = self.client()
            try:
                while time.monotonic() < end:
                    self.say(client, agent, f"turn {place}.{counts[place]}")
                    counts[place] += 1
            except (Wrong, OSError, http.client.HTTPException, LookupError) as e:
                wrong.append(e)

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if wrong:
            raise Wrong(f"{self.server.name}: {wrong[0]}")
        self.count(agent, sum(counts))
        return sum(counts)

    def milliseconds(self, agent: str, times: int, conversation: str = "") -> float:
        """Median of turns one after the other."""
        client = self.client()
        self.count(agent, times)
        return _median(lambda: self.say(client, agent, "alone", conversation), times)


def _median(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def direct_milliseconds(fake: int, times: int) -> tuple[float, float]:
    """What the model's calls alone take without a server: those of a plain turn, and of one with a round of tools."""
    client = Client(fake)
    messages: list[Any] = [{"role": "user", "content": "alone"}]
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]

    def plain() -> None:
        client.post("/-/model", {"messages": messages})

    def two() -> None:
        client.post("/-/model", {"messages": messages, "tools": tools})
        client.post("/-/tool", {"city": "Oslo"})  # both at once: the time of one
        plain()

    return _median(plain, times), _median(two, times)


def _reading(fake: int, messages: int, times: int) -> float:
    """Milliseconds that the fake model alone takes to be sent this many messages and to answer the last."""
    client = Client(fake)
    said = [{"role": "user", "content": "before"}, {"role": "assistant", "content": words("before", 0)}]
    body = json.dumps({"messages": [*said * (messages // 2), {"role": "user", "content": "alone"}]}).encode()
    return _median(lambda: client.post("/-/model", body), times)


def _throughput(asking: Asking, agent: str, seconds: float, pids: tuple[list[int], list[int]], core: int) -> Result:
    """pids: the server's and the upstream's. Turns a second of the server's processor time; how busy the rest was."""
    before, upstream, watched = cpu_seconds(pids[0]), cpu_seconds(pids[1]), Core(core)
    began = time.monotonic()
    turns = asking.at_once(agent, seconds)
    elapsed = time.monotonic() - began
    used = cpu_seconds(pids[0]) - before
    foreign, steal = watched.foreign_pct(used)
    return {
        "turns_s": turns / elapsed,
        "turns_core": turns / max(used, 0.01),
        "busy_pct": 100 * used / elapsed,
        "upstream_pct": 100 * (cpu_seconds(pids[1]) - upstream) / elapsed,
        "foreign_pct": foreign,
        "steal_pct": steal,
    }


def _history(asking: Asking, fake: int) -> float:
    """Milliseconds that HISTORY stored messages add to a plain turn, beside one that begins a conversation, beyond what
    the model takes to be sent them. Each measured turn adds two: there are HISTORY in the middle."""
    client = asking.client()
    conversation = ""
    turns = (HISTORY - REPEATS * FEW) // 2
    for _ in range(turns):
        conversation = asking.say(client, "plain", "before", conversation)
    asking.count("plain", turns)
    added = []
    for _ in range(REPEATS):  # in turns: the machine's speed changes
        short = asking.milliseconds("plain", FEW) - _reading(fake, 0, FEW)
        added.append(asking.milliseconds("plain", FEW, conversation) - _reading(fake, HISTORY, FEW) - short)
    return statistics.median(added)


def _measured(asking: Asking, pids: tuple[list[int], list[int]], core: int, fake: int, quick: bool) -> Result:
    seconds, times = (1.5, 30) if quick else (4.0, 100)
    for agent in ("two", "plain"):
        asking.at_once(agent, 1.0)
    two = [_throughput(asking, "two", seconds, pids, core) for _ in range(REPEATS)]
    plain = [_throughput(asking, "plain", seconds / 2, pids, core) for _ in range(REPEATS)]
    wait_idle(pids[0], 15)
    rounds = []
    for _ in range(REPEATS):
        alone = direct_milliseconds(fake, times)
        asked = asking.milliseconds("plain", times), asking.milliseconds("two", times)
        rounds.append((asked[0], asked[1], (asked[1] - alone[1]) / 2, asked[1] - asked[0] - (alone[1] - alone[0])))
    began = time.monotonic()
    asking.say(asking.client(), "slow", "five")
    five = time.monotonic() - began
    asking.count("slow", 1)
    plain_ms, two_ms, iteration_ms, more_ms = (statistics.median(values) for values in zip(*rounds, strict=True))
    cores = sorted(one["turns_core"] for one in two)
    return {
        **{key: statistics.median(one[key] for one in two) for key in two[0]},
        "turns_core_least": cores[0],
        "turns_core_most": cores[-1],
        "plain_core": statistics.median(one["turns_core"] for one in plain),
        "noise_pct": max(one["foreign_pct"] + one["steal_pct"] for one in two),
        "plain_ms": plain_ms,
        "two_ms": two_ms,
        "iteration_ms": iteration_ms,
        "more_ms": more_ms,
        "five_s": five,
        "history_ms": _history(asking, fake),
    }


def _checks(asking: Asking, fake: int) -> list[str]:
    """What the model and the tools have served against the turns asked, and Midstream's ledger against the model."""
    served = json.loads(get(fake, "/-/count")[1])
    pairs = [("model calls = those of the turns asked", served["model"], asking.model)]
    pairs.append(("tool calls = those of the turns asked", served["tools"], asking.tools))
    if isinstance(asking.server, Midstream):
        ledger = accounts.read_attempts(asking.port)
        pairs.append(("settled attempts = model calls", ledger.settled, asking.model))
        pairs.append(("attempts with a cost = model calls", ledger.priced, asking.model))
    return [f"{'ok ' if a == b else 'NOT'} {what}: {a:,} / {b:,}" for what, a, b in pairs]


def _wait_for(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until and process.poll() is None:
        try:
            if get(port, path)[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    raise Wrong(f"not ready: {said[-1][:200] if said else 'no word'} ({log})")


def _run(server: Midstream | LangGraph, cores: tuple[int, int], quick: bool) -> Result:
    """Raises Wrong."""
    folder = WORK / "agents"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fake, port, log = free_port(), free_port(), WORK / f"log-agents-{server.name}.txt"
    upstream = launch([sys.executable, str(HERE / "agent_upstream.py"), str(fake)], cores[1])
    process = None
    try:
        _wait_for(upstream, fake, "/-/count", log)
        command, environment = server.command(folder, port, fake)
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if key in os.environ}
        process = launch(command, cores[0], log, {**kept, "NO_PROXY": "*", **environment})
        _wait_for(process, port, "/healthz", log)
        asking = Asking(server, port)
        server.prepare(asking.client(), fake)
        pids = family(process.pid), [upstream.pid]
        result = _measured(asking, pids, cores[0], fake, quick)
        wait_idle(pids[0], 15)
        return {"label": server.label, **result, "rss_mb": rss_mb(pids[0]), "checks": _checks(asking, fake)}
    finally:
        for one in (process, upstream):
            if one is not None:
                stop(one)
        shutil.rmtree(folder, ignore_errors=True)


def run(names: list[str], cores: tuple[int, int], quick: bool) -> dict[str, Result]:
    """By server; {"label", "skipped": why} for what cannot be measured. cores: the server's, everybody else's.
    The caller stands on the second one."""
    WORK.mkdir(exist_ok=True)
    results: dict[str, Result] = {}
    for name in names:
        server = servers()[name]
        try:
            install.prepare("langgraph" if isinstance(server, LangGraph) else "midstream")
            results[name] = _run(server, cores, quick)
        except (install.Missing, Wrong, OSError) as e:
            results[name] = {"label": server.label, "skipped": str(e)}
        print(agent_report.line(name, results[name]), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter windows")
    parser.add_argument("--servers", default=",".join(servers()))
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {chosen.load_core})
    print(agent_report.markdown(run(chosen.servers.split(","), (chosen.gateway_core, chosen.load_core), chosen.quick)))


if __name__ == "__main__":
    main()
