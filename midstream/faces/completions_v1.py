"""Plain completions, version 1 of our own format: one call of a model, as JSON or as NDJSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest
from ..core.events import (
    Answer,
    Attempted,
    Counted,
    Delta,
    Done,
    Embedded,
    Event,
    Failed,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
    unfold,
)
from ..core.json_words import arguments_in
from ..core.parts import Media, Part, Refusal, Text, ToolCall, declines, spoken
from ..core.turn import Fields, Params, Prompt, Turn
from ..core.unread import at_places, places_of
from ..core.usage import Usage
from ..core.web import Request, Route
from ..wire.ndjson import write_line
from ._known import fresh_messages, is_strict
from ._messages_v1 import read_choice, read_messages, read_tools
from ._own import OwnDialect, encode, error_v1, finish_word, line_of, message_v1, model_v1, models_v1, read_body

NAME = "completions_v1"
ID_PREFIX = "cmpl_"
MESSAGES = "messages"
STREAM_TYPE = "application/x-ndjson"
PING = b"\n"
MARK = ""
KEY_IN_QUERY = False
OURS = True
TRANSACTIONS = True
#: Fields by the names that they have here.
CALLED = {"max_tokens": "maxOutputTokens", "tool_choice": "toolChoice"}
ROUTES = (Route("POST", "/api/v1/completions", "chat", "Ask a model, without an agent"),)


class Body(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    model: str | None = None
    messages: list[Raw] | None = None
    stream: bool | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    tools: list[Raw] | None = None
    tool_choice: Any = None


_body = msgspec.json.Decoder(Body)
BODY: type[Struct] | None = Body
_of_fields = msgspec.json.Encoder().encode


def read(task: str, request: Request) -> Turn:
    """Raises BadRequest."""
    fields, body = read_body(_body, request.body)
    if not body.model:
        raise BadRequest("model: name the model", param="model", code="missing_required_parameter")
    if not body.messages:
        raise BadRequest("messages: at least one is needed", param="messages", code="missing_required_parameter")
    turn = Turn(
        NAME,
        fields,
        read_ask,
        model=body.model,
        stream=body.stream is True,
        strict=is_strict(request.headers),
        fresh=fresh_messages(NAME, msgspec.json.decode(fields["messages"]), body.messages),
        headers=request.headers,
    )
    _ = turn.prompt  # nobody else speaks this format, so it is read in any case: what is wrong is said at once
    return turn


def read_ask(fields: Fields) -> Prompt:
    """Raises BadRequest with the field's path."""
    body = _body.decode(_of_fields(dict(fields)))
    if body.temperature is not None and not 0 <= body.temperature <= 2:
        raise BadRequest("temperature: must be between 0 and 2", param="temperature")
    if body.max_output_tokens is not None and body.max_output_tokens < 1:
        raise BadRequest("maxOutputTokens: must be at least 1", param="maxOutputTokens")
    tools = read_tools(body.tools or [])
    messages = read_messages(body.messages or [])
    return Prompt(
        messages=at_places(messages, places_of(messages)),
        tools=tools,
        tool_choice=read_choice(body.tool_choice, tools),
        params=Params(max_tokens=body.max_output_tokens, temperature=body.temperature),
    )


def write_answer(answer: Answer, say: Say) -> bytes:
    choice = answer.choices[0] if answer.choices else None
    parts = choice.parts if choice else ()
    return encode(
        {
            "outputText": spoken(parts),
            "output": [told for part in parts if (told := _told(part)) is not None],
            "usage": _usage(answer.usage),
            "model": answer.model or say.model,
            "finishReason": finish_word(choice.stop if choice else "error", declines(parts)),
        }
    )


def _told(part: Part) -> dict[str, Any] | None:
    """What a model thinks to itself is not told."""
    if isinstance(part, Text | Refusal):
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCall):
        return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": _arguments(part.arguments)}
    if isinstance(part, Media):
        return _media(part)
    return None


def _media(media: Media) -> dict[str, Any]:
    return {"type": media.kind, "mimeType": media.mime, "url": media.url, "data": media.data}


