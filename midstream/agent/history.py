"""What of a conversation the model is shown: the newest messages that fit, tool calls never without their results."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence, Set
from itertools import islice

import msgspec
from msgspec.structs import replace

from ..core.estimates import tokens_of
from ..core.json_words import arguments_in
from ..core.parts import (
    Media,
    Message,
    Part,
    Text,
    ToolCall,
    ToolResult,
    has_media,
    media_in,
)  # fmt: skip
from ..core.unread import words_for

#: Of a thread that stay in sight when their messages do not.
FILES = 10
#: Pictures of its own that a model which draws is shown again.
DRAWINGS = 4
LOST = "No result of this call was recorded."


def window(messages: Sequence[Message], count: int | None = None, tokens: int | None = None) -> tuple[Message, ...]:
    """The newest messages: at most `count`, and by estimate at most `tokens`. It begins where a user speaks, if
    that is among them, else never between a call and its result."""
    start = 0 if count is None else max(0, len(messages) - max(0, count))
    if tokens is not None:
        start = max(start, _within(messages, tokens))
    if start:
        start = _whole_from(messages, start)
    return with_results(messages[start:])


def left_files(messages: Sequence[Message], shown: Sequence[Message]) -> tuple[Media, ...]:
    """Files that users have given in messages that are not shown any more: the newest ones, oldest first, each once."""
    seen = {id(part) for message in shown for part in message.parts}
    found: list[Media] = []
    for message in reversed(messages):
        for part in reversed(message.parts) if message.role == "user" else ():
            if len(found) == FILES:
                break
            if type(part) is Media and part.kind == "file" and id(part) not in seen and part not in found:
                found.append(part)
    return tuple(reversed(found))


def with_drawings(messages: Sequence[Message], count: int) -> tuple[Message, ...]:
    """Of what models have drawn, the newest `count` pictures; other media of answers and addresses, which services give
    for an hour, are left out, and so is an answer of which nothing is left: words stand for it where none is shown."""
    if not has_media(messages):
        return tuple([message for message in messages if message.parts])
    out: list[Message] = []
    shown = count > 0
    for message in reversed(messages):
        if message.role == "assistant":
            parts: list[Part] = []
            for part in reversed(message.parts):
                if type(part) is Media:
                    if part.kind != "image" or part.data is None or count <= 0:
                        continue
                    count -= 1
                parts.append(part)
            if len(parts) < len(message.parts):
                if not parts and not shown:  # who asked was answered
                    parts = [words_for(part) for part in media_in(message.parts)[:1]]
                message = replace(message, parts=tuple(reversed(parts)), native=None)
        if message.parts:
            out.append(message)
    return tuple(reversed(out))


def shown_to_user(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Media, ...]]:
    """What was drawn stands in the user's next message: an answer has no place for it in most formats, and Gemini's
    wants its signature there. Besides, the pictures after which the user has not spoken yet."""
    out: list[Message] = []
    held: tuple[Media, ...] = ()
    for message in messages:
        if message.role == "assistant":
            drawn = tuple(replace(part, state=None) for part in message.parts if type(part) is Media)
            if drawn:
                held += drawn
                rest = tuple(part for part in message.parts if type(part) is not Media)
                message = replace(message, parts=rest, native=None)
        elif message.role == "user" and held:
            message, held = replace(message, parts=(*held, *message.parts), native=None), ()
        if message.parts:
            out.append(message)
    return tuple(out), held


def _within(messages: Sequence[Message], tokens: int) -> int:
    """Where the newest messages begin that are estimated at no more than `tokens`."""
    place = len(messages)
    for message in reversed(messages):
        tokens -= tokens_of(message)
        if tokens < 0:
            break
        place -= 1
    return place


def _whole_from(messages: Sequence[Message], start: int) -> int:
    begins = [place for place, message in enumerate(islice(messages, start, None), start) if message.role != "tool"]
    spoken = next((place for place in begins if messages[place].role == "user"), None)
    if spoken is not None:
        return spoken
    return begins[0] if begins else len(messages)


def joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """What is given by the name of a function alone answers a call of the answer before it: the first of that name that
    nobody has answered. A request is read without the conversation that it goes on with, which has the calls."""
    out: list[Message] = []
    waiting = _Waiting(())
    for message in messages:
        if message.role == "assistant":
            waiting = _Waiting(part for part in message.parts if type(part) is ToolCall)
        elif message.role == "tool":
            parts = tuple(waiting.answered(part) if type(part) is ToolResult else part for part in message.parts)
            if parts != message.parts:
                message = replace(message, parts=parts)
        out.append(message)
    return tuple(out)


class _Waiting:
    """Calls without a result yet; in a queue of each name, as there may be thousands."""

    def __init__(self, calls: Iterable[ToolCall]) -> None:
        self._open: set[str] = set()
        self._queues: defaultdict[str, deque[str]] = defaultdict(deque)
        for call in calls:
            self._open.add(call.id)
            self._queues[call.name].append(call.id)

    def answered(self, result: ToolResult) -> ToolResult:
        if result.by_name:
            queue = self._queues[result.name]
            while queue and queue[0] not in self._open:
                queue.popleft()
            if queue and queue[0] != result.id:
                result = replace(result, id=queue[0])
        self._open.discard(result.id)
        return result


def continued(history: Sequence[Message], answered: Set[str] = frozenset()) -> tuple[Message, ...]:
    """The history of a conversation whose turns may have broken off, so that services take it. answered: the calls to
    which what is said now brings the results: what failed since they were made stands before them. Of the others, those
    that were cut are left out, and a result that never came is said to be lost."""
    last = next((at for at in reversed(range(len(history))) if history[at].role == "assistant"), None)
    if last is not None and not answered.isdisjoint(part.id for part in history[last].parts if type(part) is ToolCall):
        behind = history[last + 1 :]
        since, results = ([one for one in behind if (one.role == "tool") is told] for told in (False, True))
        history = (*history[:last], *since, history[last], *results)
    return with_results(_without_cut(history, answered), answered)


def _without_cut(history: Sequence[Message], answered: Set[str]) -> list[Message]:
    """Without the calls whose arguments are no object, where nobody has answered them either."""
    out: list[Message] = []
    seen: set[str] = set()
    for message in reversed(history):
        if message.role == "assistant" and any(type(part) is ToolCall for part in message.parts):
            kept = tuple(
                part
                for part in message.parts
                if type(part) is not ToolCall or part.id in answered or part.id in seen or not _is_cut(part)
            )
            seen.clear()
            if len(kept) < len(message.parts):
                message = replace(message, parts=kept, native=None)
            if not kept:
                continue
        elif message.role == "tool":
            seen.update(part.id for part in message.parts if type(part) is ToolResult)
        out.append(message)
    out.reverse()
    return out


def _is_cut(call: ToolCall) -> bool:
    if call.kind != "function":
        return False
    try:
        return not isinstance(arguments_in(call.arguments), dict)
    except msgspec.DecodeError:
        return True


def with_results(messages: Sequence[Message], later: Set[str] = frozenset()) -> tuple[Message, ...]:
    """Every call answered right behind it, as services demand: a result that was lost is said to be, one that no
    call asked for is left out. later: calls whose results are still to be put behind these messages."""
    out: list[Message] = []
    open_calls: dict[str, ToolCall] = {}
    for message in messages:
        if message.role == "tool":
            kept = tuple(part for part in message.parts if type(part) is not ToolResult or part.id in open_calls)
            for part in kept:
                if type(part) is ToolResult:
                    open_calls.pop(part.id, None)
            if kept:
                out.append(message if len(kept) == len(message.parts) else Message("tool", kept))
            continue
        _close(open_calls, out)
        out.append(message)
        if message.role == "assistant":
            open_calls = {part.id: part for part in message.parts if type(part) is ToolCall}
    _close({id: call for id, call in open_calls.items() if id not in later}, out)
    return tuple(out)


def _close(open_calls: dict[str, ToolCall], out: list[Message]) -> None:
    if open_calls:
        lost = tuple(ToolResult(id, (Text(LOST),), call.name, is_error=True) for id, call in open_calls.items())
        out.append(Message("tool", lost))
        open_calls.clear()
