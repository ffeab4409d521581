"""How MCP messages travel: Streamable HTTP (2025-03-26 and later), and the older pair of an SSE stream and a POST."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeAlias
from urllib.parse import urljoin, urlsplit

from ..core.errors import Cut, Garbled, MidstreamError, NotFound, Refused
from ..core.http import Incoming, Outgoing, Send, Timeouts
from ..core.masking import masked, masked_start
from ..wire.jsonrpc import METHOD_NOT_FOUND, Call, Fault, Id, Message, Notice, Result, read, write
from ..wire.sse import SSEReader
from ._mcp_servers import McpServer, plain, secrets_of

#: Bytes of one answer. How often a stream that broke off before its answer is taken up again.
MAX_ANSWER, RESUMES = 16 * 1024 * 1024, 3
#: Bytes of a line that are told.
MAX_TOLD = 500
#: Of what a server asks, that is answered at the same time.
MAX_REPLIES = 8
#: An error status without a JSON-RPC error in its body.
HTTP_FAULT = -32000

Heard: TypeAlias = Callable[[Notice], None]
_ID = re.compile(rb"^id: ?(.*)$", re.MULTILINE)
_RETRY = re.compile(rb"^retry: ?(\d{1,6})$", re.MULTILINE)
#: What servers say with 400 of a session that they do not know: nothing was done in it.
_UNKNOWN = re.compile(r"session|not initialized", re.IGNORECASE)


class Link(Protocol):
    @property
    def alive(self) -> bool:
        """Can more be asked over it?"""

    async def ask(
        self, call: Call, headers: dict[str, str], heard: Heard, seconds: float | None = None
    ) -> Result | Fault:
        """heard: told of what the server says meanwhile. seconds: that the answer may take, in place of the server's.
        Raises UpstreamError."""

    async def tell(self, notice: Notice, headers: dict[str, str]) -> None: ...

    async def close(self) -> None: ...


def reply_to(call: Call) -> Result | Fault:
    """What a server that asks something is answered: it was offered no capability, so only ping is."""
    return (
        Result(call.id, {}) if call.method == "ping" else Fault(call.id, METHOD_NOT_FOUND, "not offered by this client")
    )


class _Replies:
    """Answers a server at once, beside the stream in which it asks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, posting: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= MAX_REPLIES:
            posting.close()
            return
        task = asyncio.get_running_loop().create_task(self._said(posting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _said(self, posting: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(MidstreamError):  # then what it says next will tell
            await posting

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class Pending:
    """Calls on one stream of messages that wait for their answers. idle: told of what is said when none does."""

    def __init__(self, idle: Heard = lambda notice: None) -> None:
        self._idle = idle
        self._waiting: dict[Id, tuple[asyncio.Future[Result | Fault], Heard]] = {}
        self._error: MidstreamError | None = None

    @contextlib.contextmanager
    def expect(self, id: Id, heard: Heard):  # type: ignore[no-untyped-def]
        """Gives the future of the answer. Raises what the stream has failed with."""
        if self._error is not None:
            raise self._error
        future: asyncio.Future[Result | Fault] = asyncio.get_running_loop().create_future()
        self._waiting[id] = (future, heard)
        try:
            yield future
        finally:
            del self._waiting[id]

    def take(self, message: Message) -> Result | Fault | None:
        """What the server must be answered, if it asked something."""
        match message:
            case Result(id) | Fault(id):
                future, _ = self._waiting.get(id, (None, None)) if id is not None else (None, None)
                if future is not None and not future.done():
                    future.set_result(message)
            case Notice():
                for heard in [heard for _, heard in self._waiting.values()] or [self._idle]:
                    heard(message)
            case Call():
                return reply_to(message)
        return None

    def fail(self, error: MidstreamError) -> None:
        """The stream has ended."""
        self._error = error
        self.miss(error)

    def miss(self, error: MidstreamError) -> None:
        """What they wait for may have been lost; the stream goes on."""
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(error)


class Ears:
    """Reads what a server says, without the secrets that it was sent. token: the last that it was sent besides."""

    def __init__(self, server: McpServer) -> None:
        self._secrets = secrets_of(server)
        self.token = ""

    def read(self, data: bytes) -> list[Message]:
        """Raises Garbled."""
        return read(self.masked(data))

    def masked(self, data: bytes) -> bytes:
        return masked(data, (*self._secrets, self.token))

    def line(self, data: bytes) -> str:
        """What can be told of a line. One without its end was cut, perhaps within a secret."""
        secrets = (*self._secrets, self.token)
        said = masked(data, secrets) if data.endswith(b"\n") else masked_start(data, secrets)
        return said[:MAX_TOLD].decode("utf-8", "replace").rstrip()


class _Answered(Garbled):
    """Ends a stream whose answer has come: what a sink may raise is an error of this server."""


class _OverHttp:
    """bearer: gives a token (True: a new one), or None."""

    def __init__(self, server: McpServer, send: Send, bearer: Callable[[bool], Awaitable[str]] | None) -> None:
        self._server = server
        self._send = send
        self._bearer = bearer
        self._ears = Ears(server)
        self._replies = _Replies()

    async def _exchanged(
        self, method: str, url: str, headers: dict[str, str], body: bytes, timeouts: Timeouts, redirects: int = 0
    ) -> Incoming:
        """Asks once more with a new token when the server does not take the one that it is sent."""
        sent = {**headers, "content-type": "application/json"} if body else headers
        for anew in (False, True):
            if self._bearer is not None:
                self._ears.token = await self._bearer(anew)
                sent = {**sent, "authorization": f"Bearer {self._ears.token}"}
            asked = Outgoing(method, url, tuple(sent.items()), body, self._server.trusted, timeouts, redirects)
            incoming = await self._send(asked)
            if incoming.status != 401 or self._bearer is None or anew:
                return incoming
            incoming.close()
        raise AssertionError("the last try returns or raises")


class HttpLink(_OverHttp):
    """session: the server's name for our session, sent with everything after it was given."""

    def __init__(self, server: McpServer, send: Send, bearer: Callable[[bool], Awaitable[str]] | None) -> None:
        super().__init__(server, send, bearer)
        self._lost = False
        self.session = ""

    @property
    def alive(self) -> bool:
        return not self._lost

    async def ask(
        self, call: Call, headers: dict[str, str], heard: Heard, seconds: float | None = None
    ) -> Result | Fault:
        incoming = await self._exchange("POST", write(call), headers, seconds=seconds)
        try:
            if incoming.status >= 400:
                return await self._refused(incoming, call)
            self.session = incoming.headers.get("mcp-session-id", self.session)
            if not incoming.headers.get("content-type", "").lower().startswith("text/event-stream"):
                said = self._ears.read(await incoming.read(MAX_ANSWER))
                return _answer_among(said, call.id, heard, partial(self._reply, headers))
            return await self._streamed(incoming, call, headers, heard, seconds)
        finally:
            incoming.close()

    async def tell(self, notice: Notice, headers: dict[str, str]) -> None:
        await self._post(write(notice), headers)

    def _reply(self, headers: dict[str, str], asked: Call) -> None:
        """headers: of what is asked of the server meanwhile."""
        version = {name: value for name, value in headers.items() if name == "mcp-protocol-version"}
        self._replies.say(self._post(write(reply_to(asked)), version))

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        incoming = await self._exchange("POST", body, headers)
        incoming.close()

    async def close(self) -> None:
        await self._replies.close()
        if self.session and not self._lost:
            with contextlib.suppress(MidstreamError):
                incoming = await self._exchange("DELETE", b"", {}, seconds=2.0)
                incoming.close()

    async def _exchange(
        self, method: str, body: bytes, headers: dict[str, str], *, seconds: float | None = None
    ) -> Incoming:
        sent = {"accept": "application/json, text/event-stream", **plain(self._server.headers), **headers}
        if self.session:
            sent["mcp-session-id"] = self.session
        total = seconds or self._server.seconds
        timeouts = Timeouts(first_byte=total, between=total, total=total)
        return await self._exchanged(method, self._server.url, sent, body, timeouts, 2)

    async def _refused(self, incoming: Incoming, call: Call) -> Fault:
        if incoming.status == 404 and self.session:
            raise NotFound("the session has ended", code="mcp_session_ended")
        data = await incoming.read(MAX_ANSWER)
        fault = self._fault_in(data)
        if incoming.status == 400 and self.session:
            self._doubt(call, fault, data)
        if fault is not None:
            return Fault(call.id, fault.code, fault.message, fault.data)
        if incoming.status >= 500 or incoming.status in (401, 403, 429):
            raise Refused(f"the MCP server {self._server.name} answered with HTTP {incoming.status}",
                          status=incoming.status)  # fmt: skip
        return Fault(call.id, HTTP_FAULT, f"HTTP {incoming.status}")

    def _fault_in(self, data: bytes) -> Fault | None:
        with contextlib.suppress(Garbled):
            return next((one for one in self._ears.read(data) if isinstance(one, Fault)), None)
        return None

    def _doubt(self, call: Call, fault: Fault | None, data: bytes) -> None:
        """Many servers answer 400 in a session that they do not know (any more), where 404 is meant. Raises NotFound
        when the same may be asked in a new one; else that is for what is asked next."""
        said = fault.message if fault is not None else self._ears.masked(data)[:4096].decode("utf-8", "replace")
        unknown = _UNKNOWN.search(said) is not None
        self._lost = self._lost or unknown or fault is None or fault.id != call.id
        if unknown or call.method == "tools/list":
            raise NotFound(f"the session has ended: {said[:200] or 'HTTP 400'}", code="mcp_session_ended")

    async def _streamed(
        self, incoming: Incoming, call: Call, headers: dict[str, str], heard: Heard, seconds: float | None
    ) -> Result | Fault:
        """Reads the stream of an answer; one that breaks off is taken up where it was, when the server numbers it."""
        stream = _Stream(call.id, heard, partial(self._reply, headers), self._ears)
        for left in reversed(range(RESUMES + 1)):
            try:
                await incoming.pump(stream.feed)
            except _Answered:
                pass
            except Cut:
                if not stream.last or not left:
                    raise
            finally:
                incoming.close()
            if stream.answer is not None:
                return stream.answer
            if not stream.last or not left:
                break
            await asyncio.sleep(stream.wait)
            taken_up = {**headers, "last-event-id": stream.last}
            incoming = await self._exchange("GET", b"", taken_up, seconds=seconds)
            if incoming.status != 200:
                break
        incoming.close()
        raise Cut(f"the MCP server {self._server.name} ended its stream without an answer")


class _Stream:
    """last: the id of the last event. wait: seconds before the stream may be taken up again."""

    def __init__(self, id: Id, heard: Heard, asked: Callable[[Call], None], ears: Ears) -> None:
        self._id = id
        self._heard = heard
        self._asked = asked
        self._ears = ears
        self._reader = SSEReader(MAX_ANSWER)
        self.answer: Result | Fault | None = None
        self.last = ""
        self.wait = 0.2

    def feed(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if (id := _ID.search(frame.raw)) is not None:
                self.last = id[1].decode("latin-1").strip()
            if (retry := _RETRY.search(frame.raw)) is not None:
                self.wait = min(int(retry[1]) / 1000, 10.0)
            if frame.data:
                with contextlib.suppress(_Missing):
                    self.answer = _answer_among(self._ears.read(frame.data), self._id, self._heard, self._asked)
                    raise _Answered("answered")


class _Missing(Garbled):
    pass


def _answer_among(messages: list[Message], id: Id, heard: Heard, asked: Callable[[Call], None]) -> Result | Fault:
    """asked: told of what the server asks itself. Raises _Missing."""
    answer: Result | Fault | None = None
    for message in messages:
        match message:
            case Result() | Fault():
                answer = message if message.id == id and answer is None else answer
            case Notice():
                heard(message)
            case Call():
                asked(message)
    if answer is not None:
        return answer
    raise _Missing("the MCP server's answer holds no answer")


class SseLink(_OverHttp):
    """One stream from the server, opened by `open`; what we say is posted to the address that it names."""

    def __init__(self, server: McpServer, send: Send, bearer: Callable[[bool], Awaitable[str]] | None) -> None:
        super().__init__(server, send, bearer)
        self._pending = Pending()
        self._reader = SSEReader(MAX_ANSWER)
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def open(self) -> None:
        incoming = await self._exchange("GET", self._server.url, b"", "text/event-stream")
        kind = incoming.headers.get("content-type", "").lower()
        if incoming.status != 200 or not kind.startswith("text/event-stream"):
            incoming.close()
            raise Refused(f"the MCP server {self._server.name} offers no stream: HTTP {incoming.status}", status=502)
        self._task = asyncio.get_running_loop().create_task(self._listen(incoming))
        await self._endpoint

    async def _listen(self, incoming: Incoming) -> None:
        error: MidstreamError = Cut(f"the MCP server {self._server.name} ended its stream")
        try:
            await incoming.pump(self._feed)
        except MidstreamError as failure:
            error = failure
        finally:
            incoming.close()
            self._pending.fail(error)
            if not self._endpoint.done():
                self._endpoint.set_exception(error)

    def _feed(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if frame.event == b"endpoint" and frame.data and not self._endpoint.done():
                self._endpoint.set_result(self._same_origin(frame.data.decode("utf-8", "replace")))
            elif frame.data and frame.event in (b"", b"message"):
                for message in self._ears.read(frame.data):
                    answer = self._pending.take(message)
                    if answer is not None:
                        self._replies.say(self._post(write(answer)))

    def _same_origin(self, path: str) -> str:
        url = urljoin(self._server.url, path)
        if urlsplit(url)[:2] != urlsplit(self._server.url)[:2]:
            raise Garbled("the MCP server names an address of another host for what we say")
        return url

    async def ask(
        self, call: Call, headers: dict[str, str], heard: Heard, seconds: float | None = None
    ) -> Result | Fault:
        """The stream was opened for the server's seconds: these are no more."""
        with self._pending.expect(call.id, heard) as future:
            await self._post(write(call))
            answer: Result | Fault = await future
            return answer

    async def tell(self, notice: Notice, headers: dict[str, str]) -> None:
        await self._post(write(notice))

    async def _post(self, body: bytes) -> None:
        incoming = await self._exchange("POST", await self._endpoint, body, "application/json")
        incoming.close()
        if incoming.status >= 400:
            raise Refused(f"the MCP server {self._server.name} answered with HTTP {incoming.status}", status=502)

    async def _exchange(self, method: str, url: str, body: bytes, accept: str) -> Incoming:
        seconds = self._server.seconds
        timeouts = Timeouts(first_byte=min(seconds, 15.0), between=seconds, total=seconds)
        return await self._exchanged(method, url, {"accept": accept, **plain(self._server.headers)}, body, timeouts)

    async def close(self) -> None:
        await self._replies.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._endpoint.done() and not self._endpoint.cancelled():
            self._endpoint.exception()  # seen
