"""Keeps what a provider wants back (signatures, encrypted reasoning) for clients whose dialect cannot carry it.

Keyed by org and tool call id: the one thing that every client does send back. In memory, bounded: an entry that is
gone costs the model its earlier thoughts, nothing else."""

from __future__ import annotations

from collections import OrderedDict

from msgspec.structs import replace

from ..core.events import Answer
from ..core.parts import Message, Part, Reasoning, State, ToolCall
from ..core.turn import Prompt
from ..runs.order import Order

ENTRIES = 10_000


class Stash:
    """remember an answer's states; restore them into a later prompt of the same org."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._calls: OrderedDict[tuple[str, str], tuple[State | None, tuple[Reasoning, ...]]] = OrderedDict()

    def answered(self, order: Order, answer: Answer) -> None:
        self.remember(order.org, answer)

    def remember(self, org: str, answer: Answer) -> None:
        for choice in answer.choices:
            before: list[Reasoning] = []
            for part in choice.parts:
                if isinstance(part, Reasoning) and part.state is not None:
                    before.append(part)
                elif isinstance(part, ToolCall) and (part.state is not None or before):
                    self._calls[(org, part.id)] = (part.state, tuple(before))
                    before = []
        while len(self._calls) > self._entries:
            self._calls.popitem(last=False)

    def restore(self, org: str, prompt: Prompt) -> Prompt:
        """The prompt with states put back where its messages lack them."""
        messages = tuple(self._restored(org, message) for message in prompt.messages)
        return replace(prompt, messages=messages)

    def _restored(self, org: str, message: Message) -> Message:
        if message.role != "assistant":
            return message
        carried = {one.state.issuer for one in message.parts if isinstance(one, Reasoning) and one.state is not None}
        parts: list[Part] = []
        changed = False
        for part in message.parts:
            found = self._calls.get((org, part.id)) if isinstance(part, ToolCall) else None
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
