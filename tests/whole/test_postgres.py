"""The server on PostgreSQL: the flows of the chat face, an outage under traffic, two servers on one database; and two
servers on one SQLite directory."""

from __future__ import annotations

import http.client
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..postgres import PrivateServer, private_postgres
from . import test_chat
from .conftest import TOML
from .serving import ADMIN_KEY, SECRET_KEY, Reply, Serving, free_port
from .test_chat import DONE, HI, REPLY, USAGE, ask, chunk
from .upstream import Said, Upstream, stream, whole

#: Seconds: time enough for anything that is to happen soon, on a busy machine.
SOON = 15.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivateServer]:
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def database(postgres: PrivateServer) -> str:
    return postgres.create()


@pytest.fixture(scope="module")
def serving(upstream: Upstream, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """What the chat tests ask, here with another database."""
    folder = tmp_path_factory.mktemp("on-postgres")
    where = {"MIDSTREAM_DATABASE_URL": database, "MIDSTREAM_SECRET_KEY": SECRET_KEY}
    with Serving(folder, TOML.format(url=upstream.url), **where) as running:
        yield running


@pytest.fixture(scope="module")
def other(upstream: Upstream, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A second server on the same database."""
    folder = tmp_path_factory.mktemp("also-on-postgres")
    where = {"MIDSTREAM_DATABASE_URL": database, "MIDSTREAM_SECRET_KEY": SECRET_KEY}
    with Serving(folder, TOML.format(url=upstream.url), **where) as running:
        yield running


test_bytes_go_through = test_chat.test_the_same_dialect_is_relayed_byte_for_byte_both_ways
test_streams_go_through = (
    test_chat.test_a_stream_is_relayed_byte_for_byte_and_our_usage_chunk_is_kept_from_who_did_not_ask
)
test_costs = test_chat.test_every_attempt_is_recorded_with_its_tokens_and_its_exact_cost
test_hanging_up = test_chat.test_a_client_that_hangs_up_stops_the_provider_and_what_was_spent_is_kept
test_hanging_up_early = test_chat.test_a_client_that_hangs_up_before_a_whole_answer_stops_the_provider_too
test_truncation = test_chat.test_a_truncated_answer_is_an_error_in_the_stream_never_a_stop
test_both_attempts = test_chat.test_a_busy_provider_is_asked_again_and_both_attempts_are_billed
test_fallback = test_chat.test_an_alias_falls_back_to_its_next_target
test_conversations = test_chat.test_a_conversation_is_continued_from_the_store_and_named_in_the_reply
test_other_conversations = test_chat.test_a_conversation_that_is_not_there_is_a_404_and_nothing_goes_upstream
test_the_edge = test_chat.test_the_edge_refuses_in_the_faces_grammar


def new_key(serving: Serving) -> dict[str, Any]:
    reply = serving.ask("POST", "/v1/admin/keys", {"name": "ours"})
    assert reply.status == 201
    return dict(reply.json)


def chat(serving: Serving, key: str = ADMIN_KEY, **body: Any) -> Reply:
    return serving.ask("POST", "/v1/chat/completions", {"model": "up/x", "messages": HI, **body}, key)


class Stream:
    """A stream that is read bit by bit."""

    def __init__(self, serving: Serving) -> None:
        body = msgspec.json.encode({"model": "up/x", "messages": HI, "stream": True})
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        request = urllib.request.Request(serving.url + "/v1/chat/completions", body, headers)
        self.reply: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=60)
        self.run: str = self.reply.headers["x-run-id"]
        self.text: bytes = self.reply.readline()

    def rest(self) -> bytes:
        self.text += self.reply.read()
        self.reply.close()
        return self.text


def refused_well(reply: Reply) -> None:
    assert reply.status == 503, (reply.status, reply.body)
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json["error"]["code"] == "store_unavailable"


def until_served(serving: Serving, key: str) -> None:
    deadline = time.monotonic() + SOON
    while (reply := chat(serving, key)).status != 200:
        refused_well(reply)
        assert time.monotonic() < deadline, serving.log()
        time.sleep(0.05)


def settled(serving: Serving, run: str) -> dict[str, Any]:
    deadline = time.monotonic() + SOON
    while True:
        row = dict(serving.ask("GET", f"/v1/admin/runs/{run}").json)
        if row["status"] != "running" or time.monotonic() > deadline:
            return row
        time.sleep(0.05)


def test_while_postgres_is_away_streams_go_on_and_nobody_new_is_let_in(
    serving: Serving, upstream: Upstream, postgres: PrivateServer
) -> None:
    key = new_key(serving)["key"]
    assert chat(serving, key).status == 200
    pieces: list[bytes | float] = []
    for number in range(20):
        pieces += [chunk(f"{number} "), 0.1]
    upstream.answer = lambda asked: (
        stream(*pieces, chunk(None, "stop"), USAGE, DONE) if asked.json.get("stream") else whole(REPLY)
    )
    streams = [Stream(serving) for _ in range(4)]
    until_known = time.monotonic() + 1.1  # as long as a key that was seen is believed
    postgres.stop()
    calls = len(upstream.asked)
    try:
        for _ in range(5):
            refused_well(chat(serving))
            refused_well(chat(serving, conversation={}))
            refused_well(chat(serving, key))
        ready = serving.ask("GET", "/readyz", key="")
        assert (ready.status, "store" in ready.json["reason"]) == (503, True)
        assert "retry-after" in ready.headers
        assert serving.ask("GET", "/healthz", key="").status == 200
        assert all(one.rest().endswith(DONE) for one in streams)
        time.sleep(max(0.0, until_known - time.monotonic()))
        refused_well(chat(serving, key))
        refused_well(chat(serving, "ms-nobody"))  # who cannot be known is not refused for ever
        assert len(upstream.asked) == calls, "nothing left without its attempt"
    finally:
        postgres.start()
    until_served(serving, key)
    assert serving.ask("GET", "/readyz", key="").status == 200
    assert chat(serving, "ms-nobody").status == 401
    for one in streams:
        run = settled(serving, one.run)
        [attempt] = run["attempts"]
        assert (run["status"], attempt["status"], attempt["usage"]["output_tokens"]) == ("completed", "ok", 2)
        assert not attempt["usage"]["estimated"]


def test_after_a_crash_of_postgres_under_traffic_the_server_serves_again(
    serving: Serving, upstream: Upstream, postgres: PrivateServer
) -> None:
    upstream.answer = lambda asked: whole(REPLY)
    postgres.stop(signal.SIGQUIT)
    try:
        with ThreadPoolExecutor(8) as clients:
            for reply in clients.map(lambda _: chat(serving), range(16)):
                refused_well(reply)
        assert serving.ask("GET", "/healthz", key="").status == 200
    finally:
        postgres.start()
    until_served(serving, ADMIN_KEY)


def test_while_postgres_stands_still_streams_go_on_and_nobody_new_waits_for_long(
    serving: Serving, upstream: Upstream, postgres: PrivateServer
) -> None:
    key = new_key(serving)["key"]
    pieces: list[bytes | float] = []
    for number in range(30):
        pieces += [chunk(f"{number} "), 0.1]
    upstream.answer = lambda asked: (
        stream(*pieces, chunk(None, "stop"), USAGE, DONE) if asked.json.get("stream") else whole(REPLY)
    )
    streams = [Stream(serving) for _ in range(3)]
    assert chat(serving, key).status == 200
    calls = len(upstream.asked)

    def timed(number: int) -> tuple[Reply, float]:
        began = time.monotonic()
        reply = chat(serving, key if number % 2 else ADMIN_KEY, **({"conversation": {}} if number % 3 else {}))
        return reply, time.monotonic() - began

    postgres.freeze()
    try:
        with ThreadPoolExecutor(12) as clients:
            for reply, seconds in clients.map(timed, range(24)):
                refused_well(reply)
                assert seconds < 6, serving.log()
        assert serving.ask("GET", "/readyz", key="").status == 503
        assert serving.ask("GET", "/healthz", key="").status == 200
        assert all(one.rest().endswith(DONE) for one in streams)
        assert len(upstream.asked) == calls, "nothing left without its attempt"
    finally:
        postgres.freeze(signal.SIGCONT)
    until_served(serving, key)
    for one in streams:
        run = settled(serving, one.run)
        assert (run["status"], [attempt["status"] for attempt in run["attempts"]]) == ("completed", ["ok"])


@pytest.mark.long
def test_what_a_killed_server_left_is_ended_by_the_next_once_it_has_been_silent_for_long(
    upstream: Upstream, postgres: PrivateServer, tmp_path: Path
) -> None:
    """By itself, in real time: no clock is moved."""
    upstream.answer = lambda asked: stream(chunk("one"), 30.0, DONE)
    with Serving(tmp_path, TOML.format(url=upstream.url), MIDSTREAM_DATABASE_URL=postgres.create()) as serving:
        cut = Stream(serving)
        serving.kill()
        serving.start()
        deadline = time.monotonic() + 90
        while (run := serving.ask("GET", f"/v1/admin/runs/{cut.run}").json)["status"] == "running":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert (run["status"], run["error_code"]) == ("failed", "interrupted")
        assert [attempt["status"] for attempt in run["attempts"]] == ["unknown"]


def test_two_servers_share_one_database_and_no_two_ids_are_the_same(
    serving: Serving, other: Serving, upstream: Upstream
) -> None:
    upstream.answer = lambda asked: whole(REPLY)
    with ThreadPoolExecutor(16) as clients:
        replies = [*clients.map(lambda number: chat((serving, other)[number % 2]), range(80))]
    assert {reply.status for reply in replies} == {200}
    runs = {reply.headers["x-run-id"] for reply in replies}
    assert len(runs) == len(replies) == len(upstream.asked)
    rows = [row for row in other.attempts() if row["run_id"] in runs]
    assert len(rows) == len({row["id"] for row in rows}) == len(replies)
    assert {row["status"] for row in rows} == {"ok"}


def test_a_key_that_is_revoked_on_one_server_is_refused_by_the_other_within_a_second(
    serving: Serving, other: Serving, upstream: Upstream
) -> None:
    upstream.answer = lambda asked: whole(REPLY)
    key = new_key(serving)
    assert chat(other, key["key"]).status == 200
    assert serving.ask("DELETE", f"/v1/admin/keys/{key['id']}").status == 200
    revoked = time.monotonic()
    assert chat(serving, key["key"]).status == 401
    while time.monotonic() < revoked + 1.0:
        chat(other, key["key"])  # asking again and again does not keep it alive
        time.sleep(0.05)
    assert chat(other, key["key"]).status == 401


def test_the_first_own_model_of_an_org_that_the_other_server_made_does_not_exist_here_soon(
    serving: Serving, other: Serving, upstream: Upstream
) -> None:
    upstream.answer = lambda _: whole(REPLY)
    assert chat(serving, model="up/ft-theirs").status == 200
    org = other.ask("POST", "/v1/admin/orgs", {"name": "theirs"}).json["id"]
    body = {"name": "theirs", "service": "up", "model": "ft-theirs", "org_id": org}
    made = other.ask("POST", "/v1/admin/models", body)
    assert made.status == 201, made.body
    deadline = time.monotonic() + SOON
    while (reply := chat(serving, model="up/ft-theirs")).status != 404:
        assert time.monotonic() < deadline, reply.body
        time.sleep(0.05)
    assert other.ask("DELETE", f"/v1/admin/models/{made.json['id']}?org_id={org}").status == 200
    while chat(serving, model="up/ft-theirs").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_one_server_publishes_the_other_answers_with_within_a_second(
    serving: Serving, other: Serving, upstream: Upstream
) -> None:
    upstream.answer = lambda asked: whole(REPLY)
    at = "/v1/admin/agents"
    many = {"agent": 100_000, "thread": 100_000}
    spec = {"service": "up", "configuration": {"model": "v0"}, "limits": many}
    made = serving.ask("POST", at, {"name": "a", "slug": "spread", **spec})
    agent, version = made.json["id"], made.json["version_id"]

    def publish() -> float:
        assert serving.ask("POST", f"{at}/{agent}/publish", {"version_id": version}).status == 200
        return time.monotonic()

    def answers(which: Serving) -> str:
        reply = which.ask("POST", "/api/v1/conversation", {"agentId": "spread", "message": "hi", "stream": False})
        assert reply.status == 200, reply.body
        return str(upstream.asked[-1].json["model"])

    publish()
    time.sleep(1.0)  # the other server may have just learned that there is no such agent
    assert answers(other) == "v0"
    for number in range(1, 6):
        draft = serving.ask("POST", f"{at}/{agent}/versions", {"configuration": {"model": f"v{number}"}}).json
        version = draft["id"]
        assert answers(other) == answers(serving) == f"v{number - 1}"  # a draft changes nothing
        published = publish()
        assert answers(serving) == f"v{number}"
        while True:
            asked = time.monotonic()
            if (seen := answers(other)) == f"v{number}":
                break
            assert seen == f"v{number - 1}"
            assert asked < published + 1.0, "a turn that begins a second later has it"
            time.sleep(0.01)


def test_a_conversation_that_goes_on_at_the_other_server_knows_all_that_was_said(
    serving: Serving, other: Serving, upstream: Upstream
) -> None:
    def answer(asked: Any) -> Said:
        words = "re: " + asked.json["messages"][-1]["content"]
        return whole({**REPLY, "choices": [{"index": 0, "message": {"role": "assistant", "content": words}}]})

    upstream.answer = answer
    id: Any = {}
    said: list[str] = []
    for number in range(6):
        words = f"turn {number}"
        reply = ask((serving, other)[number % 2], conversation=id, messages=[{"role": "user", "content": words}])
        id = reply.headers["x-conversation-id"]
        assert [message["content"] for message in upstream.asked[-1].json["messages"]] == [*said, words]
        said += [words, f"re: {words}"]


def test_a_second_server_on_one_data_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with Serving(folders[0]) as first:
        second = Serving(folders[1])
        second.data = first.data
        second.port = free_port()
        with pytest.raises(AssertionError, match="is in use by another midstream server"):
            second.start()
        assert second.process is not None
        assert second.process.returncode == 1
        assert "Traceback" not in second.log()
        assert first.ask("GET", "/readyz").status == 200
