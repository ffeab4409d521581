"""What a turn came to, once its loop has ended: whose words its answer is, why they ended, what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ..agent.loop import Ended
from ..core.agents import Tool
from ..core.events import Choice
from ..core.outcome import Ending, Step, StopReason
from ..core.parts import Citation, Media, Part, Refusal, Text, declines, spoken


def said_last(ended: Ended) -> tuple[str, Any]:
    """The text that is to go out, and its value where that is known."""
    if ended.transferred is not None:
        return ended.transferred.text, ended.transferred.value
    return spoken(ended.answer.choices[0].parts) if ended.answer.choices else "", None


def own_ending(ended: Ended) -> Ending:
    """As far as the model's last words tell."""
    choice = ended.answer.choices[0] if ended.answer.choices else Choice()
    return Ending(stop=choice.stop, native_stop=choice.native_stop, declined=declines(choice.parts))


def stop_of(end: Ending, *, blocked: bool, declined: bool) -> StopReason:
    """Words in place of those that were asked for are no natural end."""
    return "content_filter" if blocked or (declined and end.stop == "stop") else end.stop


def ending_of(ended: Ended, own: Ending) -> Ending:
    """own: as the model that was asked here would have it. Where another agent goes on instead it is that one's, but
    what both lack, and why others answered, is told of both."""
    if ended.transferred is None:
        return own
    # One of a journal may have been kept without.
    other = ended.transferred.ending or replace(own, stop="stop", declined=False)
    return replace(
        other,
        missing=tuple(dict.fromkeys((*own.missing, *other.missing))),
        fallback=own.fallback or other.fallback,
        first_error=own.first_error or other.first_error,
    )


def pictures(ended: Ended) -> tuple[Media, ...]:
    """By the model itself."""
    return tuple(part for part in _own_parts(ended) if isinstance(part, Media) and part.kind == "image")


def sources(ended: Ended, text: str) -> tuple[Citation, ...]:
    """Their places are counted in the text that goes out: all that was said, what stood in a fence there, or another
    text, in which they have none."""
    said, _ = said_last(ended)
    found = _placed(_own_parts(ended)) if ended.transferred is None else ended.transferred.citations
    if text == said:
        return tuple(found)
    return tuple([_within(one, said.find(text) if text else -1, len(text)) for one in found])


def _placed(parts: Sequence[Part]) -> list[Citation]:
    """Each says where it is in its own piece of the text; one that does not speaks of the whole piece."""
    found: list[Citation] = []
    begin = 0
    for part in parts:
        if not isinstance(part, Text | Refusal):
            continue
        end = begin + len(part.text)
        for one in part.citations if isinstance(part, Text) else ():
            if one.start is not None or one.end is not None:
                until = None if one.end is None else begin + one.end
                one = replace(one, start=begin + (one.start or 0), end=until)
            elif one.url is not None and part.text:
                one = replace(one, start=begin, end=end)
            found.append(one)
        begin = end
    return found


def _within(one: Citation, begin: int, size: int) -> Citation:
    """What of its place is in the piece of a text that begins there (-1: nowhere)."""
    if one.start is None:
        return one
    start = max(one.start - begin, 0)
    end = None if one.end is None else min(one.end - begin, size)
    if begin < 0 or start >= (size if end is None else end):
        return replace(one, start=None, end=None)
    return replace(one, start=start, end=end)


def _own_parts(ended: Ended) -> tuple[Part, ...]:
    """What the model itself has answered: nothing, where another agent goes on instead."""
    return ended.answer.choices[0].parts if ended.answer.choices and ended.transferred is None else ()


def steps_of(ended: Ended, instead: str | None, tools: Sequence[Tool]) -> tuple[Step, ...]:
    """As callers are told of them. A refused answer does not stand among the results of tools either, whole or in
    part. instead: what is said in its place, None = nothing was refused."""
    shown = tuple(replace(one, arguments=own_arguments(one.arguments, one.name, tools)) for one in ended.steps)
    refused = said_last(ended)[0].strip()
    if instead is None or refused in ("", instead.strip()):
        return shown
    return tuple(replace(one, result="") if _holds(one.result.strip(), refused) else one for one in shown)


def _holds(result: str, refused: str) -> bool:
    return refused in result or result in refused


def own_arguments(arguments: dict[str, Any], name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    """Arguments without those that are not the model's to set: whatever it has said of them was not sent."""
    hidden = next((tool.mapped for tool in tools if tool.name == name), {})
    return {name: value for name, value in arguments.items() if name not in hidden} if hidden else arguments
