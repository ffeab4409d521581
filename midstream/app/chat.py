"""`midstream chat`: a conversation in the terminal, through the running server like any other client."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from ..core.errors import MidstreamError
from ..core.events import Delta, Event, Failed
from ..core.http import Incoming
from ..core.secret import Secret
from ..egress import Egress
from ..wire import openai_chat
from .local_server import refusal, send

LEAVE = ("/bye", "/exit", "/quit")


async def run(url: str, key: Secret, model: str, message: str | None) -> int:
    """With a message: asks it, prints the answer. Without: asks for one after another until the input ends.
    The exit status: 0, or 1 when the last answer failed."""
    egress = Egress(environ={})
    messages: list[dict[str, Any]] = []
    failed = False
    try:
        if message is not None:
            return int(not await _turn(egress, url, key, model, messages, message))
        while (line := await asyncio.to_thread(_ask_line)) is not None:
            if line.strip():
                failed = not await _turn(egress, url, key, model, messages, line)
    finally:
        await egress.close()
    return int(failed)


def _ask_line() -> str | None:
    """None at the end."""
    if sys.stdin.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return None if not line or line.strip() in LEAVE else line.rstrip("\n")


async def _turn(egress: Egress, url: str, key: Secret, model: str, messages: list[dict[str, Any]], text: str) -> bool:
    """Asks, prints the answer as it comes, and adds both to the messages. False when it failed: then neither."""
    asked = [*messages, {"role": "user", "content": text}]
    body = {"model": model, "messages": asked, "stream": True, "store": False}
    try:
        incoming = await send(egress, url, key, "POST", "/v1/chat/completions", body)
        try:
            answer = await _print_answer(incoming)
        finally:
            incoming.close()
    except MidstreamError as error:
        print(f"\n{error.message}", file=sys.stderr)
        return False
    messages[:] = [*asked, {"role": "assistant", "content": answer}]
    return True


async def _print_answer(incoming: Incoming) -> str:
    """Raises MidstreamError with the server's or the provider's words."""
    if incoming.status >= 400:
        raise refusal(incoming.status, msgspec.json.decode(await incoming.read()))
    reader = openai_chat.answer_reader()
    pieces: list[str] = []
    ends: list[Failed] = []

    def take(events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Delta):
                pieces.append(event.text)
                print(event.text, end="", flush=True)
            elif isinstance(event, Failed):
                ends.append(event)

    await incoming.pump(lambda data: take(reader.feed(data)))
    take(reader.finish())
    print()
    if ends:
        raise ends[0].error
    return "".join(pieces)
