"""Turns of one conversation are made in the order in which they were accepted: over the ends of servers, and by several
of them."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..postgres import PrivateServer, private_postgres
from .agents_at import Agents
from .serving import ADMIN_KEY, Serving
from .waiting import until

ASK = "/api/v2/model/chat/completion"
KEY = "c2VjcmV0LWtleS1vZi10d28tc2VydmVycy0wMTIzNDU="
SLOW = "pace 300 say 9 words"
TOML = "[server]\nlame_duck_seconds = 0\ndrain_seconds = 0.3\n"


def asked(serving: Serving, thread: str, user: str, **more: Any) -> Any:
    body = {"user": user, "service": "midstream", "model": "rehearsal", "thread_id": thread, "stream": False, **more}
    reply = serving.ask("POST", ASK, body)
    assert reply.json["success"] is True, reply.body
    return reply.json


def queued(serving: Serving, thread: str, user: str) -> str:
    kind = {"type": "queue", "cred": {"name": "answers"}}
    return str(asked(serving, thread, user, stream=True, response_format=kind)["message_id"])


def streamed(serving: Serving, thread: str, user: str) -> None:
    body = {"user": user, "service": "midstream", "model": "rehearsal", "thread_id": thread, "stream": True}
    assert b"event: done" in serving.ask("POST", ASK, body).body


def job(serving: Serving, id: str) -> Any:
    return serving.ask("GET", f"/v1/admin/jobs/{id}").json


def over(serving: Serving, *ids: str, seconds: float = 60) -> None:
    until(lambda: all(job(serving, id)["ended_at"] for id in ids), seconds)
    assert [job(serving, id)["status"] for id in ids] == ["done"] * len(ids)


def told(serving: Serving) -> list[str]:
    """The questions of the newest conversation, as its user sees it; each has its own answer behind it."""
    newest = serving.ask("GET", "/api/v1/conversation/chat-history?limit=1").json["data"][0]["id"]
    said = [message["text"] for message in serving.ask("GET", f"/api/v1/conversation/{newest}").json["messages"]]
    questions, answers = said[::2], said[1::2]
    for question, answer in zip(questions, answers, strict=True):
        assert question in answer or ("say" in question and answer.startswith("word1 word2"))
    return questions


def ends(serving: Serving, how: str) -> None:
    assert serving.process is not None
    if how == "killed":
        serving.kill()
    else:
        serving.process.send_signal(signal.SIGTERM)
        serving.process.wait(20)
    serving.start()


@pytest.mark.parametrize("how", ["killed", "told to stop"])
def test_turns_that_waited_do_not_overtake_the_one_that_was_cut(tmp_path: Path, how: str):
    with Serving(tmp_path, TOML) as serving:
        first = queued(serving, "t", SLOW)
        rest = [queued(serving, "t", f"this is {n}") for n in range(3)]
        time.sleep(0.6)
        ends(serving, how)
        last = asked(serving, "t", "asked after it")  # waits for what was accepted before it
        over(serving, first, *rest)
        assert "asked after it" in last["data"]["content"]
        ended = [job(serving, id)["ended_at"] for id in (first, *rest)]
        assert ended == sorted(ended)
        assert told(serving) == [SLOW, "this is 0", "this is 1", "this is 2", "asked after it"]


def test_a_turn_that_only_waits_is_never_given_up(tmp_path: Path):
    with Serving(tmp_path, TOML) as serving:
        slow = queued(serving, "t", "pace 500 say 60 words")
        waiting = queued(serving, "t", "this is next")
        for _ in range(5):  # as often as a turn is tried
            time.sleep(0.6)
            assert job(serving, waiting)["tries"] == 0
            ends(serving, "killed")
        until(lambda: job(serving, slow)["status"] == "failed")  # that one is
        over(serving, waiting)
        assert job(serving, waiting)["tries"] == 1


def test_a_turn_that_waits_for_one_that_was_asked_directly_is_not_tried(tmp_path: Path):
    with Serving(tmp_path, TOML) as serving, ThreadPoolExecutor() as pool:
        asked(serving, "t", "begun")
        direct = pool.submit(streamed, serving, "t", "pace 200 say 12 words")
        time.sleep(0.8)
        waiting = queued(serving, "t", "this is next")
        until(lambda: job(serving, waiting)["status"] == "running")
        until(lambda: job(serving, waiting)["tries"] == 0)
        direct.result()
        over(serving, waiting)
        assert job(serving, waiting)["tries"] == 1
        assert told(serving) == ["begun", "pace 200 say 12 words", "this is next"]


def test_a_turn_that_nobody_can_read_any_more_fails_and_holds_up_nobody(tmp_path: Path):
    """As it is when the server got another secret key."""
    with Serving(tmp_path, TOML) as serving:
        first, second = queued(serving, "t", SLOW), queued(serving, "t", "this is next")
        serving.kill()
        with closing(sqlite3.connect(serving.data / "midstream.db")) as database, database:
            database.execute("UPDATE jobs SET request = x'00' WHERE id = ?", (first,))
        serving.start()
        over(serving, second)
        assert job(serving, first)["status"] == "failed"
        assert job(serving, first)["result"]["message_id"] == first


# streams that wait


class Heard:
    """A stream as its client hears it. after: seconds until its head came, 0.0 = not yet."""

    def __init__(self, serving: Serving, body: dict[str, Any], path: str = ASK) -> None:
        self._began = time.monotonic()
        self._connection = HTTPConnection("127.0.0.1", serving.port, timeout=30)
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        self._connection.request("POST", path, msgspec.json.encode(body), headers)
        self.after = 0.0

    def head(self) -> Heard:
        self._reply = self._connection.getresponse()
        self.after = time.monotonic() - self._began
        self.status = self._reply.status
        self.headers = {name.lower() for name, _ in self._reply.getheaders()}
        return self

    def piece(self) -> bytes:
        """What comes next."""
        return self._reply.read1()

    def rest(self) -> bytes:
        with closing(self._connection), self._reply:
            return self._reply.read()

    def hangs_up(self) -> None:
        self._connection.close()


def asks(thread: str, user: str) -> dict[str, Any]:
    return {"user": user, "service": "midstream", "model": "rehearsal", "thread_id": thread, "stream": True}


def failed(body: bytes) -> str:
    """The code of the error event that is all there is in a stream."""
    name, data = body.replace(PING, b"").strip().split(b"\ndata: ")
    assert name == b"event: error"
    return str(msgspec.json.decode(data)["code"])


#: Longer than nothing is said to those who wait.
LONG = "pace 500 say 26 words"
HELD = 10.0
PING = b": keepalive\n\n"


def test_a_stream_that_waits_for_its_turn_is_kept_alive_until_it_begins(tmp_path: Path):
    with Serving(tmp_path, TOML) as serving, ThreadPoolExecutor() as pool:
        agent = Agents(serving).agent(service="midstream", configuration={"model": "rehearsal"})
        v1 = "/api/v1/conversation"
        begun = serving.ask("POST", v1, {"agentId": agent, "message": "begun", "stream": False}).json
        asked(serving, "t", "begun")
        said = {"agentId": agent, "conversationId": begun["conversationId"]}
        first = [
            Heard(serving, {**said, "message": LONG}, v1).head(), Heard(serving, asks("t", LONG)).head()
        ]  # fmt: skip
        at_once = Heard(serving, {**said, "message": "now", "waitForTurn": False}, v1).head()
        assert b"conversation_busy" in at_once.rest()
        assert (at_once.status, at_once.after < 2) == (409, True)
        nobody = Heard(serving, {**asks("t", "this is next"), "agent_id": "nobody"}).head()
        assert b"agent_not_found" in nobody.rest()
        assert (nobody.status, nobody.after < 2) == (404, True)
        waiting = [Heard(serving, {**said, "message": "this is next"}, v1), Heard(serving, asks("t", "this is next"))]
        for one in pool.map(Heard.head, waiting):
            assert HELD - 0.5 < one.after < HELD + 1.5
            assert one.status == 200
            assert "x-request-id" in one.headers
            assert not one.headers & {"x-run-id", "x-midstream-attempts"}
            assert one.piece() == PING
        told_v1, told_v2 = [one.rest().replace(PING, b"") for one in waiting]
        assert told_v1.startswith(b"event: conversation\n")
        assert b"event: done" in told_v1
        assert b"event: done" in told_v2
        assert all(b"event: done" in one.rest() for one in first)


def test_who_hangs_up_while_it_waits_leaves_the_line_and_nothing_is_asked(tmp_path: Path):
    with Serving(tmp_path, TOML + "[limits]\norg_in_flight = 2\n") as serving:
        asked(serving, "t", "begun")
        first = Heard(serving, asks("t", "pace 200 say 30 words")).head()

        def answered() -> int:
            """To one who asks for something else meanwhile."""
            return serving.ask("POST", ASK, {**asks("u", "hi"), "is_playground": True}).status

        for stream in (True, False):
            waiting = Heard(serving, {**asks("t", "never mind"), "stream": stream})
            until(lambda: answered() == 429)  # it is under way
            waiting.hangs_up()
            until(lambda: answered() == 200, 2)
        assert [one["status"] for one in serving.attempts()].count("started") == 1  # the first still is
        assert b"event: done" in first.rest()
        asked(serving, "t", "this is next")
        assert told(serving) == ["begun", "pace 200 say 30 words", "this is next"]
        runs = serving.ask("GET", "/v1/admin/runs?limit=100").json["data"]
        assert {one["status"] for one in runs} == {"completed"}


def test_a_server_that_stops_tells_those_who_wait_in_their_stream(tmp_path: Path):
    with Serving(tmp_path, TOML.replace("0.3", "30")) as serving:
        asked(serving, "t", "begun")
        first = Heard(serving, asks("t", LONG)).head()
        waiting = Heard(serving, asks("t", "never mind")).head()
        plain = Heard(serving, {**asks("t", "never mind"), "stream": False})
        time.sleep(0.3)
        assert serving.process is not None
        serving.process.send_signal(signal.SIGTERM)
        assert failed(waiting.rest()) == "server_busy"
        assert b"server_busy" in plain.head().rest()
        assert plain.status == 503
        assert b"event: done" in first.rest()  # which had its time
        assert serving.process.wait(20) == 0


# several servers


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivateServer]:
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def servers(postgres: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Serving]]:
    database = postgres.create()
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    one, two = [Serving(folder, TOML, MIDSTREAM_DATABASE_URL=database, MIDSTREAM_SECRET_KEY=KEY) for folder in folders]
    with one, two:
        yield one, two


def test_turns_that_two_servers_accept_in_turn_are_made_in_that_order(servers: tuple[Serving, Serving]):
    for thread in ("a", "b", "c"):
        ids = [queued(servers[n % 2], thread, f"this is {n}") for n in range(8)]
        over(servers[0], *ids)
        assert told(servers[1]) == [f"this is {n}" for n in range(8)]


def test_turns_asked_at_two_servers_are_made_first_come_first_served(servers: tuple[Serving, Serving]):
    asked(servers[0], "d", "begun")
    with ThreadPoolExecutor() as pool:
        turns = []
        for n, at in enumerate((0, 1, 0, 0, 0, 1, 1)):
            turns.append(pool.submit(streamed, servers[at], "d", f"this is {n}" if n else SLOW))
            time.sleep(0.25)
        for turn in turns:
            turn.result()
    assert told(servers[1]) == ["begun", SLOW, *[f"this is {n}" for n in range(1, 7)]]


def test_who_has_an_answer_may_ask_for_the_next_at_once_at_either_server(servers: tuple[Serving, Serving]):
    agent = Agents(servers[0]).agent(limits={"agent": 100, "thread": 100})
    v1 = "/api/v1/conversation"
    said = {"agentId": agent, "message": "say 1 words", "stream": False, "waitForTurn": False}
    begun = servers[0].ask("POST", v1, said).json
    said["conversationId"] = begun["conversationId"]
    assert [servers[n % 2].ask("POST", v1, said).status for n in range(60)] == [200] * 60


def test_what_a_killed_server_had_begun_is_made_by_the_other_one_before_what_waited(servers: tuple[Serving, Serving]):
    one, two = servers
    first = queued(one, "e", SLOW)
    time.sleep(0.6)
    second = queued(two, "e", "this is next")
    one.kill()
    over(two, first, second, seconds=120)
    assert told(two) == [SLOW, "this is next"]
    one.start()


@pytest.mark.long
def test_a_stream_that_waits_for_a_turn_at_another_server_is_kept_alive_until_it_begins(
    servers: tuple[Serving, Serving],
):
    one, two = servers
    for thread in ("f", "g"):
        asked(one, thread, "begun")
    firsts = [Heard(one, asks(thread, LONG)).head() for thread in ("f", "g")]
    waiting = [Heard(two, asks(thread, "this is next")) for thread in ("f", "g")]
    gone = Heard(two, asks("f", "never mind"))
    time.sleep(0.5)
    gone.hangs_up()
    for each in waiting:
        assert HELD - 0.5 < each.head().after < HELD + 1.5
        assert each.piece() == PING
    assert b"event: done" in waiting[0].rest()
    assert b"event: done" in waiting[1].rest()
    assert all(b"event: done" in first.rest() for first in firsts)
    assert told(one) == ["begun", LONG, "this is next"]


def test_a_server_that_stops_tells_those_who_wait_for_a_turn_at_another_one(servers: tuple[Serving, Serving]):
    one, two = servers
    asked(one, "h", "begun")
    first = Heard(one, asks("h", LONG)).head()
    waiting = Heard(two, asks("h", "never mind")).head()
    soon = Heard(two, asks("h", "never mind"))
    time.sleep(0.3)
    assert two.process is not None
    two.process.send_signal(signal.SIGTERM)
    assert failed(waiting.rest()) == "server_busy"
    assert b"server_busy" in soon.head().rest()
    assert soon.status == 503
    assert two.process.wait(20) == 0
    two.start()
    assert b"event: done" in first.rest()
    asked(two, "h", "this is next")
    assert told(one) == ["begun", LONG, "this is next"]


def said(serving: Serving, more: str = "") -> list[tuple[str, str]]:
    """What stands in the newest conversation: text and error."""
    newest = serving.ask("GET", "/api/v1/conversation/chat-history?limit=1").json["data"][0]["id"]
    messages = serving.ask("GET", f"/api/v1/conversation/{newest}{more}").json["messages"]
    return [(message["text"], message.get("error", {}).get("code", "")) for message in messages]


@pytest.mark.long
def test_what_was_asked_while_a_server_stood_still_stays_when_that_one_comes_back(servers: tuple[Serving, Serving]):
    one, two = servers
    asked(one, "i", "begun")
    first = Heard(one, asks("i", SLOW)).head()
    time.sleep(0.6)
    assert one.process is not None
    one.process.send_signal(signal.SIGSTOP)
    try:
        asked(two, "i", "this is next")  # once the first one's turn is no longer kept for it
        shown = said(two)
        assert [text for text, _ in shown][-2:] == [
            "this is next",
            "This is the rehearsal model. You said (3 words): this is next",
        ]
    finally:
        one.process.send_signal(signal.SIGCONT)
    first.rest()
    until(lambda: len(said(two, "?all=true")) == 6)
    assert [text for text, error in said(two) if not error] == [text for text, _ in shown]


@pytest.mark.long
def test_what_a_killed_server_left_stands_with_its_error_before_what_the_other_went_on_with(
    servers: tuple[Serving, Serving],
):
    one, two = servers
    asked(one, "j", "begun")
    cut = Heard(one, asks("j", LONG)).head()
    time.sleep(0.6)
    one.kill()
    cut.hangs_up()
    asked(two, "j", "this is next")
    until(lambda: "interrupted" in [error for _, error in said(two)], 90)
    told = [("begun", ""), (LONG, ""), ("", "interrupted"), ("this is next", "")]
    assert [one for one in said(two) if not one[0].startswith("This is the rehearsal")] == told
    one.start()


# turns that do not come to their turn


def not_begun(one: Serving, two: Serving) -> None:
    """Of an agent with six points, turns that were never made leave all but those of the others. They are asked at
    two servers, or at one."""
    agents = Agents(one)
    agent = agents.agent(limits={"agent": 6, "thread": 6})
    v1 = "/api/v1/conversation"
    said = {"agentId": agent, "conversationId": agents.say(agent, "begun").json["conversationId"]}
    unknown = "5e0d8d5c-39b8-7d65-8e0c-4f0f7b4c4a11"

    def refused(**more: Any) -> int:
        began = time.monotonic()
        status = two.ask("POST", v1, {**said, "message": "x", **more}).status
        assert time.monotonic() - began < 2
        return status

    first = Heard(one, {**said, "message": "pace 400 say 14 words"}, v1).head()
    for _ in range(6):
        assert refused(waitForTurn=False) == 409
    for stream in (True, False):
        waiting = [Heard(two, {**said, "message": "never mind", "stream": stream}, v1) for _ in range(2)]
        time.sleep(0.4)
        for each in waiting:
            each.hangs_up()
    for _ in range(3):
        assert refused(documentIds=["doc_nobody"]) == 404
        assert refused(documentIds=["doc_nobody"], conversationId=None) == 404
        assert refused(editMessageId=unknown) == 404
        assert refused(message=None, regenerateMessageId=unknown) == 404
    assert b"event: done" in first.rest()
    listed = two.ask("GET", f"{v1}/chat-history?agentId={agent}").json["data"]
    assert [row["id"] for row in listed] == [said["conversationId"]]
    time.sleep(0.3)
    answers = [two.ask("POST", v1, {**said, "message": "x", "stream": False}).status for _ in range(5)]
    assert answers == [200] * 4 + [429]


def test_turns_that_were_never_made_cost_no_points(tmp_path: Path):
    with Serving(tmp_path, TOML) as serving:
        not_begun(serving, serving)


def test_turns_that_were_never_made_at_another_server_cost_no_points(servers: tuple[Serving, Serving]):
    not_begun(*servers)
