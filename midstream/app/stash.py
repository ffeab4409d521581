"""Keeps what a provider wants back (signatures, encrypted reasoning, ids) for clients whose dialect cannot carry it.

Keyed by org and tool call: the one thing that every client does send back. An id that is not by chance (some services
count: `functions.weather:0`, `0`) is any conversation's, and one's thoughts would get into another: such a call is
known by all that was said before it as well. In memory, bounded: an entry that is gone costs the model its earlier
thoughts, nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from msgspec.structs import replace

from ..core.events import Answer
from ..core.json_words import too_deep
from ..core.parts import Message, Part, Reasoning, State, Text, ToolCall, ToolResult
from ..core.said import Said
from ..core.turn import Prompt
from ..runs.order import Order
from ..wire.anthropic_messages.names import wire_id

ENTRIES = 10_000
#: Under these some dialects carry arguments that are no JSON object.
_WRAPPED = ("input", "_raw")
#: A piece of an id that chance has made has at least so many characters, letters and digits.
_CHANCE = 8
_PIECES = re.compile(r"[A-Za-z0-9]+")
_MADE = re.compile(r"_[0-9a-f]{8}$")
_Key: TypeAlias = tuple[str, str, bytes]


class _Told(NamedTuple):
    """What goes back with a call. id: its own, also where a dialect does not take it. thoughts: those since the call
    before it, each with the text that it followed."""

    id: str
    state: State | None
    thoughts: tuple[tuple[str, Reasoning], ...]


class Stash:
    """remember an answer's states and ids; restore them into a later prompt of the same org."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._calls: OrderedDict[_Key, _Told] = OrderedDict()

    def answered(self, order: Order, answer: Answer) -> None:
        self.remember(order.org, answer, lambda: order.turn.said)

    def remember(self, org: str, answer: Answer, asked: Callable[[], bytes]) -> None:
        """asked: what it answers, as core.said has it, made where it is needed; b"" where nobody has read that."""
        for choice in answer.choices:
            said, thoughts = "", list[tuple[str, Reasoning]]()
            for part in choice.parts:
                if isinstance(part, Text):
                    said += part.text
                elif isinstance(part, Reasoning) and part.state is not None:
                    if said.strip():
                        thoughts.append((said, part))
                        said = ""
                    else:  # white space alone is no text that anything could stand behind
                        thoughts.append(("", part))
                elif isinstance(part, ToolCall):
                    if part.state is not None or thoughts or wire_id(part.id) != part.id:
                        chance = _is_by_chance(part)
                        before = b"" if chance else asked()
                        if chance or before:  # else nothing could find it again
                            self._calls[_key(org, part, before)] = _Told(part.id, part.state, tuple(thoughts))
                    said, thoughts = "", []
        while len(self._calls) > self._entries:
            self._calls.popitem(last=False)

    def restore(self, org: str, prompt: Prompt) -> Prompt:
        """The prompt with states put back where its messages lack them."""
        if not self._calls:
            return prompt
        ids: dict[str, str] = {}
        said = Said(prompt.messages)
        messages = tuple(
            self._restored(org, message, partial(said.before, place), ids)
            for place, message in enumerate(prompt.messages)
        )
        return replace(prompt, messages=messages)

    def _restored(self, org: str, message: Message, before: Callable[[], bytes], ids: dict[str, str]) -> Message:
        """before: a digest of what was said before it. ids: those of calls as they were, by what they are here; it adds
        its own."""
        if message.role == "tool" and ids:
            return replace(message, parts=tuple(_renamed(part, ids) for part in message.parts))
        found = self._found(org, message, before) if message.role == "assistant" else {}
        if not found:
            return message
        bare = _bare(message, [thought for told in found.values() for _, thought in told.thoughts])
        parts: list[Part] = []
        here: list[Part] = []  # since the call before
        for place, part in enumerate(message.parts):
            if isinstance(part, ToolCall):
                if place in found:
                    id, state, thoughts = found[place]
                    here = _placed(thoughts, here)
                    ids[part.id] = id
                    part = replace(part, id=id, state=state if part.state is None else part.state)
                parts += [*here, part]
                here = []
            elif not isinstance(part, Reasoning) or part.text not in bare:
                here.append(part)
        return replace(message, parts=(*parts, *here))

    def _found(self, org: str, message: Message, before: Callable[[], bytes]) -> dict[int, _Told]:
        """What is known of the message's calls, by their places, without thoughts that it carries itself."""
        carried = {one.state.issuer for one in message.parts if isinstance(one, Reasoning) and one.state is not None}
        found = {}
        for place, part in enumerate(message.parts):
            if not isinstance(part, ToolCall):
                continue
            told = self._calls.get(_key(org, part, b"" if _is_by_chance(part) else before()))
            if told is not None:
                own = any(one.state is not None and one.state.issuer in carried for _, one in told.thoughts)
                found[place] = told._replace(thoughts=()) if own else told
        return found


