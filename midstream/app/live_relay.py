"""What is said in live channels, told to the other servers on the same PostgreSQL, and heard from them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from ..core.errors import MidstreamError
from ..core.ids import new_id
from ..delivery.live import Body, Hub, Name, Said
from ..store.database import Database
from ..store.notices import follow, notice
from .supervisor import Supervisor

logger = logging.getLogger("midstream.live")
NAME = "midstream_live"
#: Characters of a message in one notice: of four bytes each, or of one that JSON writes as two.
PIECE = 1500
#: Bytes that may wait to be told; with more, what waits is lost to the others, who notice.
WAITING = 16 * 1024 * 1024
#: Seconds of silence until a server says that it is there, after which it is taken for dead. Other servers that are
#: known at once.
BEAT, DEAD = 5.0, 15.0
SERVERS = 1000

_encode = msgspec.json.Encoder().encode


class Notice(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A piece of a message, or none of any (channel ""). server: who says it. count: of its notices, so that a lost one
    is missed. begins, ends: whether it is the first piece, and the last; with no message, the server's own."""

    server: str
    count: int
    begins: bool = False
    ends: bool = False
    org: str = ""
    channel: str = ""
    number: int = 0
    kept: bool = False
    piece: str = ""


class _Other:
    """Another server. count: of its last notice. at: when that was heard, loop time. pieces: of a message that is not
    whole."""

    __slots__ = ("at", "count", "pieces")

    def __init__(self, count: int, at: float) -> None:
        self.count = count
        self.at = at
        self.pieces: list[str] = []


_decode = msgspec.json.Decoder(Notice).decode


class LiveRelay:
    """db: a PostgreSQL."""

    def __init__(self, db: Database, hub: Hub) -> None:
        self._db = db
        self._hub = hub
        self._server = new_id("srv_")
        self._count = 0
        self._waiting: list[tuple[Name, Said]] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._others: dict[str, _Other] = {}
        hub.relay, hub.several = self._say, True

    def keep(self, supervisor: Supervisor) -> list[asyncio.Task[None]]:
        keep = supervisor.keep
        return [
            keep("live channels, told to other servers", self._tell),
            keep("live channels of other servers", self._listen, patience=math.inf),  # it listens
            keep("other servers", self._watch, first=BEAT),
        ]

    async def close(self) -> None:
        """The others need not wonder where it is."""
        await self._write(ends=True)

    # to the others

    def _say(self, name: Name, said: Said) -> None:
        if self._bytes > WAITING:
            self._lose()
        self._waiting.append((name, said))
        self._bytes += len(said.body)
        self._news.set()

    def _lose(self) -> None:
        self._waiting.clear()
        self._bytes = 0
        self._count += 1

    async def _tell(self) -> float:
        """What is said while a commit is under way is told by the next one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT):
                await self._news.wait()
        await self._write()
        return 0.0

    async def _write(self, *, ends: bool = False) -> None:
        """What waits; when nothing does, that this server is there. ends: it will not be any more."""
        self._news.clear()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        texts = [text for name, said in waiting for text in self._notices(name, said)]
        if ends or not texts:
            self._count += 1
            texts.append(_encode(Notice(self._server, self._count, ends=ends)).decode())
        try:
            await self._db.write([notice(NAME, text) for text in texts])
        except MidstreamError as error:  # it may have happened or not: the others are told by a count that is missing
            self._count += 1
            logger.warning("other servers do not hear what live channels say: %s", error.message)

    def _notices(self, name: Name, said: Said) -> Iterator[str]:
        text, (org, channel) = said.body.decode(), name
        for start in range(0, len(text), PIECE):
            self._count += 1
            end = start + PIECE
            begins, ends = start == 0, end >= len(text)
            one = Notice(
                self._server, self._count, begins, ends, org, channel, said.number, said.kept, text[start:end]
            )  # fmt: skip
            yield _encode(one).decode()

    # from the others

    async def _listen(self) -> float:
        await follow(self._db, NAME, self._heard, self._began)
        return 0.0

    def _began(self) -> None:
        self._others.clear()
        self._hub.missed()

    async def _watch(self) -> float:
        """What a server had said last when it died may not have been told: those who listen ask the store."""
        long_ago = asyncio.get_running_loop().time() - DEAD
        dead = [server for server, other in self._others.items() if other.at < long_ago]
        for server in dead:
            del self._others[server]
        if dead:
            self._hub.missed()
        return BEAT

    def _heard(self, text: str) -> None:
        one, now = _decode(text), asyncio.get_running_loop().time()
        if one.server == self._server:
            return
        if len(self._others) >= SERVERS:
            self._others.clear()
        other = self._others.setdefault(one.server, _Other(one.count - 1, now))
        if one.count <= other.count:  # its transaction was made twice
            return
        if one.count > other.count + 1:
            other.pieces.clear()
            self._hub.missed()
        other.count, other.at = one.count, now
        if one.channel:
            self._piece(one, other)
        elif one.ends:
            del self._others[one.server]

    def _piece(self, one: Notice, other: _Other) -> None:
        if one.begins:
            other.pieces.clear()
        elif not other.pieces:  # it began before this server listened
            return
        other.pieces.append(one.piece)
        if one.ends:
            whole = "".join(other.pieces).encode()
            other.pieces.clear()
            body = renumbered(whole, one.number)
            self._hub.hear(one.org, one.channel, one.number, body, kept=one.kept, source=one.server)


def renumbered(text: bytes, number: int) -> Body:
    """A message that was said under that number, as it reads under another one."""
    head = b'{"id":%d,' % number
    assert text.startswith(head)
    return lambda now: text if now == number else b'{"id":%d,' % now + text[len(head) :]
