"""What the faces of our own formats share: strict bodies, their errors, and an agent's events as they are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest, MidstreamError, Unhonoured
from ..core.events import (
    Answer,
    Attempted,
    Concluded,
    Delta,
    Done,
    Embedded,
    Event,
    Failed,
    Opened,
    PartStarted,
    ToolEnded,
    ToolNoted,
    ToolStarted,
    Whole,
    unfold,
)
from ..core.ids import as_uuid
from ..core.misread import member_of
from ..core.outcome import Outcome, Step, StopReason
from ..core.parts import Media, Message, Part, Refusal, Text, address, declines, spoken
from ..core.turn import Fields, Prompt
from ..core.usage import Usage
from ..wire.sse import write_frame
from ..wire.strict_json import read_object
from ._known import decode as decode_known

T = TypeVar("T")
encode = msgspec.json.Encoder().encode
_ESCAPED = {end.encode(): b"\\u%04x" % ord(end) for end in "\x85\u2028\u2029"}
_LINE_ENDS = re.compile(b"|".join(_ESCAPED))

SSE = "text/event-stream; charset=utf-8"
#: A comment: it keeps a silent stream alive and means nothing.
HEARTBEAT = b": keepalive\n\n"
#: Model calls of one turn with tools in version 1, the last without tools.
CALLS_V1 = 15
#: Characters of a tool's answer that a summary shows.
SUMMARY = 300


class OwnDialect(Struct, frozen=True):
    """A format that only we speak (core.dialect.FaceDialect)."""

    NAME: str
    read_ask: Callable[[Fields], Prompt]
    write_answer: Callable[[Answer, Say], bytes]
    answer_writer: Callable[[Say], AnswerWriter]
    write_error: Callable[[MidstreamError, str], bytes]


# what is asked


def read_body(decoder: msgspec.json.Decoder[T], body: bytes) -> tuple[dict[str, msgspec.Raw], T]:
    """The members of a body, and the same as the type that names all of them. Raises BadRequest; a field that the
    face does not know is refused by name."""
    fields = read_object(body)
    return fields, decode(decoder, body)


def decode(decoder: msgspec.json.Decoder[T], data: bytes, path: str = "") -> T:
    """path: where data stands in its body."""
    try:
        return decode_known(decoder, data)
    except BadRequest as error:
        raise _placed(error, path) from None


def _placed(error: BadRequest, path: str) -> BadRequest:
    """The same refusal, with the whole path of the field."""
    said = error.message.removeprefix(f"{error.param}: ") if error.param else error.message
    inner = error.param or ""
    if (member := member_of(said)) is not None:
        name, why, code = member
        where = joined(path, inner, name)
        return BadRequest(f"{where}: {why}", param=where, code=code)
    where = joined(path, inner)
    return BadRequest(f"{where}: {said}" if where else said, param=where or None)


def joined(*pieces: str) -> str:
    out = ""
    for piece in pieces:
        out += piece if not out or piece.startswith("[") or not piece else f".{piece}"
    return out


def no_prompt(fields: Fields) -> Prompt:
    """What a model is asked in an agent's turn is not the face's to say."""
    raise BadRequest("this format is not a model's")


def said_by_user(text: str, media: tuple[Media, ...]) -> Callable[[Fields], Prompt]:
    parts: tuple[Part, ...] = (*media, Text(text)) if text else media
    return lambda fields: Prompt((Message("user", parts),))


# what is answered


def finish_word(stop: StopReason, declined: bool = False) -> str:
    """One set of words: stop, length, tool_calls, content_filter, error. declined: it is a refusal, which has no other
    place here and is no natural end."""
    if declined and stop == "stop":
        return "content_filter"
    return "length" if stop == "pause" else stop


def outcome_of(answer: Answer) -> Outcome:
    """What one model call came to, in the words for an agent's turn."""
    choice = answer.choices[0] if answer.choices else None
    parts = choice.parts if choice else ()
    stop = choice.stop if choice else "error"
    declined = declines(parts)
    return Outcome(
        text=spoken(parts),
        stop="content_filter" if declined and stop == "stop" else stop,
        declined=declined,
        native_stop=choice.native_stop if choice else "",
        model=answer.model,
        usage=answer.usage,
        images=tuple(part for part in parts if isinstance(part, Media)),
        id=answer.id,
    )


def vectors_of(result: Embedded) -> Outcome:
    """The same of a call that gave vectors."""
    return Outcome("", model=result.model, usage=result.usage, vectors=result.vectors)


def vectors_v1(outcome: Outcome) -> bytes:
    told = {"text": outcome.text, "finishReason": finish_word(outcome.stop)} if outcome.blocked else {}
    usage = usage_v1(outcome.usage, outcome.cost)
    return encode({"embeddings": outcome.vectors, **told, "usage": usage, **more_v1(outcome)})


def usage_v1(usage: Usage, cost: str | None) -> dict[str, Any]:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cachedTokens": usage.cached_tokens,
        "reasoningTokens": usage.out_reasoning,
        "cost": cost,
    }


#: Fields of an agent's turn by the names that they have here.
NAMES_V1 = {
    "agent_id": "agentId",
    "tool_choice": "toolChoice",
    "document_ids": "documentIds",
    "limit_type": "limitType",
    "current_usage": "currentUsage",
    "limit_value": "limitValue",
}
#: The user's words in a turn: a parameter of a model that is called so, too, keeps its name.
USER_V1 = "message"
#: Of conversations and messages, which are UUIDs here.
_IDS = re.compile(r"\b(?:conv|msg)_[0-9a-f]{24}\b")


