"""Whole replies: body -> Answer."""

from __future__ import annotations

import msgspec

from ...core.errors import Garbled
from ...core.events import Answer, Choice
from ...core.parts import Citation, Foreign, Native, Part, Reasoning, Refusal, State, Text, ToolCall
from ...core.usage import Usage
from ..half_pairs import mended
from .errors import error_in_reply
from .parts_in import (
    as_text,
    details_state,
    details_text,
    read_call,
    read_citations,
    read_content_item,
    read_image,
    read_sound,
    read_sources,
    thought_of,
    unique_id,
    whole_arguments,
)
from .quirks import NAME
from .reasons import read_reason, word_of
from .shapes import Body, BodyChoice, Said
from .usage import read_billed, read_tier, read_usage, readable

_body = msgspec.json.Decoder(Body).decode
_anything = msgspec.json.Decoder().decode


def read_answer(body: bytes) -> Answer:
    """Raises Refused when the body is an error in spite of its status, Garbled when it is no reply at all."""
    reply = _decoded(body)
    if reply.error is not None and not reply.choices:
        raise error_in_reply(reply.error, body)
    if not reply.choices:
        raise Garbled("the reply holds no choices")
    answer_id = reply.id or ""
    choices = reply.choices if len(reply.choices) == 1 else _in_order(reply.choices)
    # A list is Mistral's way, which clients of this dialect do not read: such a reply is written anew for them.
    as_lists = list in [type(one.message.content) for one in choices if one.message is not None]
    told = [_choice(choice, answer_id, at) for at, choice in enumerate(choices)]
    if reply.search_results or reply.citations:
        told[0] = _sourced(told[0], read_sources(reply.search_results, reply.citations))
    return Answer(
        id=answer_id,
        model=reply.model or "",
        created=int(reply.created or 0),
        choices=tuple(told),
        usage=read_usage(reply.usage) if reply.usage is not None else Usage(),
        native=None if as_lists else Native(NAME, body),
        tier=read_tier(reply.service_tier, reply.usage),
        billed=read_billed(reply.usage),
    )


def _decoded(body: bytes) -> Body:
    try:
        try:
            return _body(body)
        except msgspec.ValidationError:
            return readable(_anything(body), Body)
    except msgspec.ValidationError as error:
        raise Garbled(f"the reply is not a chat completion: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if (better := mended(body)) is not None:
            return _decoded(better)
        raise Garbled(f"the reply is not valid JSON: {error}") from None


def _in_order(choices: list[BodyChoice]) -> list[BodyChoice]:
    numbered = [(choice.index if choice.index is not None else at, choice) for at, choice in enumerate(choices)]
    numbered.sort(key=lambda pair: pair[0])
    return [choice for _, choice in numbered]


def _choice(choice: BodyChoice, answer_id: str, number: int) -> Choice:
    said = choice.message or Said()
    word = word_of(choice.finish_reason, choice.finish_details)
    # Some servers leave the word empty in an answer that is whole (Snowflake's, for Claude).
    end = "stop" if not word and choice.finish_reason == "" else word
    if choice.logprobs is None and choice.native_finish_reason is None and _is_plain(said):
        stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
        return Choice((Text(said.content),), read_reason(end, False), word, stop)  # type: ignore[arg-type]
    parts = _parts(said, answer_id, number)
    probs = choice.logprobs or {}
    tokens = probs.get("content") or probs.get("refusal")
    return Choice(
        parts=tuple(parts),
        stop=read_reason(end, any(isinstance(part, ToolCall) for part in parts)),
        native_stop=choice.native_finish_reason or word,
        sequence=choice.stop_reason if isinstance(choice.stop_reason, str) else None,
        logprobs=tuple(tokens) if isinstance(tokens, list) else (),
    )


def _is_plain(said: Said) -> bool:
    """Is there a text and nothing else? (most replies)"""
    return type(said.content) is str and not (
        not said.content
        or said.reasoning_content
        or said.reasoning
        or said.reasoning_details
        or said.refusal
        or said.tool_calls
        or said.function_call
        or said.audio
        or said.images
        or said.annotations
        or said.executed_tools
    )


def _parts(said: Said, answer_id: str, number: int) -> list[Part]:
    parts = _reasoning(said)
    parts += _content(said)
    if said.refusal:
        parts.append(Refusal(said.refusal))
    parts += [image for item in said.images or () if (image := read_image(item)) is not None]
    if said.audio is not None and said.audio.data:
        parts.append(read_sound(said.audio, said.audio.data))
    elif said.audio is not None and said.audio.transcript:
        parts.append(Text(said.audio.transcript))
    for item in said.executed_tools or ():
        parts.append(Foreign("executed_tools", State(NAME, item)))
    return parts + _calls(said, answer_id, number)


def _reasoning(said: Said) -> list[Part]:
    told = thought_of(said)
    details = said.reasoning_details
    if not told and not details:
        return []
    text = told if told is not None else details_text(details or [])
    return [Reasoning(text, state=details_state(details) if details else None)]


def _content(said: Said) -> list[Part]:
    if isinstance(said.content, list):
        parts = [part for item in said.content if (part := read_content_item(item)) is not None]
    else:
        text = as_text(said.content)
        parts = [Text(text)] if text else []
    if said.annotations:
        return _with_citations(parts, read_citations(said.annotations))
    return parts


def _sourced(choice: Choice, sources: tuple[Citation, ...]) -> Choice:
    """With sources that are told beside it, where it cites none itself."""
    if any(isinstance(part, Text) and part.citations for part in choice.parts):
        return choice
    return msgspec.structs.replace(choice, parts=tuple(_with_citations(list(choice.parts), sources)))


def _with_citations(parts: list[Part], citations: tuple[Citation, ...]) -> list[Part]:
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        if isinstance(part, Text):
            parts[at] = msgspec.structs.replace(part, citations=citations)
            return parts
    return [*parts, Text("", citations=citations)] if citations else parts


def _calls(said: Said, answer_id: str, number: int) -> list[Part]:
    taken: set[str] = set()
    calls: list[Part] = [
        read_call(call, unique_id(call.id, taken, answer_id, number, position))
        for position, call in enumerate(said.tool_calls or ())
    ]
    if said.function_call is not None and said.function_call.name:
        own = unique_id(None, taken, answer_id, number, len(calls))
        calls.append(ToolCall(own, said.function_call.name, whole_arguments(said.function_call.arguments)))
    return calls
