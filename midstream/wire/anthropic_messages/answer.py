"""An answer in one piece, read and written; and the parts of an answer as blocks."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...core.dialect import Say
from ...core.errors import BadRequest, Garbled
from ...core.events import Answer, Choice
from ...core.parts import Citation, Foreign, Media, Native, Part, Reasoning, Refusal, Text, ToolCall, declines
from ..half_pairs import mended
from .block_read import read_content
from .block_write import write_call
from .faults import refused
from .names import NAME, own_state, read_stop, write_stop
from .tokens import read_inner, read_tier, read_usage, write_usage


class _Answer(Struct):
    type: str = ""
    id: str = ""
    model: str = ""
    content: Raw = Raw(b"[]")
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    usage: Any = None
    error: Any = None


_answer = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


def read_answer(body: bytes) -> Answer:
    """Source: the body of POST /v1/messages. Raises Refused for an error object (also one that came with status 200)
    and Garbled for anything that is not a message."""
    answer, parts = _message(body, body)
    word = answer.stop_reason or ""
    parts += refusal_in(word, answer.stop_details)
    choice = Choice(parts, read_stop(word), word, answer.stop_sequence)
    used, tier = read_usage(answer.usage), read_tier(answer.usage)
    return Answer(answer.id, answer.model, 0, (choice,), used, Native(NAME, body), tier, "", read_inner(answer.usage))


def refusal_in(stop_reason: str, details: Any) -> tuple[Refusal, ...]:
    """What stop_details say of a refusal, in words for people; none where they say nothing."""
    words = details.get("explanation") if stop_reason == "refusal" and isinstance(details, dict) else None
    return (Refusal(words),) if isinstance(words, str) and words.strip() else ()


def _message(said: bytes, body: bytes) -> tuple[_Answer, tuple[Part, ...]]:
    """The message and its parts. said: what is read of the body, which may be mended."""
    try:
        answer = _answer(said)
        if answer.type == "error" or (answer.error is not None and answer.type != "message"):
            raise refused(answer.error, body)
        if answer.type != "message":
            raise Garbled("the answer is not a message object")
        return answer, read_content(answer.content, "content")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRequest) as error:
        if isinstance(error, msgspec.DecodeError) and (better := mended(said)) is not None:
            return _message(better, body)
        raise Garbled(f"the answer is not a message object: {error}") from None


def write_answer(answer: Answer, say: Say) -> bytes:
    """The message object: the provider's own bytes when it spoke this format, else written from the first choice."""
    if answer.native is not None and answer.native.dialect == NAME:
        return answer.native.raw
    choice = answer.choices[0] if answer.choices else Choice()
    blocks = (answer_block(part, number) for number, part in enumerate(choice.parts))
    return _encode(
        {
            "id": message_id(answer.id, say),
            "type": "message",
            "role": "assistant",
            "model": answer.model or say.model,
            "content": [block for block in blocks if block is not None],
            "stop_reason": write_stop(choice.stop, choice.native_stop, choice.sequence, declines(choice.parts)),
            "stop_sequence": choice.sequence,
            "usage": write_usage(answer.usage),
        }
    )


def message_id(given: str, say: Say) -> str:
    """The provider's id when it is one of this format, else the face's."""
    if given.startswith("msg_"):
        return given
    return say.id if say.id.startswith("msg_") else f"msg_{say.id}"


def answer_block(part: Part, number: int) -> dict[str, Any] | None:
    """One part of an answer as a block; None when there is nothing to show. number: of the part in the answer, for
    the id of a call that has none."""
    match part:
        case Text():
            if not part.text and not part.citations:
                return None
            block: dict[str, Any] = {"type": "text", "text": part.text, **own_state(part.state)}
            cited = [found for citation in part.citations if (found := write_citation(citation)) is not None]
            return block | {"citations": cited} if cited else block
        case Reasoning():
            return reasoning_block(part)
        case ToolCall():
            return write_call(part, part.id or f"call_{number}")
        case Foreign():
            return own_state(part.state) or None
        case Refusal():
            return {"type": "text", "text": part.text} if part.text else None
        case Media():
            return {"type": "text", "text": media_words(part)}
    return None


def reasoning_block(part: Reasoning) -> dict[str, Any] | None:
    """Thinking is shown with an empty signature when another service thought; nothing when there is no text either."""
    state = own_state(part.state)
    if state.get("type") == "redacted_thinking":
        return state
    if not part.text and not state:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": "", **state}


def write_citation(citation: Citation) -> dict[str, Any] | None:
    """Our own issuer's citation verbatim; another's as a web search result when its address is known."""
    if own := own_state(citation.state):
        return own
    if citation.url is None:
        return None
    return {
        "type": "web_search_result_location",
        "cited_text": citation.quote or "",
        "encrypted_index": "",
        "title": citation.title,
        "url": citation.url,
    }


def media_words(part: Media) -> str:
    """This format has no media in answers: its address when it has one, else words that say what there was."""
    if part.url is not None and not part.url.startswith("data:"):
        return f"![{part.name or part.kind}]({part.url})"
    return f"[{part.kind} {part.mime}: this format cannot carry it]"
