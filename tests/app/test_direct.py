"""What a stream says reaches its connection whole, in order and once, whatever moment it is written at."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from midstream.app.direct import Direct, Wave
from midstream.app.exchange import Exchange, Pulse
from midstream.core.events import Event, PartEnded, Started
from midstream.runs.log import EventLog


class Wire:
    """A connection that notes each write, with its own name, in the order in which they come."""

    def __init__(self, name: str, writes: list[tuple[str, bytes]]) -> None:
        self.name, self.writes, self.closing = name, writes, False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.writes.append((self.name, data))

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def stream(wire: Wire, wave: Wave) -> Direct:
    async def room() -> None:
        pass

    cycle: Any = SimpleNamespace(
        transport=wire, disconnected=False, keep_alive=True, scope={"http_version": "1.1"},
        flow=SimpleNamespace(drain=room, write_paused=False), message_event=asyncio.Event(), on_response=lambda: None,
    )  # fmt: skip
    return Direct(cycle, wave)


def test_what_streams_say_in_one_turn_of_the_loop_leaves_after_all_have_spoken_each_in_one_write():
    async def test() -> None:
        writes: list[tuple[str, bytes]] = []
        wave = Wave(asyncio.get_running_loop())
        one, two = (stream(Wire(name, writes), wave) for name in "12")
        one.chunk(b"a")
        two.chunk(b"b")
        one.chunk(b"cc")
        assert writes == []
        await asyncio.sleep(0)
        assert writes == [("1", b"1\r\na\r\n2\r\ncc\r\n"), ("2", b"1\r\nb\r\n")]
        two.chunk(b"d")
        await asyncio.sleep(0)
        assert writes[2:] == [("2", b"1\r\nd\r\n")]

    asyncio.run(test())


def test_an_end_goes_after_what_is_held_and_nothing_goes_twice():
    async def test() -> None:
        writes: list[tuple[str, bytes]] = []
        said = stream(Wire("1", writes), Wave(asyncio.get_running_loop()))
        said.start([(b"x", b"y")])
        said.chunk(b"a")
        said.end(b"b")
        await asyncio.sleep(0)
        [(_, data)] = writes
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"x: y" in head
        assert body == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"

    asyncio.run(test())


def test_a_client_that_has_gone_is_not_written_to():
    async def test() -> None:
        writes: list[tuple[str, bytes]] = []
        wire = Wire("1", writes)
        said = stream(wire, Wave(asyncio.get_running_loop()))
        said.chunk(b"a")
        wire.close()
        await asyncio.sleep(0)
        assert writes == []

    asyncio.run(test())


def test_what_is_held_counts_as_what_its_client_is_behind():
    async def test() -> None:
        said = stream(Wire("1", []), Wave(asyncio.get_running_loop()))
        said.chunk(b"a" * 1000)
        assert not said.is_behind
        said.chunk(b"a" * 70_000)
        assert said.is_behind
        await asyncio.sleep(0)
        assert not said.is_behind
        said._cycle.flow.write_paused = True  # its transport is full
        assert said.is_behind

    asyncio.run(test())


class Breaking:
    """Writes a first piece, while more is logged, and fails at that."""

    def __init__(self, log: EventLog) -> None:
        self.log = log

    def write(self, events: list[Event]) -> bytes:
        if not isinstance(events[0], Started):
            raise RuntimeError("a bug")
        self.log.append([PartEnded(0)])
        return b"first"


def test_a_stream_that_breaks_has_sent_what_it_said_before():
    async def test() -> None:
        writes: list[tuple[str, bytes]] = []
        direct = stream(Wire("1", writes), Wave(asyncio.get_running_loop()))
        exchange = Exchange({"headers": [], "extensions": {"midstream.direct": direct}}, None, None, 0.0, Pulse())  # type: ignore[arg-type]
        log = EventLog()
        follower = log.follow()
        log.append([Started("id", "m")])
        exchange.streams("text/event-stream", b"")
        with pytest.raises(RuntimeError):
            await exchange.stream(Breaking(log), follower, lambda attempted: [])
        assert b"".join(data for _, data in writes).endswith(b"5\r\nfirst\r\n")

    asyncio.run(test())


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x", b"a\nb", b"a\x00", b"\x7f"])
def test_a_header_that_could_end_its_line_is_not_sent(value: bytes):
    async def test() -> None:
        writes: list[tuple[str, bytes]] = []
        said = stream(Wire("1", writes), Wave(asyncio.get_running_loop()))
        with pytest.raises(ValueError, match="control character"):
            said.start([(b"x-said", value)])
        with pytest.raises(ValueError, match="control character"):
            said.reply(200, [(b"x-said", value)], b"")
        await asyncio.sleep(0)
        assert writes == []

    asyncio.run(test())
