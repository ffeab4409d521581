"""Live channels on a real server, heard by a real WebSocket client, also when the server is killed."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from midstream.delivery.live import BEHIND

from .agents_at import Agents
from .serving import ADMIN_KEY, Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.gone]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
[providers.vectors]
kind = "openai_compatible"
base_url = "{url}/v1"
[limits]
org_live = 4
agent_points = 1000
"""
HISTORY = "/api/v1/conversation"
ASK = "/api/v2/model/chat/completion"


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    folder = tmp_path_factory.mktemp("live")
    with (
        Upstream(vector) as upstream,
        Serving(folder, TOML.format(port=tools.port, url=upstream.url), MIDSTREAM_LOG="debug") as serving,
    ):
        yield Agents(serving)


def vector(asked: Asked) -> Said:
    assert asked.path == "/v1/embeddings"
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    return whole({"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}})


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return f"of {request.node.name}"[:200]


def token(serving: Serving, channel: str, key: str = ADMIN_KEY, **more: Any) -> dict[str, Any]:
    reply = serving.ask("POST", "/v1/live/tokens", {"channel": channel, **more}, key=key)
    assert reply.status == 201, reply.body
    return dict(reply.json)


@contextlib.contextmanager
def hearing(
    serving: Serving, channel: str, after: int | None = None, key: str = ADMIN_KEY, **more: Any
) -> Iterator[ClientConnection]:
    opened = token(serving, channel, key)["token"]
    place = "" if after is None else f"&after={after}"
    with connect(f"ws://127.0.0.1:{serving.port}/v1/live?token={opened}{place}", **more) as connection:
        assert said(connection) == {"event": "ready", "channel": channel}
        yield connection


def said(connection: ClientConnection, seconds: float = 60) -> dict[str, Any]:
    """The next message that is not there only to show that the server is."""
    deadline = time.monotonic() + seconds
    while True:
        raw = connection.recv(timeout=max(0.0, deadline - time.monotonic()))
        message = msgspec.json.decode(raw, type=dict[str, Any])
        if message["event"] != "ping":
            return message


def until_end(connection: ClientConnection) -> list[dict[str, Any]]:
    heard = [said(connection)]
    while heard[-1]["event"] not in ("done", "error"):
        heard.append(said(connection))
    return heard


def silent(connection: ClientConnection, seconds: float = 0.5) -> bool:
    try:
        return not said(connection, seconds)
    except TimeoutError:
        return True


def later(agents: Agents, channel: str, user: str, key: str = ADMIN_KEY, **more: Any) -> str:
    body = {"user": user, "response_format": {"type": "RTLayer", "cred": {"channel": channel}}, **more}
    reply = agents.serving.ask("POST", ASK, body, key=key)
    assert reply.json["success"] is True, reply.body
    return str(reply.json["message_id"])


def names(heard: list[dict[str, Any]]) -> list[str]:
    return [message["event"] for message in heard]


def test_a_channel_hears_the_tools_the_text_and_the_answer_once_each_in_order(
    agents: Agents, tools: ToolServer, channel: str
):
    agent = agents.agent(tool_ids=[agents.tool("weather", f"{tools.url}/echo/weather")])
    with hearing(agents.serving, channel) as connection:
        id = later(agents, channel, "ask weather please", agent_id=agent, stream=True)
        heard = until_end(connection)
        assert silent(connection)
    assert {message["message_id"] for message in heard} == {id}
    numbers = [message["id"] for message in heard]
    assert numbers == sorted(set(numbers))
    told = names(heard)
    assert told[:3] == ["started", "tool_call", "tool_result"]
    assert set(told[3:-1]) == {"delta"}
    done = heard[-1]["data"]
    assert "".join(message["data"]["content"] for message in heard[3:-1]) == done["data"]["content"]
    assert done["data"]["message_id"] == id
    assert heard[1]["data"]["id"] == heard[2]["data"]["id"]
    assert heard[2]["data"]["status"] == "ok"
    job = agents.serving.ask("GET", f"/v1/admin/jobs/{id}").json
    assert job["result"] == done


def test_a_turn_without_stream_is_heard_without_its_pieces(agents: Agents, tools: ToolServer, channel: str):
    agent = agents.agent(tool_ids=[agents.tool("clock", f"{tools.url}/echo/clock")])
    with hearing(agents.serving, channel) as connection:
        later(agents, channel, "ask clock", agent_id=agent)
        assert names(until_end(connection)) == ["started", "tool_call", "tool_result", "done"]


def test_a_failure_is_heard_where_the_answer_would_have_been(agents: Agents, channel: str):
    agent = agents.agent()
    with hearing(agents.serving, channel) as connection:
        id = later(agents, channel, "fail:400", agent_id=agent)
        heard = until_end(connection)
    assert names(heard) == ["started", "error"]
    assert heard[1]["data"]["success"] is False
    assert (heard[1]["message_id"], heard[1]["data"]["message_id"]) == (id, id)


def test_a_provider_that_is_left_alone_for_a_while_fails_the_turn_as_it_would_fail_a_caller(
    agents: Agents, channel: str
):
    asked = {"service": "gone", "model": "x"}
    with hearing(agents.serving, channel) as connection:
        codes = []
        for _ in range(6):
            later(agents, channel, "hi", **asked)
            codes.append(until_end(connection)[-1]["data"]["code"])
    assert codes[0] == "upstream_unreachable"
    assert codes[-1] == "server_busy"


def test_a_vector_that_is_given_later_is_given_once(agents: Agents, channel: str):
    asked = {"service": "vectors", "model": "e", "configuration": {"type": "embedding"}}
    with hearing(agents.serving, channel) as connection:
        id = later(agents, channel, "hi", **asked)
        heard = until_end(connection)
        assert silent(connection)
    assert names(heard) == ["started", "done"]
    assert heard[1]["data"]["data"]["embedding"] == [0.5, -1.0]
    assert agents.serving.ask("GET", f"/v1/admin/jobs/{id}").json["status"] == "done"


def test_a_turn_that_can_never_be_made_is_refused_at_once(agents: Agents):
    for cred in ({}, {"channel": ""}, {"channel": "x" * 201}, {"channel": 3}):
        body = {"user": "hi", "service": "midstream", "model": "rehearsal",
                "response_format": {"type": "RTLayer", "cred": cred}}  # fmt: skip
        reply = agents.serving.ask("POST", ASK, body)
        assert (reply.status, reply.json["code"]) == (400, "response_format_invalid")


def test_who_comes_back_hears_what_was_said_meanwhile_once(agents: Agents, channel: str):
    agent = agents.agent()
    with hearing(agents.serving, channel) as connection:
        id = later(agents, channel, "say 20 words pace 20", agent_id=agent, stream=True)
        first = [said(connection) for _ in range(5)]
    time.sleep(0.2)
    with hearing(agents.serving, channel, first[-1]["id"]) as connection:
        heard = first + until_end(connection)
    assert "gap" not in names(heard)
    assert "".join(one["data"]["content"] for one in heard if one["event"] == "delta").endswith("word20")
    assert names(heard).count("started") == names(heard).count("done") == 1
    with hearing(agents.serving, channel, heard[-1]["id"]) as connection:
        assert silent(connection)
        again = later(agents, channel, "say 1 words", agent_id=agent)
        assert {one["message_id"] for one in until_end(connection)} == {again}
    assert id != again


def test_who_has_the_token_before_the_question_hears_all_of_the_answer_however_late(agents: Agents, channel: str):
    agent = agents.agent()
    with hearing(agents.serving, channel) as connection:
        later(agents, channel, "say 1 words", agent_id=agent)
        until_end(connection)
    last = token(agents.serving, channel)["last_id"]
    id = later(agents, channel, "say 2 words", agent_id=agent)
    time.sleep(0.5)
    with hearing(agents.serving, channel, last) as connection:
        heard = until_end(connection)
    assert names(heard) == ["started", "done"]
    assert {one["message_id"] for one in heard} == {id}


def test_two_who_listen_hear_the_same(agents: Agents, channel: str):
    agent = agents.agent()
    with hearing(agents.serving, channel) as one, hearing(agents.serving, channel) as two:
        later(agents, channel, "say 5 words", agent_id=agent, stream=True)
        assert until_end(one) == until_end(two)


def test_a_killed_server_is_followed_by_one_that_begins_anew_and_tells_the_answer_once(agents: Agents, channel: str):
    agent = agents.agent()
    with hearing(agents.serving, channel) as connection:
        id = later(agents, channel, "say 30 words pace 20", agent_id=agent, stream=True)
        before = [said(connection) for _ in range(6)]
        agents.serving.kill()
        with pytest.raises(ConnectionClosed):
            while True:
                before.append(said(connection))
    assert set(names(before)) == {"started", "delta"}
    agents.serving.start()
    with hearing(agents.serving, channel, before[-1]["id"]) as connection:
        heard = until_end(connection)
        assert silent(connection)
    assert names(heard)[:2] == ["gap", "started"]
    anew = heard[2:]
    assert {one["message_id"] for one in anew} == {id}
    assert "".join(one["data"]["content"] for one in anew[:-1]) == anew[-1]["data"]["data"]["content"]
    assert anew[0]["id"] > before[-1]["id"]
    assert names(anew).count("done") == 1
    with hearing(agents.serving, channel, anew[-1]["id"]) as connection:
        assert silent(connection)


def test_however_often_a_server_is_killed_each_answer_is_heard_once(agents: Agents, channel: str):
    agent = agents.agent()
    asked = {
        later(agents, channel, f"say {number * 10} words pace 20", agent_id=agent, stream=True) for number in range(9)
    }
    heard: list[dict[str, Any]] = []
    gaps: set[int] = set()  # how much was heard before each
    for _ in range(4):
        last = heard[-1]["id"] if heard else None
        with contextlib.suppress(ConnectionClosed), hearing(agents.serving, channel, last) as connection:
            for _ in range(20):
                message = said(connection)
                if message["event"] == "gap":
                    gaps.add(len(heard))
                else:
                    heard.append(message)
            agents.serving.kill()
            while True:
                heard.append(said(connection))
        agents.serving.start()
    with hearing(agents.serving, channel, heard[-1]["id"]) as connection:
        while {message["message_id"] for message in heard if message["event"] == "done"} != asked:
            message = said(connection)
            if message["event"] == "gap":
                gaps.add(len(heard))
            else:
                heard.append(message)
        assert silent(connection)
    numbers = [message["id"] for message in heard]
    assert numbers == sorted(set(numbers))
    assert sorted(one["message_id"] for one in heard if one["event"] == "done") == sorted(asked)
    for id in asked:
        told = [message for message in heard if message["message_id"] == id]
        last_try = told[len(told) - names(told[::-1]).index("started") - 1 :]
        whole_text = last_try[-1]["data"]["data"]["content"]
        text = "".join(one["data"]["content"] for one in last_try[1:-1])
        if text != whole_text:  # what a killed server had said and not sent: its beginning was heard, then of a gap
            assert whole_text.startswith(text)
            assert gaps & {*range(heard.index(last_try[-2]) + 1, heard.index(last_try[-1]) + 1)}


def test_an_answer_that_was_there_before_the_kill_is_heard_after_it_once(agents: Agents, channel: str):
    agent = agents.agent()
    last = token(agents.serving, channel)["last_id"]
    ids = [later(agents, channel, "say 3 words", agent_id=agent) for _ in range(3)]
    with hearing(agents.serving, channel) as connection:
        told = [message for _ in ids for message in until_end(connection) if message["event"] == "done"]
    agents.serving.kill()
    agents.serving.start()
    with hearing(agents.serving, channel, last) as connection:
        assert said(connection) == {"event": "gap"}
        assert [said(connection) for _ in ids] == told
        assert silent(connection)
    with hearing(agents.serving, channel, told[0]["id"]) as connection:
        assert said(connection) == {"event": "gap"}
        assert [said(connection) for _ in ids[1:]] == told[1:]
        assert silent(connection)


def test_a_server_that_stops_says_so_and_the_next_one_goes_on(channel: str, tmp_path: Path):
    with Serving(tmp_path, "[server]\nlame_duck_seconds = 0.0\ndrain_seconds = 0.2\n") as serving:
        agents = Agents(serving)
        agent = agents.agent()
        with hearing(serving, channel) as connection:
            later(agents, channel, "say 40 words pace 50", agent_id=agent, stream=True)
            last = [said(connection) for _ in range(3)][-1]["id"]
            assert serving.process is not None
            serving.process.terminate()
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    last = said(connection)["id"]
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert serving.process.wait(20) == 0
        serving.start()
        with hearing(serving, channel, last) as connection:
            heard = until_end(connection)
            assert names(heard)[:2] == ["gap", "started"]
            assert heard[-1]["event"] == "done"
            assert silent(connection)
        run = serving.ask("GET", f"/v1/admin/jobs/{heard[-1]['message_id']}").json["run_id"]
        assert serving.ask("GET", f"/v1/admin/runs/{run}").json["status"] == "completed"


def refusal(serving: Serving, query: str, **headers: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{serving.port}/v1/live{query}", additional_headers=headers).close()
    reply = refused.value.response
    assert reply.headers["x-request-id"].startswith("req_")
    return reply.status_code, msgspec.json.decode(reply.body or b"")["error"]["code"]


def test_only_tokens_open_a_channel_and_only_their_own_while_they_last(agents: Agents, channel: str):
    serving = agents.serving
    good = token(serving, channel)["token"]
    assert refusal(serving, "") == (401, "invalid_token")
    for text in ("x", good[:-1], good[1:], ADMIN_KEY, ""):
        assert refusal(serving, f"?token={text}") == (401, "invalid_token")
    assert refusal(serving, "", Authorization=f"Bearer {ADMIN_KEY}") == (401, "invalid_token")
    assert refusal(serving, f"?token={good}&channel=another") == (403, "permission_denied")
    assert refusal(serving, f"?token={good}&after=-1") == (400, "invalid_request")
    short = token(serving, channel, seconds=1)
    time.sleep(max(0.0, short["expires_at"] - time.time()) + 0.1)
    assert refusal(serving, f"?token={short['token']}") == (401, "invalid_token")
    url = f"ws://127.0.0.1:{serving.port}/v1/live"
    with connect(url, additional_headers={"Authorization": f"Bearer {good}"}) as connection:
        assert said(connection)["channel"] == channel


def test_what_is_not_known_in_the_address_is_refused_by_name(agents: Agents, channel: str):
    good = token(agents.serving, channel)["token"]
    assert refusal(agents.serving, f"?token={good}&last_id=7") == (400, "unknown_parameter")
    assert refusal(agents.serving, "?last_id=7") == (401, "invalid_token")


def test_a_refused_listener_is_no_error_in_the_log(agents: Agents, channel: str):
    serving = agents.serving
    before = len(serving.log())
    assert refusal(serving, "") == (401, "invalid_token")
    assert refusal(serving, f"?token={token(serving, channel)['token']}&after=x") == (400, "invalid_request")
    with connect(f"ws://127.0.0.1:{serving.port}/v1/live", origin="https://app.example") as page:  # type: ignore[arg-type]
        assert closed(page)[0] == 4401
    with hearing(serving, channel):  # whatever the others have left behind is written by now
        pass
    lines = [msgspec.json.decode(line) for line in serving.log()[before:].splitlines()]
    assert [line for line in lines if line["level"] in ("warning", "error", "critical")] == []


def closed(connection: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as over:
        while True:
            said(connection)
    assert over.value.rcvd is not None
    return over.value.rcvd.code, over.value.rcvd.reason


def test_a_page_hears_by_a_close_code_why_it_was_refused(agents: Agents, channel: str):
    url = f"ws://127.0.0.1:{agents.serving.port}/v1/live"
    with connect(f"{url}?token=x", origin="https://app.example") as connection:  # type: ignore[arg-type]
        code, reason = closed(connection)
        assert (code, reason.split(":")[0]) == (4401, "invalid_token")
    good = token(agents.serving, channel)["token"]
    with connect(f"{url}?token={good}", origin="https://app.example") as connection:  # type: ignore[arg-type]
        assert said(connection)["event"] == "ready"


def test_a_revoked_key_closes_what_its_tokens_have_opened(agents: Agents, channel: str):
    made = agents.post("/v1/admin/keys", {"name": "k"})
    with (
        hearing(agents.serving, channel, key=made["key"]) as connection,
        hearing(agents.serving, channel) as mine,
    ):
        late = token(agents.serving, channel, made["key"])["token"]
        assert agents.serving.ask("DELETE", f"/v1/admin/keys/{made['id']}").status == 200
        code, reason = closed(connection)
        assert (code, reason.split(":")[0]) == (4401, "invalid_token")
        assert silent(mine)
    assert refusal(agents.serving, f"?token={late}") == (401, "invalid_token")


def test_tokens_are_for_keys_that_may_chat_and_for_their_org_alone(agents: Agents, channel: str):
    serving = agents.serving
    org = agents.post("/v1/admin/orgs", {"name": "listeners"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org})["key"]
    only = agents.post("/v1/admin/keys", {"name": "e", "scopes": ["embeddings"]})["key"]
    body = {"channel": channel}
    assert serving.ask("POST", "/v1/live/tokens", body, key="").status == 401
    assert serving.ask("POST", "/v1/live/tokens", body, key=only).status == 403
    assert serving.ask("POST", "/v1/live/tokens", body, key=token(serving, channel)["token"]).status == 401
    for wrong in ({}, {"channel": ""}, {**body, "seconds": 0}, {**body, "seconds": 3601}, {**body, "org_id": org}):
        assert serving.ask("POST", "/v1/live/tokens", wrong).status == 400
    with hearing(serving, channel, key=key) as foreign, hearing(serving, channel) as mine:
        later(agents, channel, "say 2 words", agent_id=agents.agent())
        assert names(until_end(mine)) == ["started", "done"]
        assert silent(foreign)
    with hearing(serving, channel, key=key) as foreign:
        assert silent(foreign)


def test_an_org_may_have_so_many_connections_and_others_have_their_own(agents: Agents, channel: str):
    serving = agents.serving
    org = agents.post("/v1/admin/orgs", {"name": "more"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org})["key"]
    with contextlib.ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(hearing(serving, channel, key=key))
        refused = f"?token={token(serving, channel, key)['token']}"
        assert refusal(serving, refused) == (429, "rate_limit_exceeded")
        open_ones.enter_context(hearing(serving, channel))
    with hearing(serving, channel, key=key):
        pass


def test_who_does_not_read_is_sent_away_and_can_come_back_and_others_are_not_held_up(agents: Agents, channel: str):
    serving, agent = agents.serving, agents.agent()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", serving.port))
    with hearing(serving, channel, sock=raw, max_queue=1) as slow, hearing(serving, channel) as quick:
        for number in range(2):
            later(agents, channel, f"say {BEHIND + 2000} words", agent_id=agent, stream=True)
            assert until_end(quick)[-1]["event"] == "done", number
        heard = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                heard.append(said(slow))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4008
        assert "done" not in names(heard[-1:])


def test_listeners_who_say_too_much_are_sent_away_and_what_they_say_means_nothing(agents: Agents, channel: str):
    agent = agents.agent()
    with hearing(agents.serving, channel) as connection:
        connection.send("hello")
        connection.send(b"\x00")
        later(agents, channel, "say 1 words", agent_id=agent)
        assert names(until_end(connection)) == ["started", "done"]
        connection.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            said(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_without_an_upgrade_it_is_told_what_is_needed(agents: Agents):
    reply = agents.serving.ask("GET", "/v1/live")
    assert (reply.status, reply.json["error"]["code"]) == (426, "upgrade_required")


def test_the_log_never_has_a_token(agents: Agents, channel: str):
    opened = token(agents.serving, channel)["token"]
    with connect(f"ws://127.0.0.1:{agents.serving.port}/v1/live?token={opened}") as connection:
        said(connection)
    refusal(agents.serving, f"?token={opened}&channel=another")
    assert agents.serving.log()
    assert opened[:20] not in agents.serving.log()
    assert "token=" not in agents.serving.log()


def test_a_chatbots_thread_hears_every_answer_and_failure_whoever_asks_and_others_threads_hear_nothing(
    agents: Agents, channel: str
):
    bot, plain = agents.agent(type="chatbot", settings={"titles": False}), agents.agent()
    with hearing(agents.serving, channel) as connection:
        body = {"agent_id": bot, "user": "say 2 words", "thread_id": channel}
        reply = agents.serving.ask("POST", ASK, body).json
        done = said(connection)
        assert (done["event"], done["message_id"]) == ("done", reply["data"]["message_id"])
        assert done["data"]["data"]["content"] == reply["data"]["content"]
        assert done["data"]["data"]["title"]
        refused = agents.serving.ask("POST", ASK, {**body, "user": "fail:400"})
        assert refused.status == 400
        error = said(connection)
        assert (error["event"], error["data"]["error"]) == ("error", refused.json["error"])
        list(agents.events(ASK, {**body, "stream": True}))
        assert said(connection)["event"] == "done"
        later(agents, channel, "say 3 words", agent_id=bot, thread_id=channel)
        assert names(until_end(connection)) == ["started", "done"]
        queued = {**body, "response_format": {"type": "queue", "cred": {"name": "q"}}}
        agents.serving.ask("POST", ASK, queued)
        assert said(connection)["event"] == "done"
        for silence in ({"agent_id": plain}, {"thread_id": "another"}, {"is_playground": True}):
            assert agents.serving.ask("POST", ASK, {**body, **silence}).status == 200
        assert silent(connection)
    agents.serving.kill()
    agents.serving.start()
    with hearing(agents.serving, channel, done["id"]) as connection:
        assert said(connection) == {"event": "gap"}
        assert [said(connection)["event"] for _ in range(4)] == ["error", "done", "done", "done"]
        assert silent(connection)


def test_a_chatbots_conversation_is_heard_under_the_name_of_its_thread(agents: Agents):
    bot = agents.agent(type="chatbot")
    first = agents.say(bot, "say 1 words").json
    runs = agents.serving.ask("GET", "/v1/admin/runs?limit=10").json["data"]  # one finds the title, in no conversation
    thread = next(run["conversation_id"] for run in runs if run["conversation_id"])
    with hearing(agents.serving, thread) as connection:
        assert said(connection)["data"] == {**first, "toolCalls": []}
        title = said(connection)
        assert (title["event"], title["data"]["conversation_id"]) == ("title", thread)
        assert title["data"]["title"] == agents.serving.ask("GET", f"{HISTORY}/{first['conversationId']}").json["title"]
        second = agents.say(bot, "say 2 words", conversationId=first["conversationId"]).json
        assert said(connection)["data"]["text"] == second["text"] == "word1 word2"


def test_a_chatbots_thread_hears_once_of_a_turn_that_ended_with_its_server(agents: Agents, channel: str):
    bot, plain = agents.agent(type="chatbot"), agents.agent()
    after = token(agents.serving, channel)["last_id"]
    silences: list[dict[str, Any]] = [{"agent_id": plain}, {"is_playground": True}]
    with ThreadPoolExecutor() as pool:
        for more in ({}, *silences):
            body = {"agent_id": bot, "user": "stall", "thread_id": channel, **more}
            pool.submit(agents.serving.ask, "POST", ASK, body)
        runs = "/v1/admin/runs?limit=3"
        until(lambda: [one["status"] for one in agents.serving.ask("GET", runs).json["data"]] == ["running"] * 3)
        until(lambda: [one["status"] for one in agents.serving.attempts()].count("started") == 3)
        agents.serving.kill()
    agents.serving.start()
    for _ in range(2):
        with hearing(agents.serving, channel, after) as connection:
            heard = [one for one in until_end(connection) if one["event"] != "gap"]
            assert silent(connection)
        [error] = heard
        assert (error["event"], error["data"]["code"]) == ("error", "interrupted")
        failed = agents.serving.ask("GET", "/v1/admin/metrics?bucket=raw").json["data"]
        assert error["message_id"] in [row["message_id"] for row in failed if row["agent_id"] == bot]
        agents.serving.kill()
        agents.serving.start()


def test_a_chatbots_thread_hears_of_turns_that_were_accepted_and_then_refused(agents: Agents, channel: str):
    bot = agents.agent(type="chatbot", settings={"titles": False})
    queue = {"type": "queue", "cred": {"name": "refused"}}
    with hearing(agents.serving, channel) as connection:
        body = {"agent_id": bot, "user": "pace 700 say 5 words", "thread_id": channel, "response_format": queue}
        first, second = (agents.serving.ask("POST", ASK, body).json["message_id"] for _ in range(2))
        third = later(agents, channel, "say 1 words", agent_id=bot, thread_id=channel)
        agents.serving.ask("POST", f"/v1/admin/agents/{bot}/pause", {})
        heard = [said(connection) for _ in range(3)]
        assert silent(connection)
    assert [(one["event"], one["message_id"]) for one in heard] == [
        ("done", first),
        ("error", second),
        ("error", third),
    ]
    assert {one["data"]["code"] for one in heard[1:]} == {"agent_paused"}
    with hearing(agents.serving, channel, heard[0]["id"]) as connection:
        assert [said(connection) for _ in range(2)] == heard[1:]
        assert silent(connection)


def test_a_chatbots_thread_hears_once_of_a_turn_that_was_cut_and_then_refused(agents: Agents, channel: str):
    bot = agents.agent(type="chatbot", settings={"titles": False})
    after = token(agents.serving, channel)["last_id"]
    queue = {"type": "queue", "cred": {"name": "refused"}}
    body = {"agent_id": bot, "user": "stall", "thread_id": channel, "response_format": queue}
    id = agents.serving.ask("POST", ASK, body).json["message_id"]
    until(lambda: [one["status"] for one in agents.serving.attempts()].count("started") == 1)
    agents.serving.ask("POST", f"/v1/admin/agents/{bot}/pause", {})
    agents.serving.kill()
    agents.serving.start()
    with hearing(agents.serving, channel, after) as connection:
        [error] = [one for one in until_end(connection) if one["event"] != "gap"]
        rows = "/v1/admin/metrics?bucket=raw"
        until(lambda: id in [row["message_id"] for row in agents.serving.ask("GET", rows).json["data"]])
        assert silent(connection)
    assert (error["message_id"], error["data"]["code"]) == (id, "agent_paused")