def more_v1(outcome: Outcome) -> dict[str, Any]:
    """What is told of a turn only when there is such."""
    more = {
        "images": [address(image) for image in outcome.images],
        "missingVariables": outcome.missing,
        "droppedParameters": [NAMES_V1.get(name, name) for name in outcome.dropped],
        "notices": outcome.noted,
        "blocked": outcome.blocked,
    }
    return {name: value for name, value in more.items() if value}


def error_v1(error: MidstreamError, request_id: str, names: Mapping[str, str] = NAMES_V1) -> bytes:
    """With {limitType, currentUsage, limitValue} when a limit was reached. names: of fields, as the face has them."""
    told: dict[str, Any] = {"statusCode": error.status, "message": message_v1(error, names), "error": error.code}
    limit: dict[str, Any] = getattr(error, "limit", None) or {}
    return encode(told | {NAMES_V1.get(name, name): value for name, value in limit.items()})


def message_v1(error: MidstreamError, names: Mapping[str, str] = NAMES_V1) -> str:
    """With the names that fields and ids have here."""
    if isinstance(error, Unhonoured):
        return Unhonoured(error.who, [names.get(name, name) for name in error.names]).message
    message, param = error.message, error.param or ""
    name = USER_V1 if param == "user" and names is NAMES_V1 else names.get(param)
    if name and message.startswith(param):
        message = f"{name}{message[len(param) :]}"
    return _IDS.sub(lambda found: as_uuid(found[0]), message)


def summary(text: str) -> str:
    shown = " ".join(text[: SUMMARY * 4].split())
    return shown if len(shown) <= SUMMARY else shown[: SUMMARY - 1] + "…"


def step_v1(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "name": step.name,
        "arguments": step.arguments,
        "status": step.status,
        "summary": summary(step.result or step.error),
        "durationMs": step.ms,
    }


class Words(Struct, frozen=True):
    """How a face tells each thing that happens in an agent's turn; b"" = not at all."""

    opened: Callable[[Opened], bytes]
    text: Callable[[str], bytes]
    tool_call: Callable[[ToolStarted], bytes]
    tool_result: Callable[[ToolEnded], bytes]
    concluded: Callable[[Outcome], bytes]
    failed: Callable[[MidstreamError], bytes]
    tool_noted: Callable[[ToolNoted], bytes] = lambda noted: b""


class AgentStream:
    """An agent's turn as it is told. What it came to is told last, once all of it is settled."""

    __slots__ = ("_outcome", "_spoken", "words")

    def __init__(self, words: Words) -> None:
        self.words = words
        self._spoken: set[int] = set()
        self._outcome: Outcome | None = None

    def write(self, events: Iterable[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            kind = type(event)
            if kind is Delta:
                if event.index in self._spoken and not event.choice and event.text:  # type: ignore[union-attr]
                    out.append(self.words.text(event.text))  # type: ignore[union-attr]
            elif (told := _TOLD.get(kind)) is not None:
                out.append(told(self, event))
        return b"".join(out)

    def _attempted(self, event: Attempted) -> bytes:
        self._spoken.clear()
        return b""

    def _part(self, event: PartStarted) -> bytes:
        part = event.part
        if event.choice or not isinstance(part, Text | Refusal):
            return b""
        self._spoken.add(event.index)
        return self.words.text(part.text) if part.text else b""

    def _whole(self, event: Whole) -> bytes:
        return self.write(unfold(event.answer))

    def _concluded(self, event: Concluded) -> bytes:
        self._outcome = event.outcome
        return b""

    def _done(self, event: Done) -> bytes:
        return self.words.concluded(self._outcome) if self._outcome is not None else b""


_TOLD: dict[type[Event], Callable[[AgentStream, Any], bytes]] = {
    Attempted: AgentStream._attempted,
    PartStarted: AgentStream._part,
    Whole: AgentStream._whole,
    Opened: lambda stream, event: stream.words.opened(event),
    ToolStarted: lambda stream, event: stream.words.tool_call(event),
    ToolNoted: lambda stream, event: stream.words.tool_noted(event),
    ToolEnded: lambda stream, event: stream.words.tool_result(event),
    Concluded: AgentStream._concluded,
    Done: AgentStream._done,
    Failed: lambda stream, event: stream.words.failed(event.error),
}


def models_v1(ids: list[str], query: Mapping[str, str]) -> bytes:
    return encode({"models": [{"id": id} for id in ids]})


def model_v1(id: str) -> bytes:
    return encode({"id": id})


def line_of(value: Any) -> bytes:
    """As JSON that is one line also to who ends a line wherever Unicode does (Python's str.splitlines, with it httpx's
    iter_lines). What else ends one there, JSON never holds as it is."""
    data = encode(value)
    return data if data.isascii() else _LINE_ENDS.sub(lambda found: _ESCAPED[found[0]], data)


def event(name: bytes, value: Any) -> bytes:
    """One server-sent event."""
    return write_frame(line_of(value), name)


def text_v1(delta: str) -> bytes:
    return event(b"text", {"delta": delta})


def tool_call_v1(call: ToolStarted) -> bytes:
    return event(b"tool_call", {"id": call.id, "name": call.name, "arguments": call.arguments})


def tool_result_v1(ended: ToolEnded) -> bytes:
    told = {
        "id": ended.id,
        "name": ended.name,
        "status": ended.status,
        "summary": summary(ended.text or ended.failure),
        "durationMs": ended.ms,
    }
    return event(b"tool_result", told)


def failed_v1(error: MidstreamError) -> bytes:
    return event(b"error", {"statusCode": error.status, "message": message_v1(error)})
