"""`midstream chat`: a conversation in the terminal, through the running server like any other client."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from typing import Any

import msgspec

from ..core.errors import MidstreamError
from ..core.events import Delta, Event, Failed, Used
from ..core.http import Incoming
from ..core.secret import Secret
from ..core.usage import Usage
from ..egress import Egress
from ..wire import openai_chat
from .local_server import ask, refusal, send

LEAVE = ("/bye", "/exit", "/quit")
#: Looks for what an answer has cost, and seconds between them: it is settled at its end.
LOOKS, PAUSE = 20, 0.05


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
    body = {
        "model": model, "messages": asked, "stream": True, "stream_options": {"include_usage": True}, "store": False,
    }  # fmt: skip
    try:
        incoming = await send(egress, url, key, "POST", "/v1/chat/completions", body)
        try:
            answer, usage = await _print_answer(incoming)
        finally:
            incoming.close()
        cost = await _cost(url, key, incoming.headers.get("x-run-id", ""))
        print(f"[{usage.input_tokens} tokens in, {usage.output_tokens} out{cost}]", file=sys.stderr)
    except MidstreamError as error:
        print(f"\n{error.message}", file=sys.stderr)
        return False
    messages[:] = [*asked, {"role": "assistant", "content": answer}]
    return True


async def _cost(url: str, key: Secret, run: str) -> str:
    """Of all attempts of a run, in words. Nothing for a key that may not read it."""
    for _ in range(LOOKS):
        try:
            attempts = (await ask(url, key, "GET", f"/v1/admin/attempts?run_id={run}", None))["data"]
        except MidstreamError:
            return ""
        if all(one["status"] != "started" for one in attempts):
            break
        await asyncio.sleep(PAUSE)
    costs = [one["cost"] for one in attempts]
    return ", no price is known" if None in costs else f", {sum(map(Decimal, costs), Decimal()).normalize():f} USD"


async def _print_answer(incoming: Incoming) -> tuple[str, Usage]:
    """Raises MidstreamError with the server's or the provider's words."""
    if incoming.status >= 400:
        raise refusal(incoming.status, msgspec.json.decode(await incoming.read()))
    reader = openai_chat.answer_reader()
    pieces: list[str] = []
    ends: list[Failed] = []
    used = [Usage()]

    def take(events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Delta):
                pieces.append(event.text)
                print(event.text, end="", flush=True)
            elif isinstance(event, Used):
                used.append(event.usage)
            elif isinstance(event, Failed):
                ends.append(event)

    await incoming.pump(lambda data: take(reader.feed(data)))
    take(reader.finish())
    print()
    if ends:
        raise ends[0].error
    return "".join(pieces), used[-1]
