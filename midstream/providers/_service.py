"""What a provider's file says about its service, and how every exchange with one is made."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from ..core.agents import Range
from ..core.dialect import AnswerReader, Dialect
from ..core.errors import BadRequest, Busy, Garbled, Refused, UpstreamError, forget_frames
from ..core.events import Answer, Attempted, Counted, Done, Embedded, Gave, Whole
from ..core.http import Incoming, Outgoing, Send, Timeouts
from ..core.masking import masked
from ..core.parts import Media, Message, Native
from ..core.serving import Emit, Line, Target
from ..core.turn import Asked, Plan
from ..core.unread import check_honoured, unread_in, without_optional
from ..egress.addresses import Addresses
from ._by_word import LookedAt, looked_at
from ._concealed import conceal, secrets_of
from ._inline import Links
from ._relay import Ended, ReadWhole, Relay, good_end, whole_of
from ._told import told
from ._unwrap import Unwrapping, unwrapped

Headers = tuple[tuple[str, str], ...]
ERROR_BODY = 1024 * 1024
#: Statuses with which a service refuses what it is sent, a picture that it cannot read among it.
_REFUSES = frozenset({400, 404, 413, 415, 422})


def bearer(key: str) -> Headers:
    return (("authorization", f"Bearer {key}"),)


class Embedding(Struct, frozen=True):
    """How a service embeds: in which dialect, where to, and the functions of its format. read: given the body, and how
    many texts it is the answer to; None for a caller of this dialect, who gets it as it is."""

    dialect: str
    path: Callable[[Plan], str]
    write: Callable[[Plan], Asked]
    read: Callable[[bytes, int | None], Embedded]


class Counting(Struct, frozen=True):
    """How a service counts tokens."""

    path: Callable[[str], str]
    write: Callable[[Plan], bytes]
    read: Callable[[bytes], int]


class Drawing(Struct, frozen=True):
    """How a service gives pictures, where it does so elsewhere than where it answers."""

    path: Callable[[Plan], str]
    write: Callable[[Plan], Asked]
    read: Callable[[bytes], Answer]


class Service(Struct, frozen=True):
    """One service. base_url: as the vendor's own SDK writes it. key_env, url_env: variables that switch it on.
    path: of a model's answer, given the model and whether it streams. write: a plan as the service takes it.
    answers: in place of an exchange, for a service that is not reached over HTTP.
    vendor: by which its prices are found. keyless: may be used without a key.
    forwards: the caller's headers that mean something to it.
    builtin: part of this server, always there, with these models.
    fetches: which media by address it need not be sent, as it fetches them itself or takes none such; we inline the
    others.
    parameters: what a model of it takes of each parameter, by neutral name (core.agents.ModelDocument).
    claims: names that only models of this vendor have; None = it runs models of any vendor.
    spare: the model that usually answers in another one's place, "" = none."""

    dialect: Dialect
    base_url: str = ""
    key_env: str = ""
    url_env: str = ""
    auth: Callable[[str], Headers] = bearer
    path: Callable[[str, bool], str] = lambda model, stream: ""
    write: Callable[[Plan], Asked] | None = None
    headers: Headers = ()
    embedding: Embedding | None = None
    counting: Counting | None = None
    drawing: Drawing | None = None
    models_path: str | None = None
    read_models: Callable[[bytes], list[str]] | None = None
    answers: Callable[[Plan, Emit], Awaitable[None]] | None = None
    vendor: str = ""
    keyless: bool = False
    forwards: tuple[str, ...] = ()
    spare: Callable[[str], str] = lambda model: ""
    builtin: bool = False
    models: tuple[str, ...] = ()
    fetches: Callable[[Media], bool] = lambda media: True
    parameters: Callable[[str], Mapping[str, Range | None]] = lambda model: {}
    claims: re.Pattern[str] | None = None


