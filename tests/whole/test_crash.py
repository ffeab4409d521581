"""`kill -9` between any two steps of a request: each upstream call has exactly one attempt, nothing is lost, nothing is
there twice. The same for a cancelled run, a client that hangs up and a store that goes away, at any step."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.store import Store, open_store, recovery
from midstream.store.orgs import DEFAULT_ORG

from ..postgres import Server, postgres
from .crashing import End, Kind, Spec, request, silence
from .serving import Serving
from .steps import Acked, Swept
from .upstream import Asked, Said, Upstream, stream, whole

ROOT = Path(__file__).parents[2]
KINDS: list[Kind] = ["whole", "stream", "fallback", "conversation", "first_turn", "embedding"]
KILLED: list[Kind] = [*KINDS, "opening"]
TOML = """
[server]
data = "{data}"
database_url = "{url}"
[providers.up]
kind = "openai_compatible"
base_url = "{upstream}/v1"
[providers.busy]
kind = "openai_compatible"
base_url = "{upstream}/busy/v1"
[models.two]
targets = ["busy/x", "up/x"]
"""
#: A call with this in its name is under way until its client goes.
HELD = "held"
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
#: What the store must hold of an answer: tokens in and out.
SPENT = (9, 3)


class Recording(Upstream):
    """Knows when every connection that was ever made has been read to its end."""

    def __init__(self) -> None:
        super().__init__(answer)
        self.open = 0

    def __enter__(self) -> Recording:
        super().__enter__()
        return self

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await super()._client(reader, writer)
        finally:
            self.open -= 1

    def calls(self) -> Counter[str]:
        """How often each request, by its name, was heard, once nothing is on its way any more."""
        with urllib.request.urlopen(self.url + "/v1/models", timeout=10):
            pass  # connections are accepted in order: all earlier ones are counted now
        for _ in range(1000):
            if not self.open:
                break
            asyncio.run(asyncio.sleep(0.01))
        else:
            raise AssertionError("a connection stays open")
        return Counter(name_of(asked) for asked in self.asked if asked.method == "POST")


def name_of(asked: Asked) -> str:
    return str(asked.json["input"] if "input" in asked.json else asked.json["messages"][-1]["content"])


def answer(asked: Asked) -> Said:
    if asked.method == "GET":
        return whole({"data": []})
    if asked.path.startswith("/busy"):
        return whole({"error": {"message": "busy"}}, 503, retry_after="9")
    if asked.path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        usage = {"prompt_tokens": 9, "total_tokens": 9}
        return whole({"object": "list", "model": "e", "data": data, "usage": usage})
    words = ["re: ", name_of(asked)]
    if HELD in words[1]:
        words += [" and so on"] * 10_000  # over when nobody listens
    common = {"id": "c1", "created": 1, "model": "m"}
    if not asked.json.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "".join(words)}, "finish_reason": "stop"}
        return whole({**common, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    deltas: list[Any] = [{"delta": {"content": word}, "finish_reason": None} for word in words]
    choices = [[{"index": 0, **delta}] for delta in [*deltas, {"delta": {}, "finish_reason": "stop"}]]
    events = [{**common, "object": "chat.completion.chunk", "choices": one} for one in choices]
    events.append({**common, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    pieces: list[bytes | float] = []
    for event in events:
        pieces += [b"data: " + msgspec.json.encode(event) + b"\n\n", 0.002]  # each arrives alone
    return stream(*pieces, b"data: [DONE]\n\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/midstream.db"
        return
    with request.getfixturevalue("server").database() as made:
        yield made


class Seen:
    """What the provider, the clients and the store know of the same requests. conversation: the one they share."""

    def __init__(self, url: str, upstream: Recording, acked: dict[str, Acked], conversation: str = "") -> None:
        self.conversation = conversation
        self.calls = upstream.calls()
        self.asked = list(upstream.asked)
        self.acked = acked
        self.rows = asyncio.run(_recovered(url))
        assert asyncio.run(_recovered(url)) == self.rows, "a second restart changes nothing"

    def attempts(self, run: str) -> list[dict[str, Any]]:
        return sorted((row for row in self.rows["attempts"] if row["run_id"] == run), key=lambda row: row["number"])

    def messages(self, run: str) -> list[dict[str, Any]]:
        return sorted((row for row in self.rows["messages"] if row["run_id"] == run), key=lambda row: row["seq"])


def swept(url: str, folder: Path, kinds: list[Kind], end: End, **chosen: int) -> tuple[Seen, list[Swept]]:
    conversation = asyncio.run(_conversation(url))
    config, acks = folder / "midstream.toml", folder / "acks"
    with Recording() as upstream:
        config.write_text(TOML.format(data=folder / "data", url=url, upstream=upstream.url))
        spec = Spec(url, str(config), str(acks), conversation, kinds, end, **chosen)
        command = [sys.executable, "-m", "tests.whole.crashing", msgspec.json.encode(spec).decode()]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
        assert done.returncode == 0, done.stderr[-5000:]
        lines = acks.read_text().splitlines() if acks.exists() else []
        acked = {one.name: one for one in (msgspec.json.decode(line, type=Acked) for line in lines)}
        seen = Seen(url, upstream, acked, conversation)
    sweeps = msgspec.json.decode(done.stdout, type=list[Swept])
    print(*sweeps, sep="\n")
    return seen, sweeps


async def _conversation(url: str) -> str:
    store = await open_store(url, worker="test")
    made = await store.org(DEFAULT_ORG).create_conversation()
    await store.close()
    return made


async def _recovered(url: str) -> dict[str, list[dict[str, Any]]]:
    """Everything there is, after a start."""
    store = await open_store(url, worker="test")
    await store.db.write([("UPDATE workers SET seen_at = 0", ())])
    await recovery.recover(store.db)
    rows = {
        "runs": await _table(store, "runs", "id, request_id, status, error_code, ended_at"),
        "attempts": await _table(
            store, "attempts", "id, run_id, number, status, uncached_in, out_text, estimated, ended_at"
        ),
        "messages": await _table(store, "messages", "id, run_id, conversation_id, seq, role, content"),
    }
    await store.close()
    return rows


async def _table(store: Store, table: str, columns: str) -> list[dict[str, Any]]:
    rows = await store.db.read(f"SELECT {columns} FROM {table} ORDER BY seq, id")
    return [dict(zip(columns.split(", "), row, strict=True)) for row in rows]


def check(sweep: Seen, end: End) -> None:
    runs = {row["request_id"]: row for row in sweep.rows["runs"]}
    assert len(runs) == len(sweep.rows["runs"]), "no run is there twice"
    assert not sweep.calls.keys() - runs.keys(), "no call without its run"
    assert {name for name, acked in sweep.acked.items() if acked.status == 200} <= runs.keys()
    for name, run in runs.items():
        _check_attempts(sweep, name, run, end)
        _check_messages(sweep, name, run, end)
    _check_conversation(sweep)


def _check_attempts(sweep: Seen, name: str, run: dict[str, Any], end: End) -> None:
    attempts = sweep.attempts(run["id"])
    acked = sweep.acked.get(name)
    shown = (name, run, attempts, sweep.calls[name], acked)
    assert run["status"] in ("completed", "failed", "cancelled"), shown
    assert run["ended_at"], shown
    assert [row["number"] for row in attempts] == [*range(1, len(attempts) + 1)], shown
    assert all(row["status"] in ("ok", "failed", "partial", "unknown") and row["ended_at"] for row in attempts), shown
    never_left = len(attempts) - sweep.calls[name]
    assert 0 <= never_left <= 1, shown
    if never_left:
        assert attempts[-1]["status"] == "unknown" or (end != "kill" and attempts[-1]["out_text"] == 0), shown
    if end != "kill":
        unknown = [row for row in attempts if row["status"] == "unknown"]
        assert len(unknown) <= never_left, shown
        assert not any(row["uncached_in"] or row["out_text"] for row in unknown), shown
        assert run["error_code"] != "interrupted", shown
    if end == "kill":
        interrupted = run["error_code"] == "interrupted"
        assert run["status"] == ("failed" if interrupted else "completed"), shown
        assert attempts[-1]["status"] == ("unknown" if interrupted else "ok"), shown
    if run["status"] == "completed":
        expected = (9, 0) if name.startswith("embedding") and not name.endswith("-before") else SPENT
        assert (attempts[-1]["uncached_in"], attempts[-1]["out_text"]) == expected, shown
        assert attempts[-1]["status"] == "ok", shown
        assert not attempts[-1]["estimated"], shown
    if acked is not None and acked.status == 200 and end != "gone" and '"error"' not in acked.body:
        assert run["status"] == "completed", shown
    if acked is not None:
        assert acked.status in ((200,) if end == "kill" else (200, 499, 503)), shown


def _check_messages(sweep: Seen, name: str, run: dict[str, Any], end: End) -> None:
    """The question once; the answer once when there was one, or what was heard of it when the run was cut."""
    if name.startswith("embedding") and not name.endswith("-before"):
        assert sweep.messages(run["id"]) == []
        return
    question, *answers = [(row["role"], bytes(row["content"]).decode()) for row in sweep.messages(run["id"])]
    assert question[0] == "user", (name, run, question)
    assert name in question[1], (name, run, question)
    heard = [text for role, text in answers if role == "assistant"]
    assert len(heard) == len(answers) <= 1, (name, run, answers)
    if run["status"] == "completed":
        assert f"re: {name}" in heard[0], (name, run, answers)
    elif heard:
        assert end in ("cancel", "gone"), (name, run, answers)
        assert "re: " in heard[0], (name, run, answers)


def _check_conversation(sweep: Seen) -> None:
    rows = [row for row in sweep.rows["messages"] if row["conversation_id"] == sweep.conversation]
    rows.sort(key=lambda row: row["seq"])
    assert [row["seq"] for row in rows] == [*range(len(rows))], "each has its own place"
    for before, after in itertools.pairwise(rows):
        assert after["role"] == "user" or after["run_id"] == before["run_id"], "an answer follows its question"
    texts = [bytes(row["content"]).decode() for row in rows]
    for asked in sweep.asked:
        if asked.method == "POST" and name_of(asked).startswith("conversation-") and "before" not in name_of(asked):
            heard = [message["content"] for message in asked.json["messages"]]
            assert len(heard) <= len(texts)
            for part, text in zip(heard, texts, strict=False):
                assert part in text, "the provider hears all that was said before, in order"


SAMPLE_KILLS = {"sqlite": (3, 13), "postgresql": (5, 23)}


def test_kill_9_between_two_steps_of_a_request_loses_nothing_and_repeats_nothing(url: str, tmp_path: Path) -> None:
    first, stride = SAMPLE_KILLS[url.partition(":")[0]]
    seen, sweeps = swept(url, tmp_path, KILLED, "kill", first=first, stride=stride)
    assert sum(one.struck for one in sweeps) >= 3 * len(KILLED)
    check(seen, "kill")


@pytest.mark.long
def test_kill_9_at_every_step_of_a_request_loses_nothing_and_repeats_nothing(url: str, tmp_path: Path) -> None:
    seen, sweeps = swept(url, tmp_path, KILLED, "kill")
    assert all(one.struck >= 30 for one in sweeps)
    check(seen, "kill")


#: What is struck, and at which steps: there are few commits.
STRUCK = [
    ("before", 1), ("after", 1), ("cancel", 3), ("gone", 3),
    pytest.param("cancel", 1, marks=pytest.mark.long), pytest.param("gone", 1, marks=pytest.mark.long),
]  # fmt: skip


@pytest.mark.parametrize(("end", "stride"), STRUCK)
def test_a_request_that_is_struck_at_any_step_is_accounted_for_once(
    url: str, tmp_path: Path, end: End, stride: int
) -> None:
    seen, sweeps = swept(url, tmp_path, KINDS, end, stride=stride)
    assert all(one.struck >= 2 for one in sweeps)
    check(seen, end)


CLIENTS = 32


class Load:
    """Clients that ask as long as the server answers."""

    def __init__(self, serving: Serving, number: int, upstream: Recording) -> None:
        self.acked: dict[str, Acked] = {}
        self._serving = serving
        self._number = number
        self._upstream = upstream
        self._threads = [threading.Thread(target=self._ask, args=(client,)) for client in range(CLIENTS)]

    def run_for(self, seconds: float) -> None:
        """At their end, with something answered and a call surely under way, the server is killed."""
        for thread in self._threads:
            thread.start()
        time.sleep(seconds)
        held = self._name("stream", HELD, 0)
        deadline = time.monotonic() + 30
        while not self.acked or not any(name_of(asked) == held for asked in list(self._upstream.asked)):
            assert time.monotonic() < deadline, "nothing is answered, or the provider never heard the call to hold"
            time.sleep(0.01)
        self._serving.kill()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: int) -> None:
        kind: Kind = "stream" if client % 2 else "whole"
        for count in itertools.count():
            name = self._name(kind, HELD if client == 1 else client, count)
            path, body = request(kind, name, "")
            try:
                reply = self._serving.ask("POST", path, body, x_request_id=name)
            except (OSError, http.client.HTTPException):
                return
            self.acked[name] = Acked(name, reply.status, reply.body.decode(), True)

    def _name(self, kind: Kind, client: int | str, count: int) -> str:
        return f"{kind}-{self._number}-{client}-{count}"


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.long)])
def test_kill_9_of_a_server_under_load_leaves_one_attempt_for_each_call(url: str, tmp_path: Path, rounds: int) -> None:
    acked: dict[str, Acked] = {}
    with Recording() as upstream:
        config = TOML.format(data=tmp_path / "data", url=url, upstream=upstream.url)
        serving = Serving(tmp_path, config)
        for number in range(rounds):
            serving.start()
            load = Load(serving, number, upstream)
            load.run_for(random.uniform(0.3, 1.0))
            acked |= load.acked
            asyncio.run(silence(url))
        with serving:  # once more, and it serves
            body = request("whole", "whole-again", "")[1]
            assert serving.ask("POST", "/v1/chat/completions", body, x_request_id="whole-again").status == 200
        seen = Seen(url, upstream, acked)
    check(seen, "kill")
    assert acked, "nothing was answered before the server died"
    cut = [row for row in seen.rows["runs"] if row["error_code"] == "interrupted"]
    assert cut, "nothing was under way when the server died"