def _arguments(text: str) -> Any:
    """The object, or the model's text when it is none."""
    try:
        return arguments_in(text)
    except msgspec.DecodeError:
        return text


def _usage(usage: Usage) -> dict[str, int]:
    return {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens}


def _line(kind: str, **facts: Any) -> bytes:
    return write_line(line_of({"type": kind, **facts}))


class Lines:
    """Events as lines. id: the number of a text in its answer, a tool call's own id."""

    def __init__(self, say: Say) -> None:
        self._model = say.model
        self._open: dict[int, ToolCall | Text] = {}
        self._given: dict[int, list[str]] = {}
        self._usage = Usage()
        self._stopped = Stopped("error")
        self._declined = False

    def write(self, events: Iterable[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if (told := _TOLD.get(type(event))) is not None and not getattr(event, "choice", 0):
                out.append(told(self, event))
        return b"".join(out)

    def _delta(self, event: Delta) -> bytes:
        part = self._open.get(event.index)
        if part is None or not event.text:
            return b""
        if isinstance(part, ToolCall):
            self._given[event.index].append(event.text)
            return _line("tool_call_delta", id=part.id, delta=event.text)
        return _line("text_delta", id=str(event.index), delta=event.text)

    def _begin(self, event: PartStarted) -> bytes:
        part, index = event.part, event.index
        if isinstance(part, ToolCall):
            self._open[index] = part
            self._given[index] = []
            started = _line("tool_call_start", id=part.id, name=part.name)
            return started + (self._delta(Delta(index, part.arguments)) if part.arguments else b"")
        if isinstance(part, Media):
            return write_line(line_of(_media(part)))
        if not isinstance(part, Text | Refusal):
            return b""
        self._open[index] = Text("")
        self._declined = self._declined or isinstance(part, Refusal)
        return _line("text_delta_start", id=str(index)) + self._delta(Delta(index, part.text))

    def _end(self, event: PartEnded) -> bytes:
        part = self._open.pop(event.index, None)
        if part is None:
            return b""
        if isinstance(part, ToolCall):
            arguments = _arguments("".join(self._given.pop(event.index)))
            return _line("tool_call_end", id=part.id, name=part.name, arguments=arguments)
        return _line("text_delta_end", id=str(event.index))

    def _whole(self, event: Whole) -> bytes:
        return self.write(unfold(event.answer))

    def _attempt(self, event: Attempted) -> bytes:
        self._open.clear()
        self._declined = False
        return b""

    def _start(self, event: Started) -> bytes:
        self._model = event.model or self._model
        return b""

    def _use(self, event: Used) -> bytes:
        self._usage = event.usage
        return b""

    def _stop(self, event: Stopped) -> bytes:
        self._stopped = event
        return b""

    def _done(self, event: Done) -> bytes:
        ended = b"".join(self._end(PartEnded(index)) for index in list(self._open))
        used = _line("usage", **_usage(self._usage))
        word = finish_word(self._stopped.reason, self._declined)
        return ended + used + _line("finish", finishReason=word, model=self._model)

    def _fail(self, event: Failed) -> bytes:
        told = message_v1(event.error, CALLED)
        return _line("error", statusCode=event.error.status, message=told, error=event.error.code)


_TOLD: dict[type[Event], Callable[[Lines, Any], bytes]] = {
    Delta: Lines._delta,
    PartStarted: Lines._begin,
    PartEnded: Lines._end,
    Whole: Lines._whole,
    Attempted: Lines._attempt,
    Started: Lines._start,
    Used: Lines._use,
    Stopped: Lines._stop,
    Done: Lines._done,
    Failed: Lines._fail,
}


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return Lines(say)


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    assert isinstance(result, Embedded)
    return encode({"embeddings": result.vectors, "usage": _usage(result.usage), "model": result.model})


write_models, write_model = models_v1, model_v1
DIALECT = OwnDialect(NAME, read_ask, write_answer, Lines, partial(error_v1, names=CALLED))
