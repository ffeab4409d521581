"""A turn of an agent, five tools in three rounds, is killed, left by its client, or finds the store away, at any step:
one end, no model call lost or counted twice, no unsafe tool called twice, and the next turn is answered."""

from __future__ import annotations

import asyncio
import hashlib
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.store import open_store, recovery

from ..postgres import Server, postgres
from . import agent_script
from .agent_crashing import PROMPT, End, Kind, Spec, pass_time
from .agent_script import SPENT, name_of
from .steps import Acked, Swept
from .test_crash import ROOT, Recording
from .tool_server import ToolServer

KINDS: list[Kind] = ["said", "whole", "later", "later-new"]
TOML = """
[server]
data = "{data}"
database_url = "{url}"
[egress]
allow = ["127.0.0.1:{tools}"]
[limits]
agent_points = 1000000
thread_points = 1000000
window_seconds = 604800
[providers.up]
kind = "openai_compatible"
base_url = "{upstream}/v1"
prices = {{ "*" = {{ input = "0.10", output = "0.40" }} }}
"""
TABLES = {
    "runs": "id, request_id, status, error_code, ended_at",
    "attempts": "id, run_id, number, status, uncached_in, out_text, cost, ended_at",
    "model_transactions": "id, run_id, status, input_tokens, output_tokens, cost",
    "messages": "id, run_id, conversation_id, seq, role, content, parent_id",
    "tool_calls": "id, run_id, round, place, name, effect, status, error",
    "metrics_raw_data": "id, run_id, attempts, input_tokens",
    "outbox": "id, topic, done_at",
    "jobs": "id, status, tries",
    "points": "kind, name, used",
    "agents": "id",
}
#: How the two faces say that a turn has failed.
FAILED = re.compile('"error":|event: error|"success":false')
Row = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/midstream.db"
        return
    with request.getfixturevalue("server").database() as made:
        yield made


class Seen:
    """What the provider, the tools, the clients and the store know of the same turns."""

    def __init__(self, url: str, upstream: Recording, tools: ToolServer, acked: dict[str, Acked]) -> None:
        asyncio.run(pass_time(url))
        self.acked = acked
        self.calls = Counter(name_of(asked) for asked in upstream.asked if asked.method == "POST")
        self.used: dict[tuple[str, str], list[str]] = defaultdict(list)
        for call in tools.calls:
            if call["path"] != "/hook":
                key = call["headers"]["idempotency-key"]
                self.used[call["path"][1:], call["body"]["name"]].append(key)
        self.hooks = [call for call in tools.calls if call["path"] == "/hook"]
        self.rows = asyncio.run(_stored(url))
        self.runs = {row["request_id"]: row for row in self.rows["runs"]}

    def of_run(self, table: str, run: str) -> list[Row]:
        return [row for row in self.rows[table] if row["run_id"] == run]


async def _stored(url: str) -> dict[str, list[Row]]:
    store = await open_store(url, worker="test")
    await recovery.recover(store.db)
    found = {}
    for table, columns in TABLES.items():
        rows = await store.db.read(f"SELECT {columns} FROM {table}")
        found[table] = [dict(zip(columns.split(", "), row, strict=True)) for row in rows]
    await store.close()
    return found


def swept(url: str, folder: Path, kinds: list[Kind], end: End, **chosen: int) -> tuple[Seen, list[Swept]]:
    config, acks = folder / "midstream.toml", folder / "acks"
    with Recording() as upstream, ToolServer() as tools:
        upstream.answer = agent_script.answer
        told = TOML.format(data=folder / "data", url=url, upstream=upstream.url, tools=tools.port)
        config.write_text(told)
        spec = Spec(url, str(config), str(acks), tools.url, kinds, end, **chosen)
        command = [sys.executable, "-m", "tests.whole.agent_crashing", msgspec.json.encode(spec).decode()]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
        assert done.returncode == 0, done.stderr[-5000:]
        lines = acks.read_text().splitlines() if acks.exists() else []
        acked = {one.name: one for one in (msgspec.json.decode(line, type=Acked) for line in lines)}
        seen = Seen(url, upstream, tools, acked)
    sweeps = msgspec.json.decode(done.stdout, type=list[Swept])
    print(*sweeps, sep="\n")
    return seen, sweeps


def check(seen: Seen, end: End) -> None:
    assert len(seen.runs) == len(seen.rows["runs"]), "no run is there twice"
    assert not seen.calls.keys() - seen.runs.keys(), "no model call without its run"
    ids = {row["id"] for row in seen.rows["runs"]}
    said = {row["id"] for row in seen.rows["messages"]}
    for message in seen.rows["messages"]:
        assert message["run_id"] in ids, message
        assert not message["parent_id"] or message["parent_id"] in said, message
    for name, run in seen.runs.items():
        attempts = sorted(seen.of_run("attempts", run["id"]), key=lambda row: row["number"])
        shown = (name, run, attempts, seen.calls[name], seen.acked.get(name))
        _check_run(seen, name, run, attempts, end, shown)
        _check_accounts(seen, run, attempts, end, shown)
        _check_tools(seen, name, run, shown)
        _check_messages(seen, name, run, shown)


