"""Turns of one conversation are made in the order in which they were accepted: over the ends of servers, and by several
of them."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..postgres import PrivateServer, private_postgres
from .serving import Serving
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


def test_what_a_killed_server_had_begun_is_made_by_the_other_one_before_what_waited(servers: tuple[Serving, Serving]):
    one, two = servers
    first = queued(one, "e", SLOW)
    time.sleep(0.6)
    second = queued(two, "e", "this is next")
    one.kill()
    over(two, first, second, seconds=120)
    assert told(two) == [SLOW, "this is next"]
    one.start()
