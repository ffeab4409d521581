"""Live channels of two servers on one PostgreSQL: who listens at one of them hears what the other one says."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..postgres import PrivateServer, private_postgres
from .agents_at import Agents
from .serving import Serving
from .test_live import ASK, hearing, later, names, said, silent, until_end

KEY = "c2VjcmV0LWtleS1vZi10d28tc2VydmVycy0wMTIzNDU="


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivateServer]:
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def servers(postgres: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Serving]]:
    database = postgres.create()
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    one, two = [Serving(folder, MIDSTREAM_DATABASE_URL=database, MIDSTREAM_SECRET_KEY=KEY) for folder in folders]
    with one, two:
        time.sleep(0.5)  # both listen
        yield one, two


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return f"of {request.node.name}"[:200]


def test_who_listens_at_another_server_hears_every_piece_once_in_order_and_soon(
    servers: tuple[Serving, Serving], channel: str
):
    one, two = servers
    with hearing(one, channel) as near, hearing(two, channel) as far:
        id = later(Agents(one), channel, "say 30 words pace 5", service="midstream", model="rehearsal", stream=True)
        here, there = until_end(near), until_end(far)
    assert there == here  # also their numbers: who comes back may come back to either
    assert names(there) == ["started", *["delta"] * 30, "done"]
    assert {message["message_id"] for message in there} == {id}
    assert sorted({message["id"] for message in there}) == [message["id"] for message in there]


def test_who_comes_back_to_the_other_server_hears_the_rest_once(servers: tuple[Serving, Serving], channel: str):
    one, two = servers
    with hearing(one, channel) as near:
        later(Agents(one), channel, "say 20 words pace 10", service="midstream", model="rehearsal", stream=True)
        first = [said(near) for _ in range(5)]
    with hearing(two, channel, after=first[-1]["id"]) as far:
        rest = until_end(far)
        assert silent(far)
    assert names(first + rest) == ["started", *["delta"] * 20, "done"]


def test_a_long_answer_arrives_whole(servers: tuple[Serving, Serving], channel: str):
    one, two = servers
    words = 'a "quoted" word, a \\ and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \N{ZERO WIDTH JOINER} ' * 400
    with hearing(two, channel) as far:
        later(Agents(one), channel, words, service="midstream", model="rehearsal")
        heard = until_end(far)
    assert words.strip() in heard[-1]["data"]["data"]["content"]


def test_a_chatbots_thread_is_heard_from_either_server(servers: tuple[Serving, Serving], channel: str):
    one, two = servers
    agents = Agents(one)
    bot = agents.agent(type="chatbot", settings={"titles": False})
    asked = {"agent_id": bot, "user": "hello", "thread_id": channel}
    with hearing(two, channel) as far:
        reply = one.ask("POST", ASK, asked).json
        [message] = until_end(far)
    assert (message["event"], message["data"]["data"]["content"]) == ("done", reply["data"]["content"])


def test_two_who_speak_at_once_in_one_channel_are_both_heard_once_with_rising_numbers(
    servers: tuple[Serving, Serving], channel: str
):
    asked = {"service": "midstream", "model": "rehearsal", "stream": True}
    with hearing(servers[0], channel) as near, hearing(servers[1], channel) as far:
        ids = [later(Agents(one), channel, "say 20 words pace 3", **asked) for one in servers]
        for listener in (near, far):
            heard = [said(listener) for _ in range(2 * 22)]
            assert silent(listener, 0.2)
            numbers = [message["id"] for message in heard]
            assert numbers == sorted(set(numbers))
            for id in ids:
                own = [message for message in heard if message["message_id"] == id]
                assert names(own) == ["started", *["delta"] * 20, "done"]


def test_who_joins_while_another_listens_hears_ends_of_other_servers_once(
    servers: tuple[Serving, Serving], channel: str
):
    one, two = servers
    with hearing(two, channel) as first:
        later(Agents(one), channel, "say 1 words", service="midstream", model="rehearsal")
        assert names(until_end(first)) == ["started", "done"]
        with hearing(two, channel) as second:
            assert names(until_end(second)) == ["started", "done"]
            assert silent(second)
        assert silent(first, 0.1)


def closed(connection: ClientConnection, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    with pytest.raises(ConnectionClosed) as ended:
        while True:
            connection.recv(timeout=deadline - time.monotonic())
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code


def test_who_listens_elsewhere_is_sent_back_when_a_server_was_killed_and_hears_its_ends(
    servers: tuple[Serving, Serving], channel: str
):
    """What it said last may not have come here: the store has it."""
    one, two = servers
    with hearing(two, channel) as far:
        later(Agents(one), channel, "say 1 words", service="midstream", model="rehearsal")
        heard = until_end(far)
        one.kill()
        assert closed(far, 30) == 1012
    one.start()
    with hearing(two, channel, after=heard[0]["id"]) as again:
        assert said(again) == {"event": "gap"}
        assert names([said(again)]) == ["done"]
        assert silent(again)


def test_while_postgres_is_away_who_listens_is_sent_back(
    servers: tuple[Serving, Serving], postgres: PrivateServer, channel: str
):
    one, two = servers
    with hearing(two, channel) as far:
        postgres.stop()
        postgres.start()
        assert closed(far, 30) == 1012
    deadline = time.monotonic() + 20
    while one.ask("GET", "/readyz").status != 200 or two.ask("GET", "/readyz").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with hearing(two, channel) as again:
        later(Agents(one), channel, "say 2 words", service="midstream", model="rehearsal", stream=True)
        assert names(until_end(again)) == ["started", "delta", "delta", "done"]