def check_points(seen: Seen) -> None:
    """Of no turn that has begun, the point is forgotten, whether it was of a thread, of a conversation of that thread,
    or of a conversation that it has begun."""
    [agent] = [row["id"] for row in seen.rows["agents"]]
    turns: Counter[str] = Counter()
    for name, run in seen.runs.items():
        thread = name.removeprefix("plain-before-").removeprefix("plain-after-")
        if name.startswith("later-new"):
            thread = seen.of_run("messages", run["id"])[0]["conversation_id"]
        turns[hashlib.sha256(f"{agent}\0{thread}".encode()).hexdigest()] += 1
    points = {(row["kind"], row["name"]): row["used"] for row in seen.rows["points"]}
    assert points["agent", agent] >= len(seen.runs)
    assert all(points["thread", thread] >= number for thread, number in turns.items()), (points, turns)


def _check_run(seen: Seen, name: str, run: Row, attempts: list[Row], end: End, shown: Any) -> None:
    later = name.startswith("later")
    assert run["status"] in ("completed", "failed", "cancelled"), shown
    assert run["ended_at"], shown
    assert [row["number"] for row in attempts] == [*range(1, len(attempts) + 1)], shown
    assert all(row["status"] in ("ok", "failed", "partial", "unknown") and row["ended_at"] for row in attempts), shown
    never_left = len(attempts) - seen.calls[name]
    assert 0 <= never_left <= 1, shown
    unknown = [row for row in attempts if row["status"] == "unknown"]
    assert never_left <= len(unknown) + (end == "gone"), shown
    if (end == "kill" and later) or name.startswith("plain"):
        assert run["status"] == "completed", shown
    if run["status"] == "completed":
        ok = [row for row in attempts if row["status"] == "ok"]
        assert {(row["uncached_in"], row["out_text"]) for row in ok} == {SPENT}, shown
        assert attempts[-1]["status"] == "ok", shown
    if end == "kill":
        assert len(unknown) <= 1, shown
        assert run["status"] == "completed" or run["error_code"] == "interrupted", shown
    else:
        assert run["error_code"] != "interrupted", shown
    acked = seen.acked.get(name)
    if acked is not None and not later and acked.status == 200 and end != "gone" and not FAILED.search(acked.body):
        assert run["status"] == "completed", shown


def _check_accounts(seen: Seen, run: Row, attempts: list[Row], end: End, shown: Any) -> None:
    """One transaction for each attempt that left, or may have, with the same figures."""
    told = {row["id"]: row for row in seen.of_run("model_transactions", run["id"])}
    left = {row["id"]: row for row in attempts if end == "kill" or row["status"] != "unknown"}
    assert told.keys() == left.keys(), (shown, told)
    for id, row in left.items():
        one = told[id]
        figures = (one["status"], one["input_tokens"], one["output_tokens"], one["cost"])
        assert figures == (row["status"], row["uncached_in"], row["out_text"], row["cost"]), (shown, one)
    turns = seen.of_run("metrics_raw_data", run["id"])
    pending = {f"{topic}:{run['id']}" for topic in ("turn", "interrupted")}
    waiting = [row for row in seen.rows["outbox"] if row["id"] in pending and row["done_at"] is None]
    assert len(turns) + len(waiting) == 1, (shown, turns, waiting)  # it is counted, or will be, once
    for turn in turns:  # the turn's sums are those of its calls
        begun = turn["attempts"] - len(attempts)  # one that the store did not take has no row
        assert 0 <= begun <= (run["status"] != "completed"), (shown, turn)
        assert turn["input_tokens"] == sum(row["uncached_in"] for row in left.values()), (shown, turn)


def _check_tools(seen: Seen, name: str, run: Row, shown: Any) -> None:
    """The unsafe ones once at the most, the others again only by the same key, and the journal says how each ended."""
    rows = {row["name"]: row for row in seen.of_run("tool_calls", run["id"])}
    used = {tool: seen.used[tool, name] for tool in agent_script.EFFECTS}
    told = (shown, rows, used)
    assert len(rows) == len(seen.of_run("tool_calls", run["id"])), told
    assert all(len(used[tool]) <= 1 for tool in agent_script.UNSAFE), told
    for tool, keys in used.items():
        assert len(set(keys)) <= 1, told
        assert not keys or tool in rows, told
    for row in rows.values():
        assert row["status"] not in ("queued", "running"), told
    for tool in agent_script.UNSAFE:
        if used[tool]:
            assert rows[tool]["status"] in ("ok", "in_doubt"), told
        if rows.get(tool, {}).get("status") == "ok":
            assert used[tool], told
    if run["status"] == "completed" and not name.startswith("plain"):
        assert [rows[tool]["status"] for tool in ("look", "keep", "note")] == ["ok", "ok", "ok"], told


