from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import msgspec
import pytest

from midstream.app import exchange
from midstream.core.errors import BadRequest
from midstream.wire.sse import SSEReader

from .asgi import MODEL, Here, here


def chat_body(text: str, **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": True, **more}


async def settled(app: Here) -> list[str]:
    """The states of all runs once none is under way."""
    while app.services.runs.active:
        await asyncio.sleep(0.005)
    return [row.status for row in await app.services.store.all_orgs().runs()]


def test_the_first_words_leave_before_the_last_ones_are_known(tmp_path: Path):
    async def test(app: Here) -> None:
        asking = app.chat("say 3 words pace 20", stream=True)
        reply = await asking.until(lambda reply: b"word1" in reply.body)
        assert not reply.ended
        assert b"word3" not in reply.body
        assert (await asking.end()).body.endswith(b"data: [DONE]\n\n")

    here(tmp_path, test)


def test_a_failure_before_the_first_output_is_a_status_and_not_a_stream(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.chat("fail:400", stream=True).end()
        assert (reply.status, reply.headers["content-type"]) == (400, "application/json")

    here(tmp_path, test)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v2/model/chat/completion", {"service": "midstream", "model": "rehearsal", "user": "fail:400"}),
        ("/api/v1/agent/run", {"model": MODEL, "messages": [{"role": "user", "content": "fail:400"}]}),
    ],
)
def test_a_turn_that_fails_before_anything_is_said_of_it_is_a_status_too(
    tmp_path: Path, path: str, body: dict[str, object]
):
    async def test(app: Here) -> None:
        reply = await app.ask("POST", path, {**body, "stream": True})
        assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
        if "v2" in path:
            assert reply.json["message_id"].startswith("msg_")

    here(tmp_path, test)


def test_a_failure_after_it_is_an_event_and_no_done(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.chat("say 6 words cut", stream=True).end()
        assert reply.status == 200
        assert b'"error"' in reply.body
        assert b"[DONE]" not in reply.body
        assert reply.ended

    here(tmp_path, test)


def test_a_provider_that_stays_silent_is_waited_for_and_then_the_client_is_kept_awake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchange, "HOLD_SECONDS", 0.03)
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "PING_SECONDS", 0.02)

    async def test(app: Here) -> None:
        asking = app.chat("say 2 words pace 400", stream=True)
        reply = await asking.until(lambda reply: reply.body.count(b": keepalive\n\n") >= 3)
        assert reply.status == 200
        asking.leave()
        await asking.end()

    here(tmp_path, test)


def test_until_then_nothing_is_sent_so_that_a_late_failure_is_still_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def test(app: Here) -> None:
        async def late(*arguments: object) -> None:
            await asyncio.sleep(0.05)
            raise BadRequest("late")

        monkeypatch.setattr(app.services.runs, "_complete", late)
        monkeypatch.setattr(exchange, "HOLD_SECONDS", 5.0)
        reply = await app.chat("hi", stream=True).end()
        assert reply.status == 400

    here(tmp_path, test)


def test_after_the_hold_a_failure_is_an_event_of_a_stream_that_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchange, "HOLD_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.01)

    async def test(app: Here) -> None:
        async def late(*arguments: object) -> None:
            await asyncio.sleep(0.1)
            raise BadRequest("late")

        monkeypatch.setattr(app.services.runs, "_complete", late)
        reply = await app.chat("hi", stream=True).end()
        assert reply.status == 200
        assert b": keepalive\n\n" in reply.body
        assert b"late" in reply.body
        assert b"[DONE]" not in reply.body

    here(tmp_path, test)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_stream_that_has_ended_is_not_watched_any_more(tmp_path: Path, leaves: bool):
    async def test(app: Here) -> None:
        asking = app.chat("say 3 words pace 30", stream=True)
        await asking.until(lambda reply: b"word1" in reply.body)
        assert len(watched()) == 1
        if leaves:
            asking.leave()
        await asking.end()
        await settled(app)
        assert watched() == []

    def watched() -> list[object]:
        return [one for one in gc.get_objects() if type(one) is exchange._Lane]

    here(tmp_path, test)


