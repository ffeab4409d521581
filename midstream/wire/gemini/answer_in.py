"""What a service answered in one piece, read into an Answer; and the frames that whole bodies and streams share."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ...core.errors import BadRequest, Garbled
from ...core.events import Answer, Choice
from ...core.parts import Native, Part, Reasoning, Text, ToolCall
from ...core.usage import Usage
from ..half_pairs import forgiving
from .enums import BLOCK, FINISH, word_of
from .facts import beside_parts, read_citations, read_logprobs, searches_in
from .part_in import read_part
from .refusals import refusal
from .shape import ABSENT, NAME, given
from .stops import read_stop
from .usage import read_tier, read_usage

_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
_anything = forgiving(msgspec.json.Decoder().decode)


class TextPart(Struct, gc=False):
    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None


class Content(Struct, gc=False):
    parts: list[TextPart] | None = None


class Candidate(Struct, gc=False):
    content: Content | None = None
    finishReason: str | int | None = None
    index: int | None = None
    groundingMetadata: Raw = ABSENT
    citationMetadata: Raw = ABSENT
    urlContextMetadata: Raw = ABSENT
    logprobsResult: Raw = ABSENT


class Chunk(Struct, gc=False):
    candidates: list[Candidate] | None = None
    usageMetadata: Raw = ABSENT
    responseId: str | None = None
    modelVersion: str | None = None
    promptFeedback: Raw = ABSENT
    error: Raw = ABSENT


read_chunk = msgspec.json.Decoder(Chunk).decode
read_odd_chunk = forgiving(read_chunk)


def call_id(response_id: str, number: int, part: ToolCall) -> str:
    """The id of a call that Google sent without one: the same for the same answer, another in every other answer that
    has an id (else for every other call), and of a form that every dialect takes."""
    lead = _UNSAFE.sub("", response_id)[:24]
    if not lead:
        lead = hashlib.blake2s(
            f"{part.name}\0{part.arguments}".encode("utf-8", "surrogatepass"), digest_size=3
        ).hexdigest()
    return f"call_{lead}_{number}"


def read_answer(body: bytes) -> Answer:
    """A whole generateContent body. Raises Refused when it is an error, Garbled when it is not what Google's format
    allows. Blocked prompts (no candidates) are a choice that content_filter stopped."""
    try:
        value = _anything(body)
        chunk = read_odd_chunk(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the answer is not a generateContent response: {error}") from None
    if given(chunk.error):
        said = value["error"]
        raise refusal(said if isinstance(said, dict) else {"message": said}, body)
    candidates = value.get("candidates") or []
    response_id = chunk.responseId or ""
    calls = 0
    choices: dict[int, Choice] = {}
    for place, candidate in enumerate(candidates):
        choice, calls = _choice(candidate, response_id, calls)
        number = candidate.get("index")
        choices[number if isinstance(number, int) and 0 <= number < len(candidates) else place] = choice
    if not choices:
        choices[0] = Choice(stop="content_filter", native_stop=block_reason(value))
    searches = searches_in(candidates)
    counts = bytes(chunk.usageMetadata) if given(chunk.usageMetadata) else b""
    usage = read_usage(counts, searches) if counts else None
    ordered = tuple(choices.get(number, Choice(stop="error")) for number in range(max(choices) + 1))
    used, tier = usage or Usage(searches=searches), read_tier(counts)
    return Answer(response_id, chunk.modelVersion or "", 0, ordered, used, Native(NAME, body), tier)


def block_reason(value: dict[str, Any]) -> str:
    feedback = value.get("promptFeedback")
    reason = word_of(feedback.get("blockReason"), BLOCK) if isinstance(feedback, dict) else ""
    if not reason:
        raise Garbled("the answer holds neither candidates nor a reason why there are none")
    return reason


def _choice(candidate: dict[str, Any], response_id: str, calls: int) -> tuple[Choice, int]:
    parts: list[Part] = []
    first_call = calls
    for item in (candidate.get("content") or {}).get("parts") or ():
        part = sound_part(item)
        if isinstance(part, Text | Reasoning) and not part.text and part.state is None:
            continue
        if isinstance(part, ToolCall):
            part = part if part.id else replace(part, id=call_id(response_id, calls, part))
            calls += 1
        parts.append(part)
    texts = {index: part.text for index, part in enumerate(parts) if isinstance(part, Text)}
    for index, citations in read_citations(candidate, texts).items():
        parts[index] = replace(parts[index], citations=tuple(citations))
    parts += beside_parts(candidate)
    word = word_of(candidate.get("finishReason"), FINISH)
    stop = read_stop(word, calls > first_call)
    return Choice(tuple(parts), stop, word, logprobs=read_logprobs(candidate.get("logprobsResult"))), calls


def sound_part(item: Any) -> Part:
    try:
        return read_part(item, "part")
    except BadRequest as error:
        raise Garbled(f"the answer holds a part that is not sound: {error.message}") from None