def _check_messages(seen: Seen, name: str, run: Row, shown: Any) -> None:
    """The question once; the answer once, if there was one."""
    rows = sorted(seen.of_run("messages", run["id"]), key=lambda row: row["seq"])
    said = [(row["role"], bytes(row["content"]).decode()) for row in rows]
    assert [role for role, _ in said] in (["user"], ["user", "assistant"]), (shown, said)
    assert name in said[0][1], (shown, said)
    if run["status"] == "completed":
        assert f"re: {name}" in said[1][1], (shown, said)
    assert len({row["conversation_id"] for row in rows}) == 1, (shown, rows)
    conversation = [row for row in seen.rows["messages"] if row["conversation_id"] == rows[0]["conversation_id"]]
    assert len({row["seq"] for row in conversation}) == len(conversation), (shown, conversation)


def check_later(seen: Seen) -> None:
    """Whoever was told that the answer comes later gets it: one message, however often it is sent."""
    accepted = {name for name, one in seen.acked.items() if name.startswith("later") and one.status == 200}
    got = defaultdict(set)
    for call in seen.hooks:
        answered = str(call["body"])
        name = next(name for name in seen.runs if name.startswith("later") and f"re: {name}'" in answered)
        got[name].add(call["headers"]["webhook-id"])
    assert accepted <= got.keys()
    assert all(len(ids) == 1 for ids in got.values()), got


def test_kill_9_between_steps_of_an_agents_turn_repeats_nothing_that_could_do_harm(url: str, tmp_path: Path) -> None:
    seen, sweeps = swept(url, tmp_path, ["said", "later", "later-new"], "kill", first=41, stride=233)
    assert sum(one.struck for one in sweeps) >= 6
    check(seen, "kill")
    check_points(seen)
    check_later(seen)


def all_steps(url: str) -> dict[str, int]:
    """On PostgreSQL, where a turn has four times as many, each day another fifth of them: all would take an hour."""
    stride = 1 if url.startswith("sqlite") else 5
    return {"first": 1 + int(time.time() // 86_400) % stride, "stride": stride}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_at_every_step_of_an_agents_turn(url: str, tmp_path: Path, kind: Kind) -> None:
    seen, sweeps = swept(url, tmp_path, [kind], "kill", **all_steps(url))
    assert all(one.struck >= 100 for one in sweeps)
    check(seen, "kill")
    check_points(seen)
    check_later(seen)


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.long)])
def test_a_client_that_hangs_up_at_any_step_stops_its_turn_at_once(url: str, tmp_path: Path, stride: int) -> None:
    steps = all_steps(url) if stride == 1 else {"first": 2, "stride": stride}
    seen, sweeps = swept(url, tmp_path, ["said", "whole"], "gone", **steps)
    assert all(one.struck >= 10 for one in sweeps)
    assert all(one.slowest <= PROMPT for one in sweeps)
    check(seen, "gone")
    assert "cancelled" in {run["status"] for run in seen.runs.values()}


#: Which commits fail, and how.
FAILING = [
    ("before", 5), ("after", 5),
    *(pytest.param(end, 1, marks=pytest.mark.long) for end in ("before", "after", "full")),
]  # fmt: skip


@pytest.mark.parametrize(("end", "stride"), FAILING)
def test_a_store_that_fails_at_any_commit_of_a_turn_is_told_and_loses_no_call(
    url: str, tmp_path: Path, end: End, stride: int
) -> None:
    seen, sweeps = swept(url, tmp_path, ["said", "whole"], end, stride=stride)
    assert all(one.struck * stride >= 20 for one in sweeps)
    check(seen, end)
    for one in seen.acked.values():
        assert one.status in (200, 503), one
        if one.status == 503:
            assert "store" in one.body, one


@pytest.mark.parametrize(("end", "stride"), [("before", 3), ("after", 3), *FAILING[2:]])
def test_a_store_that_fails_at_any_commit_of_a_turn_that_was_accepted_only_delays_it(
    url: str, tmp_path: Path, end: End, stride: int
) -> None:
    seen, sweeps = swept(url, tmp_path, ["later", "later-new"], end, stride=stride)
    assert all(one.struck * stride >= 20 for one in sweeps)
    check(seen, end)
    check_later(seen)
    assert {job["status"] for job in seen.rows["jobs"]} == {"done"}
