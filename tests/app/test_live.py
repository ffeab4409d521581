"""What a listener's connection is told, on a clock that the test sets. Over real sockets: tests/whole/test_live.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.app import live, supervisor
from midstream.core.errors import StoreDown
from midstream.store.ledger import DeliveryAdded

from .asgi import KEY, Here, here


class Socket:
    """One WebSocket over ASGI, asked with a token for `channel`."""

    def __init__(self, app: Here, query: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.sent: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/v1/live", "query_string": query.encode(), "headers": list(headers)}
        self.task = asyncio.create_task(app.process.application(scope, self._said.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._news.set()

    def leave(self) -> None:
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def until(self, kind: str) -> dict[str, Any]:
        """The first message of this type that is sent to the client."""
        async with asyncio.timeout(5):
            while True:
                found = [message for message in self.sent if message["type"] == kind]
                if found:
                    return found[0]
                self._news.clear()
                await self._news.wait()

    async def told(self, count: int) -> list[Any]:
        async with asyncio.timeout(5):
            while len(self.texts()) < count:
                self._news.clear()
                await self._news.wait()
        return self.texts()

    def texts(self) -> list[Any]:
        return [msgspec.json.decode(one["text"]) for one in self.sent if one["type"] == "websocket.send"]


async def token(app: Here, channel: str = "c", key: str = KEY) -> str:
    reply = await app.ask("POST", "/v1/live/tokens", {"channel": channel}, key, content_type="application/json")
    return str(reply.json["token"])


async def opened(app: Here, channel: str = "c", key: str = KEY) -> Socket:
    return Socket(app, f"token={await token(app, channel, key)}")


def test_in_silence_a_listener_is_told_that_the_server_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "PING_SECONDS", 0.02)

    async def test(app: Here) -> None:
        socket = await opened(app)
        told = await socket.told(3)
        assert told[:3] == [{"event": "ready", "channel": "c"}, {"event": "ping"}, {"event": "ping"}]
        app.process.workers.hub.say("org_default", "c", lambda number: b'{"event":"x"}')
        assert {"event": "x"} in await socket.told(len(socket.sent) + 1)
        socket.leave()
        await asyncio.wait_for(socket.task, 5)

    here(tmp_path, test)


def test_a_connection_ends_when_its_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "LONGEST", 0.05)
    monkeypatch.setattr(live, "PING_SECONDS", 0.01)

    async def test(app: Here) -> None:
        socket = await opened(app)
        await asyncio.wait_for(socket.task, 5)
        assert socket.sent[-1]["type"] == "websocket.close"
        assert socket.sent[-1]["code"] == live.TIME_IS_UP

    here(tmp_path, test)


def test_who_leaves_frees_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def test(app: Here) -> None:
        app.process.application._live._most = 1
        first = await opened(app)
        await first.told(1)
        second = await opened(app)
        assert (await second.until("websocket.http.response.start"))["status"] == 429
        first.leave()
        await asyncio.wait_for(first.task, 5)
        third = await opened(app)
        await third.told(1)
        third.leave()
        await asyncio.wait_for(third.task, 5)
        assert not app.process.application._live._open
        assert not app.process.workers.hub._channels

    here(tmp_path, test)


@pytest.mark.parametrize(
    "query, status",
    [("", 401), ("token=", 401), ("token=%ff", 401), ("token={}&after=x", 400), ("token={}&after=", 101),
     ("token={}&after=%c2%b2", 400), ("token={}&after=9007199254740992", 400), ("token={}&after=9007199254740991", 101),
     ("token={}&channel=d", 403), ("token={}&channel=c", 101), ("token={}&token={}", 400), ("x=1&token={}", 400),
     ("token={}&after=1&after=2", 400),
     ("token={}&After=1", 400), ("token={}&x", 400), ("token={}&after=1&x=", 400), ("x=1", 401)],
)  # fmt: skip
def test_what_is_asked_for_is_read_or_refused(tmp_path: Path, query: str, status: int):
    async def test(app: Here) -> None:
        socket = Socket(app, query.replace("{}", await token(app)))
        if status == 101:
            await socket.until("websocket.accept")
            socket.leave()
        else:
            start = await socket.until("websocket.http.response.start")
            assert start["status"] == status
            names = dict(start["headers"])
            body = msgspec.json.decode((await socket.until("websocket.http.response.body"))["body"])
            assert body["error"]["request_id"].encode() == names[b"x-request-id"]
        await asyncio.wait_for(socket.task, 5)

    here(tmp_path, test)


@pytest.mark.parametrize(
    "query, code", [("", 4401), ("token={}&after=x", 4400), ("token={}&channel=d", 4403), ("token={}", None)]
)
def test_a_page_is_told_by_the_close_code_why_it_was_refused(tmp_path: Path, query: str, code: int | None):
    async def test(app: Here) -> None:
        socket = Socket(app, query.replace("{}", await token(app)), ((b"origin", b"https://app.example"),))
        await socket.until("websocket.accept")
        if code is None:
            await socket.told(1)
            socket.leave()
        else:
            closed = await socket.until("websocket.close")
            assert closed["code"] == code
            assert 0 < len(closed["reason"].encode()) <= live.REASON
            assert not socket.texts()
        await asyncio.wait_for(socket.task, 5)

    here(tmp_path, test)


@pytest.mark.parametrize("end", ["revoked", "expired", "deleted"])
def test_who_listens_by_a_key_that_opens_nothing_any_more_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
):
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.02)

    async def test(app: Here) -> None:
        keys, db = app.services.store.keys, app.services.store.db
        key, secret = await keys.create("org_default", "ends")
        _, stays = await keys.create("org_default", "stays")
        leaving, staying, operator = await opened(app, key=secret), await opened(app, key=stays), await opened(app)
        for one in (leaving, staying, operator):
            await one.told(1)
        late = await token(app, key=secret)
        await {
            "revoked": lambda: keys.revoke("org_default", key.id),
            "expired": lambda: db.write([("UPDATE api_keys SET expires_at = 1 WHERE id = $1", (key.id,))]),
            "deleted": lambda: db.write([("DELETE FROM api_keys WHERE id = $1", (key.id,))]),
        }[end]()
        closed = await leaving.until("websocket.close")
        assert closed["code"] == 4401
        await asyncio.wait_for(leaving.task, 5)
        refused = await Socket(app, f"token={late}").until("websocket.http.response.start")
        assert refused["status"] == 401
        await asyncio.sleep(0.1)
        for one in (staying, operator):
            assert not one.task.done()
            one.leave()
            await asyncio.wait_for(one.task, 5)
        assert app.process.application._live._looking is None  # nobody is left to look after

    here(tmp_path, test)


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError])
def test_while_the_store_is_away_nobody_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
):
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "FIRST", 0.01)
    monkeypatch.setattr(supervisor, "AWAY", 0.01)

    async def test(app: Here) -> None:
        keys = app.services.store.keys
        key, secret = await keys.create("org_default", "k")
        socket = await opened(app, key=secret)
        await socket.told(1)
        looked = 0

        async def valid(ids: Any) -> set[str]:
            nonlocal looked
            looked += 1
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(keys, "valid", valid)
            while looked < 2:
                await asyncio.sleep(0.01)
        assert not socket.task.done()
        await keys.revoke("org_default", key.id)
        assert (await socket.until("websocket.close"))["code"] == 4401
        await asyncio.wait_for(socket.task, 5)

    here(tmp_path, test)


def test_another_path_is_unknown_to_websockets(tmp_path: Path):
    async def test(app: Here) -> None:
        socket = await opened(app)
        await socket.told(1)
        socket.leave()
        await socket.task
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": "/v1/other", "query_string": b"", "headers": []}
        await app.process.application(scope, receive, send)
        assert sent[0]["status"] == 404

    here(tmp_path, test)


def test_ends_are_forgotten_when_their_hour_is_over(tmp_path: Path):
    async def test(app: Here) -> None:
        now = app.services.clock.wall()
        rows = [
            DeliveryAdded(
                f"dlv_{place}", "org_default", "live", b'{"channel":"c"}', b'{"event":"done"}', at, at + 3600.0
            )
            for place, at in enumerate((now - 3601.0, now - 10.0))
        ]
        await app.services.store.ledger.commit(*rows)
        socket = await opened(app)
        assert (await socket.told(2))[1:] == [{"event": "done"}]
        await app.process.workers.jobs._deliver.sweep()
        listed = (await app.ask("GET", "/v1/admin/deliveries")).json["data"]
        assert [row["id"] for row in listed] == ["dlv_1"]
        socket.leave()
        await socket.task

    here(tmp_path, test)