def test_pings_do_not_break_a_json_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "HOLD_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "PING_SECONDS", 0.01)

    async def test(app: Here) -> None:
        body = {"contents": [{"role": "user", "parts": [{"text": "say 3 words pace 60"}]}]}
        reply = await app.ask("POST", f"/v1beta/models/{MODEL}:streamGenerateContent", body)
        assert reply.headers["content-type"] == "application/json"
        assert b"\n" in reply.pieces
        texts = [
            part.get("text", "") for one in reply.json for part in one["candidates"][0]["content"].get("parts", [])
        ]
        assert "".join(texts).split() == ["word1", "word2", "word3"]

    here(tmp_path, test)


SLOWLY = "say 2 words pace 150"
USER = {"role": "user", "content": SLOWLY}


@pytest.mark.parametrize(
    "path, body, last",
    [
        ("/api/v1/conversation", {"agentId": "slow", "message": SLOWLY}, "done"),
        ("/api/v1/agent/run", {"model": MODEL, "messages": [USER]}, "done"),
        ("/api/v2/model/chat/completion", {"agent_id": "slow", "user": SLOWLY, "stream": True}, "done"),
        ("/api/v1/completions", {"model": MODEL, "messages": [USER], "stream": True}, "finish"),
    ],
)
def test_silent_streams_of_our_own_faces_are_kept_alive_by_what_means_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, object], last: str
):
    monkeypatch.setattr(exchange, "HOLD_SECONDS", 0.02)
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "PING_SECONDS", 0.02)

    async def test(app: Here) -> None:
        agent = {"name": "slow", "slug": "slow", "service": "midstream", "configuration": {"model": "rehearsal"}}
        made = (await app.ask("POST", "/v1/admin/agents", agent, content_type="application/json")).json
        at = f"/v1/admin/agents/{made['id']}/publish"
        published = await app.ask("POST", at, {"version_id": made["version_id"]}, content_type="application/json")
        assert published.status == 200
        reply = await app.ask("POST", path, body)
        heartbeat = b"\n" if last == "finish" else b": keepalive\n\n"
        assert reply.pieces.count(heartbeat) >= 3
        without = b"".join(piece for piece in reply.pieces if piece != heartbeat)
        assert told(reply.body) == told(without)
        assert told(without)[-1] == last

    here(tmp_path, test)


def told(body: bytes) -> list[str]:
    """The names of a stream's events, or the types of its lines."""
    if body.startswith(b"{"):
        return [msgspec.json.decode(line)["type"] for line in body.splitlines() if line]
    reader = SSEReader()
    return [frame.event.decode() for frame in reader.feed(body) if frame.data is not None]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_ends_the_run_and_its_own_request(tmp_path: Path, stream: bool):
    async def test(app: Here) -> None:
        asking = app.chat("stall", stream=stream)
        while not app.services.runs.active:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        asking.leave()
        await asking.end()
        assert await settled(app) == ["cancelled"]
        [attempt] = await app.services.store.all_orgs().attempts()
        assert attempt.status == "partial"
        assert attempt.usage.estimated

    here(tmp_path, test)


def test_a_client_that_hangs_up_before_its_body_is_read_costs_nothing(tmp_path: Path):
    async def test(app: Here) -> None:
        asking = app.begin("POST", "/v1/chat/completions", chat_body("hi"))
        asking._body = None
        asking.leave()
        await asking.end()
        assert await settled(app) == []

    here(tmp_path, test)


def test_streams_are_not_to_be_buffered_on_their_way(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.chat("hi", stream=True).end()
        assert reply.headers["x-accel-buffering"] == "no"
        assert reply.headers["cache-control"] == "no-cache"
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in reply.headers

    here(tmp_path, test)