class Provider:
    """One configured provider of a service. keys: secrets by label; they travel to base_url's host only.
    links: where it has media by address; providers that share them find what another one has fetched."""

    def __init__(
        self,
        name: str,
        service: Service,
        send: Send,
        *,
        base_url: str = "",
        keys: Mapping[str, str] | None = None,
        headers: Headers = (),
        timeouts: Timeouts | None = None,
        max_tokens: int = 4096,
        links: Links | None = None,
    ) -> None:
        self.name = name
        self.service = service
        self.base_url = (base_url or service.base_url).rstrip("/")
        self.keys = tuple(keys) if keys else ("0",)
        self.timeouts = timeouts or Timeouts()
        self.max_tokens = max_tokens
        self._send = send
        self.links = links or Links(send, time.monotonic, Addresses(()).check)
        self.has_key = bool(keys)
        self._fixed = fixed = (("content-type", "application/json"), *service.headers, *headers)
        self._headers = {label: (*service.auth(key), *fixed) for label, key in keys.items()} if keys else {"0": fixed}
        self._own = headers
        #: What must not be repeated of what the service is sent, by label.
        self._secrets = {label: secrets_of(key, headers) for label, key in (keys or {"0": ""}).items()}

    def lend(self, label: str, secret: str) -> None:
        """A target may name this label from now on: calls with it carry this key and none of our own."""
        if label not in self._headers:
            self._secrets[label] = secrets_of(secret, self._own)
            self._headers[label] = (*self.service.auth(secret), *self._fixed)

    def take_back(self, label: str) -> None:
        """Idempotent."""
        self._headers.pop(label, None)
        self._secrets.pop(label, None)

    async def complete(self, target: Target, key: str, plan: Plan, line: Line) -> None:
        """One exchange (core.serving.Complete)."""
        secrets = self._secrets.get(key, ())  # also when the key is taken back meanwhile
        try:
            if plan.turn.kind == "embedding":
                await self._embed(key, plan, line)
            elif plan.turn.kind == "count_tokens":
                await self._count(key, plan, line)
            elif self.service.answers is not None:
                await line.leaving()
                await self.service.answers(plan, line.emit)
            elif self.service.drawing is not None and wants_a_picture(plan, self.service.dialect.NAME):
                await self._draw(self.service.drawing, key, await self._inlined(plan), line)
            else:
                await self._answer(key, await self._inlined(plan), line)
        except UpstreamError as error:
            error.provider, error.key = self.name, key
            conceal(error, secrets)
            raise

    async def models(self, key: str = "0") -> list[str]:
        """The names of the models that the service offers now."""
        if self.service.models_path is None or self.service.read_models is None:
            return []
        secrets = self._secrets.get(key, ())
        try:
            incoming = await self._exchange("GET", self.service.models_path, key, b"")
            return self.service.read_models(await _body(incoming))
        except UpstreamError as error:
            conceal(error, secrets)
            raise

    async def _answer(self, key: str, plan: Plan, line: Line) -> None:
        service, emit, secrets = self.service, line.emit, self._secrets.get(key, ())
        write = service.write or service.dialect.write_ask
        asked, incoming = await self._posted(
            write, lambda asked: service.path(asked.model, asked.stream), key, plan, line
        )
        begun = self._begun(incoming, secrets, asked.dropped)
        read, reader, ended = self._reading(asked, plan)
        del asked  # a long prompt need not be held for as long as its answer streams
        try:
            if plan.stream:
                emit((begun,), 0)
                line.opened(incoming.resume)
                relay = Relay(reader(), read, ended, line, incoming, secrets)
                try:
                    await incoming.pump(relay.take)
                finally:
                    relay.stop()
                relay.finish()
            else:
                body = await incoming.read()
                emit((begun, *ended(whole_of(body, reader, read))), len(body))
        except UpstreamError as error:
            error.told = error.told or begun.told
            raise
        finally:
            incoming.close()

    async def _inlined(self, plan: Plan) -> Plan:
        """With what is fetched of its messages, but for those that go as their caller has written them: all others pass
        here, whatever they were written in and whatever is asked."""
        fetches, own = self.service.fetches, self.service.dialect.NAME
        if plan.turn.dialect != own:
            prompt = plan.turn.prompt
            messages = await self.links.inlined(prompt.messages, fetches, plan.holder)
            if messages is not prompt.messages:
                plan.turn.put_prompt(replace(prompt, messages=messages))
        written = [message for message in plan.history if message.native is None or message.native.dialect != own]
        if not written:
            return plan
        told = dict(zip(map(id, written), await self.links.inlined(written, fetches, plan.holder), strict=True))
        return replace(plan, history=tuple(told.get(id(message), message) for message in plan.history))

    async def _posted(
        self, write: Callable[[Plan], Asked], path: Callable[[Plan], str], key: str, plan: Plan, line: Line
    ) -> tuple[Asked, Incoming]:
        """What was asked, and the answer. A service does not say which picture it cannot read: where it refuses what it
        is sent, it is asked once more with words for all that they may stand for."""
        more = self._forwarded(plan)
        asked = self._written(write, plan)
        await line.leaving()
        try:
            return asked, await self._exchange("POST", path(plan), key, asked.body, more)
        except Refused as error:
            less = self._without_optional(plan) if error.status in _REFUSES else None
            if less is None:
                raise
            forget_frames(error)
        asked = self._written(write, less)
        return asked, await self._exchange("POST", path(less), key, asked.body, more)

    def _written(self, write: Callable[[Plan], Asked], plan: Plan) -> Asked:
        """Named are also media that words stand for already."""
        asked = write(plan)
        self._all_honoured(asked, plan)
        unread = unread_in(self._rewritten(plan))
        return replace(asked, dropped=tuple(dict.fromkeys((*asked.dropped, *unread)))) if unread else asked

    def _all_honoured(self, asked: Asked, plan: Plan) -> None:
        if plan.turn.strict:
            check_honoured(self.name, asked.dropped)

    def _rewritten(self, plan: Plan) -> tuple[Message, ...]:
        """The messages of which not all go as their caller has written them."""
        own = plan.turn.dialect == self.service.dialect.NAME
        return plan.history if own else (*plan.history, *plan.turn.prompt.messages)

    def _without_optional(self, plan: Plan) -> Plan | None:
        """None where there is nothing that may be left out."""
        less = without_optional(self._rewritten(plan))
        if less is None:
            return None
        past = len(plan.history)
        if len(less) > past:
            plan.turn.put_prompt(replace(plan.turn.prompt, messages=less[past:]))
        return replace(plan, history=less[:past])

    async def _draw(self, way: Drawing, key: str, plan: Plan, line: Line) -> None:
        secrets = self._secrets.get(key, ())
        asked, incoming = await self._posted(way.write, way.path, key, plan, line)
        body = await _body(incoming)
        begun = self._begun(incoming, secrets, asked.dropped)
        line.emit((begun, Whole(way.read(body)), Done()), len(body))

    def _reading(self, asked: Asked, plan: Plan) -> tuple[ReadWhole, Callable[[], AnswerReader], Ended]:
        """How the answer is read in one piece and as a stream, and what an answer in one piece comes to."""
        read, reader = self.service.dialect.read_answer, self.service.dialect.answer_reader
        if asked.form_tool:
            tool = asked.form_tool
            return lambda body: unwrapped(read(body), tool), lambda: Unwrapping(reader(), tool), good_end
        if asked.by_word and not plan.turn.examined:
            return read, lambda: LookedAt(reader(), asked.by_word), partial(looked_at, kind=asked.by_word)
        return read, reader, good_end

    async def _embed(self, key: str, plan: Plan, line: Line) -> None:
        way = self.service.embedding
        if way is None:
            raise BadRequest(f"the provider {self.name!r} offers no embeddings", param="model", code="unsupported")
        asked, secrets = way.write(plan), self._secrets.get(key, ())
        self._all_honoured(asked, plan)
        await line.leaving()
        incoming = await self._exchange("POST", way.path(plan), key, asked.body)
        body = await _body(incoming)
        begun = self._begun(incoming, secrets, asked.dropped)
        embed = plan.turn.embed if plan.turn.dialect != way.dialect else None
        result = way.read(body, len(embed.inputs) if embed is not None else None)
        line.emit((begun, Gave(result), Done()), len(body))

    async def _count(self, key: str, plan: Plan, line: Line) -> None:
        way = self.service.counting
        if way is None:
            line.emit((Attempted(self.name, ""), Gave(Counted(estimated_tokens(plan))), Done()), 0)
            return
        asked, secrets = way.write(await self._inlined(plan)), self._secrets.get(key, ())
        await line.leaving()
        incoming = await self._exchange("POST", way.path(plan.model), key, asked, self._forwarded(plan))
        body = await _body(incoming)
        counted = Counted(way.read(body), Native(self.service.dialect.NAME, body))
        line.emit((self._begun(incoming, secrets), Gave(counted), Done()), len(body))

    async def _exchange(self, method: str, path: str, key: str, body: bytes, more: Headers = ()) -> Incoming:
        """Sends and returns an answer with a good status; raises the service's error otherwise."""
        headers, secrets = self._headers.get(key), self._secrets.get(key, ())
        if headers is None:
            raise Busy("the key that was lent for this call has been taken back, ask again")
        incoming = await self._send(
            Outgoing(method, self.base_url + path, headers + more if more else headers, body, True, self.timeouts)
        )
        if 200 <= incoming.status < 300:
            return incoming
        try:
            refusal = await incoming.read(ERROR_BODY)
        except UpstreamError as error:
            forget_frames(error)  # they hold what was read of it
            refusal = b""
        finally:
            incoming.close()
        if not 400 <= incoming.status < 600:
            raise Garbled(f"the upstream answered {incoming.status}, which is neither an answer nor an error")
        refusal = masked(refusal, secrets)  # what is told of it may be cut: a part of a key is found no more
        refused = self.service.dialect.read_error(incoming.status, incoming.headers, refusal)
        refused.told = told(incoming.headers, secrets)
        raise refused

    def _begun(self, incoming: Incoming, secrets: tuple[str, ...], dropped: tuple[str, ...] = ()) -> Attempted:
        said = told(incoming.headers, secrets)
        return Attempted(self.name, self.service.dialect.NAME, dropped=dropped, told=said)

    def _forwarded(self, plan: Plan) -> Headers:
        """The caller's headers that mean something to this service (an Anthropic beta, for one)."""
        given = plan.turn.headers
        return tuple((name, given[name]) for name in self.service.forwards if name in given) if given else ()


async def _body(incoming: Incoming) -> bytes:
    try:
        return await incoming.read()
    finally:
        incoming.close()


def wants_a_picture(plan: Plan, dialect: str) -> bool:
    """Asked by a caller of another dialect: one of the service's own knows itself where pictures are drawn."""
    return plan.turn.dialect != dialect and "image" in plan.turn.prompt.params.modalities


def estimated_tokens(plan: Plan) -> int:
    """For services that cannot count: about four bytes of JSON a token."""
    return -(-sum(len(bytes(raw)) for raw in plan.turn.fields.values()) // 4)
