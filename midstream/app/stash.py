"""Keeps what a provider wants back (signatures, encrypted reasoning) for clients whose dialect cannot carry it.

Keyed by org and tool call: the one thing that every client does send back. Its id alone would not do: some services
count (`functions.weather:0`, `0`), and one conversation's thoughts would get into another. In memory, bounded: an entry
that is gone costs the model its earlier thoughts, nothing else."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from contextlib import suppress
from typing import Any, TypeAlias

from msgspec.structs import replace

from ..core.events import Answer
from ..core.parts import Message, Part, Reasoning, State, ToolCall
from ..core.turn import Prompt
from ..runs.order import Order

ENTRIES = 10_000
#: Under these some dialects carry arguments that are no JSON object.
_WRAPPED = ("input", "_raw")
_Key: TypeAlias = tuple[str, str, bytes]


class Stash:
    """remember an answer's states; restore them into a later prompt of the same org."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._calls: OrderedDict[_Key, tuple[State | None, tuple[Reasoning, ...]]] = OrderedDict()

    def answered(self, order: Order, answer: Answer) -> None:
        self.remember(order.org, answer)

    def remember(self, org: str, answer: Answer) -> None:
        for choice in answer.choices:
            before: list[Reasoning] = []
            for part in choice.parts:
                if isinstance(part, Reasoning) and part.state is not None:
                    before.append(part)
                elif isinstance(part, ToolCall) and (part.state is not None or before):
                    self._calls[_key(org, part)] = (part.state, tuple(before))
                    before = []
        while len(self._calls) > self._entries:
            self._calls.popitem(last=False)

    def restore(self, org: str, prompt: Prompt) -> Prompt:
        """The prompt with states put back where its messages lack them."""
        if not self._calls:
            return prompt
        messages = tuple(self._restored(org, message) for message in prompt.messages)
        return replace(prompt, messages=messages)

    def _restored(self, org: str, message: Message) -> Message:
        if message.role != "assistant":
            return message
        carried = {one.state.issuer for one in message.parts if isinstance(one, Reasoning) and one.state is not None}
        parts: list[Part] = []
        changed = False
        for part in message.parts:
            found = self._calls.get(_key(org, part)) if isinstance(part, ToolCall) else None
            if found is not None and isinstance(part, ToolCall):
                state, before = found
                if before and not any(one.state is not None and one.state.issuer in carried for one in before):
                    told = {one.text for one in before}  # the client may have sent the bare text of them
                    parts = [one for one in parts if not isinstance(one, Reasoning) or one.text not in told]
                    parts += before
                    changed = True
                if state is not None and part.state is None:
                    part = replace(part, state=state)
                    changed = True
            parts.append(part)
        return replace(message, parts=tuple(parts)) if changed else message


def _key(org: str, call: ToolCall) -> _Key:
    """Clients write arguments anew: the order of members, white space and 1.0 for 1 make no other call."""
    said = call.arguments
    with suppress(ValueError, RecursionError):
        value: Any = json.loads(said.strip() or "null", parse_float=_number)
        if value is None:
            value = {}  # as core.parts.arguments_in reads it
        if isinstance(value, dict) and len(value) == 1:
            name, inner = next(iter(value.items()))
            value = inner if name in _WRAPPED and isinstance(inner, str) else value
        said = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    words = f"{call.name}\0{said}".encode("utf-8", "surrogatepass")
    return org, call.id, hashlib.blake2s(words, digest_size=16).digest()


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