def _renamed(part: Part, ids: dict[str, str]) -> Part:
    return replace(part, id=ids.get(part.id, part.id)) if isinstance(part, ToolResult) else part


def _is_by_chance(call: ToolCall) -> bool:
    """Is its id another in every answer? The tool's name in it says nothing, nor what `wire_id` has put behind it."""
    id, name = _MADE.sub("", wire_id(call.id)), wire_id(call.name)
    rest = f"_{id}_".replace(f"_{name}_", "_")
    return any(len(one) >= _CHANCE and not one.isalpha() and not one.isdigit() for one in _PIECES.findall(rest))


def _bare(message: Message, thoughts: list[Reasoning]) -> set[str]:
    """The texts of what the client has sent of these thoughts: one by one, or cut and joined otherwise."""
    bare = {one.text for one in thoughts}
    sent = [one.text for one in message.parts if isinstance(one, Reasoning)]
    return bare.union(sent) if "".join(sent) == "".join(one.text for one in thoughts) else bare


def _placed(thoughts: tuple[tuple[str, Reasoning], ...], parts: list[Part]) -> list[Part]:
    """The parts before a call with its thoughts where they were: behind the text that they followed, before the next
    one. Claude refuses a turn with thinking that does not begin with it."""
    placed: list[Part] = []
    for said, thought in thoughts:
        ahead, parts = _split(said, parts)
        placed += [*ahead, thought]
    return placed + parts


def _split(said: str, parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """The parts that say this text, and the rest from the next text on. Clients cut and join texts; where one has been
    changed, nobody knows what followed it: all stand ahead."""
    for place, part in enumerate(parts):
        if type(part) is not Text:
            continue
        if not said:
            return parts[:place], parts[place:]
        if said.startswith(part.text):
            said = said[len(part.text) :]
        elif part.text.startswith(said) and not part.citations:  # their places are counted in the whole text
            rest = part.text[len(said) :]
            if rest.strip():
                return [*parts[:place], Text(said)], [replace(part, text=rest), *parts[place + 1 :]]
            said = ""
        else:
            break
    return parts, []


def _key(org: str, call: ToolCall, before: bytes) -> _Key:
    """before: of what was said before it, where its id does not say which call it is. Clients write arguments anew: the
    order of members, white space and 1.0 for 1 make no other call."""
    said = call.arguments
    with suppress(ValueError, RecursionError):
        value: Any = json.loads(said.strip() or "null", parse_float=_number)
        if value is None:
            value = {}  # as core.json_words.arguments_in reads it
        if isinstance(value, dict) and len(value) == 1:
            name, inner = next(iter(value.items()))
            value = inner if name in _WRAPPED and isinstance(inner, str) else value
        if isinstance(value, str):
            said = value
        elif not too_deep(value):
            said = json.dumps(value, sort_keys=True)
    words = f"{call.name}\0{said}".encode("utf-8", "surrogatepass")
    return org, wire_id(call.id), hashlib.blake2s(before + words, digest_size=16).digest()


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
