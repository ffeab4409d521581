"""Kind "mcp": tools of MCP servers, listed, agreed to, and called."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from ..core.agents import Tool
from ..core.errors import Conflict, Cut, MidstreamError, NotFound, StoreDown
from ..core.http import Send
from ..core.toolbox import ToolAnswer, ToolScope
from ..core.turn import MODES
from ..store.approvals import Approvals
from ..wire.jsonrpc import Notice
from ._answers import cut, failed
from ._mcp_content import read_answer
from ._mcp_links import Heard, HttpLink, Link, SseLink
from ._mcp_servers import McpServer, Tokens
from ._mcp_session import McpSession
from ._mcp_stdio import StdioLink

logger = logging.getLogger("midstream.tools")

#: Seconds that a list is good for, that it is where a call is checked, that a failure is, and that a list may take.
FRESH, CHECKED, FAILED, LISTING = 300.0, 10.0, 10.0, 15.0
MAX_NAME, MAX_DESCRIPTION, MAX_SESSIONS = 64, 4096, 64
_ODD = re.compile(r"[^A-Za-z0-9_-]+")

#: The servers that an org may use: the operator's and its own.
Servers: TypeAlias = Callable[[str], Awaitable[Sequence[McpServer]]]
#: A number that rises when other processes have approved of a tool of an org, or seen one that has changed.
News: TypeAlias = Callable[[str], Awaitable[int]]


class Offered(Struct, frozen=True):
    """A tool as its server describes it. hints: its annotations. hash: of everything that the server says of it.
    approved: what it says now is what the org has agreed to."""

    server: str
    name: str
    description: str
    schema: dict[str, Any]
    hints: dict[str, Any]
    effect: str
    hash: str
    approved: bool = False


class Listed(Struct, frozen=True):
    """tools: under the names that models know them by, in the order of servers. problems: by server, of those that
    could not be asked."""

    tools: tuple[tuple[Tool, Offered], ...]
    problems: dict[str, str] = {}


class _Kept(Struct):
    """What a server has said last, good until `until` and while there is no news; until `checked`, for calls in the
    session that it was said in. absent: the names that one which says nothing now keeps, so that those of others stay
    as they are."""

    server: McpServer
    news: int
    tools: list[Offered]
    problem: MidstreamError | None
    until: float
    session: McpSession | None = None
    checked: float = float("-inf")
    absent: tuple[str, ...] = ()

    def stands(self, server: McpServer, news: int) -> bool:
        return (self.server, self.news) == (server, news)

    def checks(self, session: McpSession, now: float) -> bool:
        return self.session is session and now < self.checked


class _Open(Struct, eq=False):
    """users: those who ask in it now; until they are done it is not closed. forgotten: by its server, so that nothing
    is left to be closed."""

    server: McpServer
    session: McpSession
    users: int = 0
    forgotten: bool = False


def _chosen(servers: Sequence[McpServer], only: Sequence[str] | None) -> list[McpServer]:
    """Those named; of several of one name the first one, the others are reached by their ids."""
    first = {one.name: one for one in reversed(servers)}
    return [one for one in servers if only is None or one.id in only or (one.name in only and first[one.name] is one)]


async def silence(org: str) -> int:
    """The news of a process that has no others beside it."""
    return 0


class Mcp:
    """steady: seconds that never jump. approvals: of an org."""

    def __init__(
        self, servers: Servers, send: Send, approvals: Callable[[str], Approvals], steady: Callable[[], float],
        news: News = silence,
    ) -> None:  # fmt: skip
        self._servers = servers
        self._send = send
        self._approvals = approvals
        self._steady = steady
        self._news = news
        #: Hashes of the tools that each has listed last, and what the news were then.
        self._known: dict[tuple[str, str], tuple[frozenset[str], int]] = {}
        self._tokens = Tokens(send, steady)
        self._lists: dict[tuple[str, str], _Kept] = {}
        #: How often each has said that its list has changed.
        self._changes: Counter[tuple[str, str]] = Counter()
        #: The one that was used last comes last.
        self._sessions: dict[tuple[str, str], _Open] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    # listing

    async def listed(self, org: str, only: Sequence[str] | None = None, others: Collection[str] = ()) -> Listed:
        """only: ids or names of servers. others: names that tools beside these have. A server that is dead is a problem
        of its own and hides nobody."""
        servers = _chosen(await self._servers(org), only)
        found = await asyncio.gather(*(self._offered(org, server) for server in servers))
        problems = {server.name: kept.problem.message for server, kept in zip(servers, found, strict=True)
                    if kept.problem is not None}  # fmt: skip
        offered = [(server, one) for server, kept in zip(servers, found, strict=True) for one in kept.tools]
        absent = [name for kept in found for name in kept.absent]
        names = _names([(server.name, one.name, one.approved) for server, one in offered], absent, others)
        tools = [(_tool(name, one, server.seconds), one) for name, (server, one) in zip(names, offered, strict=True)]
        return Listed(tuple(tools), problems)

    async def now(self, org: str, server: str) -> tuple[Offered, ...]:
        """The tools of a server, asked anew. Raises NotFound, UpstreamError."""
        one = await self._server(org, server)
        self._lists.pop((org, one.id), None)
        kept = await self._offered(org, one)
        if kept.problem is not None:
            raise kept.problem.with_traceback(None)
        return tuple(kept.tools)

    async def approve(self, org: str, server: str, digest: str | None = None) -> tuple[Offered, ...]:
        """Agrees to every tool of a server as it is now. digest: of the list that was looked at (`digest_of`); None:
        this process's last one. Raises NotFound, UpstreamError, and Conflict when the server says something else."""
        one = await self._server(org, server)
        last = self._lists.get((org, one.id))
        if digest is None and last is not None and last.problem is None:
            digest = digest_of(last.tools)
        tools = await self.now(org, server)
        if digest_of(tools) != digest:
            raise Conflict(
                f"what {one.name} says of its tools is not what was looked at: look again, and approve of its digest",
                code="mcp_tools_changed",
            )
        await self._approvals(org).approve(one.id, {tool.name: tool.hash for tool in tools})
        self._lists.pop((org, one.id), None)
        return tuple(msgspec.structs.replace(tool, approved=True) for tool in tools)

    async def _server(self, org: str, name: str) -> McpServer:
        for server in await self._servers(org):
            if name in (server.id, server.name):
                return server
        raise NotFound(f"no such MCP server: {name}")

    async def _offered(self, org: str, server: McpServer) -> _Kept:
        key = (org, server.id)
        news = await self._news(org)
        async with self._locks.setdefault(key, asyncio.Lock()):
            kept = self._lists.get(key)
            if kept is not None and kept.stands(server, news) and self._steady() < kept.until:
                return kept
            try:
                async with _in_time(server):
                    kept = await self._once_more(org, server, partial(self._read, org, server, news))
            except MidstreamError as error:
                kept = self._lists[key] = await self._silent(org, server, news, error)
            return kept

    async def _current(self, org: str, server: McpServer, news: int, session: McpSession) -> list[Offered]:
        """What this session has listed a moment ago, or lists now: what a call in it is checked against."""
        key = (org, server.id)
        async with self._locks.setdefault(key, asyncio.Lock()):
            kept = self._lists.get(key)
            for _ in range(2):  # read once more if it says meanwhile that its list has changed
                if kept is not None and kept.stands(server, news) and kept.checks(session, self._steady()):
                    break
                async with _in_time(server):
                    kept = await self._read(org, server, news, session)
            assert kept is not None
            return kept.tools

    async def _read(self, org: str, server: McpServer, news: int, session: McpSession) -> _Kept:
        """Lists, and remembers it."""
        key = (org, server.id)
        changes = self._changes[key]
        tools = [_read_tool(server, one) for one in await session.tools()]
        kept = _Kept(server, news, await self._pinned(org, server, tools, news), None, float("-inf"))
        if changes == self._changes[key]:
            now = self._steady()
            kept = msgspec.structs.replace(kept, until=now + FRESH, session=session, checked=now + CHECKED)
        self._lists[key] = kept
        return kept

    async def _silent(self, org: str, server: McpServer, news: int, problem: MidstreamError) -> _Kept:
        try:
            absent = tuple(await self._approvals(org).of(server.id))
        except StoreDown:
            absent = ()
        return _Kept(server, news, [], problem, self._steady() + FAILED, absent=absent)

    async def _pinned(self, org: str, server: McpServer, offered: Sequence[Offered], news: int) -> list[Offered]:
        """The first list of a server is what was agreed to when it was set up; from then on changes are asked for."""
        approvals = self._approvals(org)
        agreed = await approvals.of(server.id)
        if not agreed and offered:
            await approvals.pin(server.id, {one.name: one.hash for one in offered})
            agreed = await approvals.of(server.id)
        found = [msgspec.structs.replace(one, approved=agreed.get(one.name) == one.hash) for one in offered]
        if waiting := [one.name for one in found if not one.approved]:
            logger.warning(
                "MCP server %s of %s: new or changed, and offered to no agent until approved: %s",
                server.name, org, ", ".join(waiting)[:500],
            )  # fmt: skip
        await self._tell(org, server, found, news)
        return found

    async def _tell(self, org: str, server: McpServer, found: Sequence[Offered], news: int) -> None:
        """Other processes, that they are not to go on with what they have listed. Not when it was listed anew because
        one of them has told so: they would tell each other for ever."""
        hashes = frozenset(one.hash for one in found)
        before = self._known.get((org, server.id))
        self._known[org, server.id] = (hashes, news)
        if before is None:
            new = not all(one.approved for one in found)
        else:
            new = before[0] != hashes and before[1] == news
        if new:
            await self._approvals(org).changed()

    def _hearing(self, org: str, server: McpServer) -> Heard:
        """A server may say that its list is no longer what was read: then it is read anew before the next call."""

        def heard(notice: Notice) -> None:
            if notice.method == "notifications/tools/list_changed":
                self._changes[org, server.id] += 1
                self._lists.pop((org, server.id), None)

        return heard

    # calling

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        server = await self._server(scope.org, str(tool.target.get("server", "")))
        kept = await self._offered(scope.org, server)
        if kept.problem is not None:
            raise kept.problem.with_traceback(None)

        async def call(session: McpSession) -> ToolAnswer:
            # Checked here, so that a session that is begun for the call is asked what its tools are first.
            name = str(tool.target.get("tool") or tool.name)
            found = await self._current(scope.org, server, kept.news, session)
            offered = next((one for one in found if one.name == name), None)
            if offered is None:
                return failed(f"the MCP server {server.name} has no tool {name} any more", "mcp_unknown_tool")
            if not offered.approved and tool.approved != offered.hash:
                text = f"the tool {name} has changed since it was approved; somebody has to approve it again"
                return failed(text, "mcp_not_approved", "denied")
            return read_answer(await session.call(name, arguments, offered.schema, note, tool.timeout_seconds))

        answer: ToolAnswer = await self._once_more(scope.org, server, call, tool.timeout_seconds)
        return answer

    async def _once_more(
        self,
        org: str,
        server: McpServer,
        ask: Callable[[McpSession], Awaitable[Any]],
        seconds: float | None = None,
    ) -> Any:
        """Asks in the kept session, or a new one; when the server has forgotten the kept one, it has done nothing, and
        is asked once more in a new one. seconds: that a stream of its own may take, in place of the server's."""
        key = (org, server.id)
        if _streams(server):
            return await self._alone(org, msgspec.structs.replace(server, seconds=seconds or server.seconds), ask)
        for last in (False, True):
            kept = await self._session(org, server)
            try:
                return await ask(kept.session)
            except NotFound as ended:
                if self._sessions.get(key) is kept:  # and not one that another call has begun since
                    del self._sessions[key]
                kept.forgotten = True
                if last or ended.code != "mcp_session_ended":
                    raise
            finally:
                kept.users -= 1
                await self._close_idle(key, kept)
        raise AssertionError("the last try returns or raises")

    async def _session(self, org: str, server: McpServer) -> _Open:
        """Kept or new, with one user more."""
        key = (org, server.id)
        async with self._locks.setdefault((*key, "session"), asyncio.Lock()):  # type: ignore[arg-type]
            kept = self._sessions.pop(key, None)
            if kept is not None and (kept.server != server or not kept.session.link.alive):
                await self._close_idle(key, kept)
                kept = None
            if kept is None:
                kept = _Open(server, await self._opened(org, server))
            self._sessions[key] = kept
            kept.users += 1
        return kept

    async def _opened(self, org: str, server: McpServer) -> McpSession:
        heard = self._hearing(org, server)
        session = McpSession(self._link(org, server, heard), heard)
        try:
            if isinstance(session.link, StdioLink):
                await session.link.open()
            await session.open(discover=isinstance(session.link, HttpLink))
        except BaseException:
            await session.link.close()
            raise
        return session

    async def _close_idle(self, key: tuple[str, str], left: _Open) -> None:
        """What is kept no more, and of too many the one that was used the longest time ago: whoever has no users."""
        over = self._sessions.get(key) is not left and not left.users and not left.forgotten
        gone = [left] if over else []
        idle = [key for key, kept in self._sessions.items() if not kept.users]
        gone += [self._sessions.pop(key) for key in idle[: max(0, len(self._sessions) - MAX_SESSIONS)]]
        for one in gone:
            await one.session.link.close()

    async def _alone(self, org: str, server: McpServer, ask: Callable[[McpSession], Awaitable[Any]]) -> Any:
        """One exchange over a stream of its own."""
        link = SseLink(server, self._send, self._bearer(org, server))
        try:
            await link.open()
            session = McpSession(link, self._hearing(org, server))
            await session.open(discover=False)
            return await ask(session)
        finally:
            await link.close()

    def _link(self, org: str, server: McpServer, heard: Heard) -> Link:
        if server.command:
            return StdioLink(server, heard)
        return HttpLink(server, self._send, self._bearer(org, server))

    def _bearer(self, org: str, server: McpServer) -> Callable[[bool], Awaitable[str]] | None:
        if server.oauth is None:
            return None

        async def bearer(anew: bool) -> str:
            return await self._tokens.bearer(org, server, anew=anew)

        return bearer

    async def close(self) -> None:
        """Ends every session and every process."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(kept.session.link.close() for kept in sessions), return_exceptions=True)


@contextlib.asynccontextmanager
async def _in_time(server: McpServer) -> AsyncIterator[None]:
    """Raises Cut when a list takes too long."""
    try:
        async with asyncio.timeout(min(LISTING, server.seconds)):
            yield
    except TimeoutError:
        raise Cut(f"the MCP server {server.name} does not answer") from None


def digest_of(tools: Sequence[Offered]) -> str:
    """Of everything that a server says of its tools, in whichever order."""
    return hashlib.sha256(" ".join(sorted(one.hash for one in tools)).encode()).hexdigest()


def _streams(server: McpServer) -> bool:
    """The older transport, by its word or by the address that every server of it has."""
    return not server.command and (
        server.transport == "sse" or (server.transport == "auto" and server.url.rstrip("/").endswith("/sse"))
    )


def _read_tool(server: McpServer, one: dict[str, Any]) -> Offered:
    schema = one.get("inputSchema")
    schema = schema if isinstance(schema, dict) else {"type": "object"}
    hints = one.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    effect = "unsafe"
    if hints.get("readOnlyHint") is True:
        effect = "pure"
    description = str(one.get("description") or "")
    told = {"name": one["name"], "description": description, "schema": schema, "hints": hints}
    digest = hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()
    return Offered(server.id, one["name"], cut(description, MAX_DESCRIPTION), schema, hints, effect, digest)


def _tool(name: str, one: Offered, seconds: float) -> Tool:
    """seconds: its server's, which are those of a call."""
    return Tool(
        id=f"mcp:{one.server}:{one.name}",
        name=name,
        description=one.description,
        kind="mcp",
        parameters=one.schema,
        target={"server": one.server, "tool": one.name},
        effect=one.effect,  # type: ignore[arg-type]
        approved=one.hash if one.approved else "",
        timeout_seconds=seconds,
    )


def _names(
    tools: Sequence[tuple[str, str, bool]], absent: Sequence[str] = (), others: Collection[str] = ()
) -> list[str]:
    """(server, tool, whether it is approved) -> a name that every provider takes, unlike all others: one that several
    servers or another tool use, and a word of tool_choice, is prefixed with its server's, everywhere. A tool that is
    not approved takes no other's name.
    absent: names of approved tools whose servers do not answer now. others: of tools that no server has."""
    plain = [_fit(tool) for _, tool, _ in tools]
    gone = [*map(_fit, absent), *others]
    agreed = Counter([name for name, (_, _, approved) in zip(plain, tools, strict=True) if approved] + gone)
    every = Counter(plain + gone)
    names: list[str] = []
    taken = {*others}
    for (server, _, approved), name in zip(tools, plain, strict=True):
        clashes = (agreed if approved else every)[name] > 1 or name in MODES
        wanted = _fit(f"{server}__{name}") if clashes else name
        number = 2
        while wanted in taken:
            wanted = f"{wanted[: MAX_NAME - 4]}_{number}"
            number += 1
        taken.add(wanted)
        names.append(wanted)
    return names


def _fit(name: str) -> str:
    return (_ODD.sub("_", name) or "tool")[:MAX_NAME]
