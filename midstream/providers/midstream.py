"""`midstream/rehearsal`: the built-in offline model. Deterministic, streams, and says what it is.

It repeats the last user text with a word count. Words in that text change what it does:

    say N words      an answer of N words
    pace MS          wait MS milliseconds between the words of a stream
    fail:STATUS      refuse with that HTTP status
    cut              break the answer off in the middle
    stall            begin to answer, then say nothing more

Offered tools, it calls each one whose name stands in the text (all at once when several), with arguments made from
the tool's schema; when the results are there it reports them. `json_schema` is answered with a valid instance. Limits
of tokens and stop sequences are kept to."""

from __future__ import annotations

import asyncio
import re

import msgspec

from ..core.errors import BadRequest, Cut, Refused, UpstreamError
from ..core.events import (
    Attempted,
    Delta,
    Done,
    Event,
    Failed,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
)
from ..core.parts import Media, Message, Text, ToolCall, ToolResult, text_of
from ..core.serving import Emit
from ..core.turn import Plan, Prompt, Tool, ToolChoice
from ..core.unread import check_honoured
from ..core.usage import Usage
from ..wire import openai_chat
from ..wire.openai_chat.dropped import Dropped
from ._instance import instance_of
from ._service import Service

MODEL = "rehearsal"
MAX_WORDS = 100_000
#: Characters of a tool's result that are reported.
MAX_ECHO = 10_000
MAX_PACE = 60_000
_SAY = re.compile(r"\bsay (\d{1,9}) words\b")
_PACE = re.compile(r"\bpace (\d{1,9})\b")
_FAIL = re.compile(r"\bfail:([45]\d\d)\b")
_WORD = re.compile(r"\S+\s*")


async def answer(plan: Plan, emit: Emit) -> None:
    """One answer as events (see core.serving.Complete)."""
    prompt = plan.turn.prompt
    if (prompt.params.n or 1) > 1:
        raise BadRequest("n: the rehearsal model gives one answer to a request", param="n", code="unsupported")
    messages = (*plan.history, *prompt.messages)
    asked = _last_user_text(messages)
    refusal = _FAIL.search(asked)
    if refusal:
        status = int(refusal[1])
        raise _staged(Refused(f"rehearsed failure {status}", status=status, code=f"rehearsed_{status}"))
    dropped = _unmet(plan)
    if plan.turn.strict:
        check_honoured("midstream", dropped)
    emit((Attempted("midstream", "", dropped=dropped), Started(model=MODEL)), 0)
    calls = _tool_calls(prompt, messages, asked)
    if calls:
        events: list[Event] = []
        for index, call in enumerate(calls):
            events += [PartStarted(index, call), PartEnded(index)]
        emit((*events, Used(_usage(messages, len(calls))), Stopped("tool_calls"), Done()), 0)
        return
    await _speak(_text(prompt, messages, asked), asked, plan, emit, messages)


def _unmet(plan: Plan) -> tuple[str, ...]:
    """What its answers would have to show and do not. Whatever else is asked for, they are the same each time."""
    params, dropped = plan.turn.prompt.params, Dropped(plan.turn.dialect)
    asked = {
        "logprobs": params.logprobs,
        "top_logprobs": params.top_logprobs,
        "modalities": set(params.modalities) - {"text"},
        "audio": params.audio,
    }
    for name, wanted in asked.items():
        if wanted:
            dropped.add(name)
    return dropped.names()


def _staged(error: UpstreamError) -> UpstreamError:
    """Who rehearses a failure does not take the model away from everybody else."""
    error.staged = True
    return error


async def _speak(text: str, asked: str, plan: Plan, emit: Emit, messages: tuple[Message, ...]) -> None:
    pace = _PACE.search(asked)
    pause = min(int(pace[1]), MAX_PACE) / 1000 if pace and plan.stream else 0.0
    rules = set(re.findall(r"\b(?:cut|stall)\b", asked))
    params = plan.turn.prompt.params
    at, sequence = min([(text.find(one), one) for one in params.stop if one and one in text], default=(None, None))
    words, limit = _WORD.findall(text[:at]), params.max_tokens
    spoken = words if limit is None else words[:limit]
    emit((PartStarted(0, Text("")),), 0)
    for place, word in enumerate(spoken):
        if "cut" in rules and place >= len(spoken) // 2:
            emit((Failed(_staged(Cut("rehearsed: the answer was cut off"))),), 0)
            return
        emit((Delta(0, word),), len(word))
        if "stall" in rules:
            await asyncio.Event().wait()
        if pause:
            await asyncio.sleep(pause)
        elif place % 500 == 499:
            await asyncio.sleep(0)  # a long answer leaves room for others
    stopped = Stopped("stop", sequence=sequence) if len(spoken) == len(words) else Stopped("length")
    emit((PartEnded(0), Used(_usage(messages, len(spoken))), stopped, Done()), 0)


def _text(prompt: Prompt, messages: tuple[Message, ...], asked: str) -> str:
    form = prompt.params.format
    if form is not None and form.kind != "text":
        return msgspec.json.encode(instance_of(form.schema or {"type": "object"})).decode()
    wanted = _SAY.search(asked)
    if wanted:
        return " ".join(f"word{number}" for number in range(1, min(int(wanted[1]), MAX_WORDS) + 1))
    results = _last_results(messages)
    if results:
        said = "; ".join(f"{part.name or part.id} said: {_short(text_of(part.parts))}" for part in results)
        return f"This is the rehearsal model. The tools answered: {said}"
    count = len(asked.split())
    seen = sum(isinstance(part, Media) for message in messages if message.role == "user" for part in message.parts)
    media = f" I was also given {seen} file{'s' if seen > 1 else ''}." if seen else ""
    return f"This is the rehearsal model. You said ({count} word{'' if count == 1 else 's'}): {asked}{media}"


def _short(text: str) -> str:
    """What a tool answered, as far as anybody would read it out."""
    return text if len(text) <= MAX_ECHO else f"{text[:MAX_ECHO]} ... ({len(text)} characters)"


def _last_results(messages: tuple[Message, ...]) -> list[ToolResult]:
    """What the tools answered since the model last spoke: in one message or in one for each."""
    results: list[ToolResult] = []
    for message in reversed(messages):
        found = [part for part in message.parts if isinstance(part, ToolResult)]
        if not found:
            break
        results = found + results
    return results


def _tool_calls(prompt: Prompt, messages: tuple[Message, ...], asked: str) -> list[ToolCall]:
    choice = prompt.tool_choice or ToolChoice("auto")
    if choice.mode == "none" or (messages and messages[-1].role == "tool"):
        return []
    may = [tool for tool in prompt.tools if tool.kind != "hosted" and (not choice.names or tool.name in choice.names)]
    named = may if choice.mode == "tool" else [tool for tool in may if tool.name in asked]
    if choice.mode == "required" and not named:
        named = may[:1]
    if prompt.params.parallel_tools is False:
        named = named[:1]
    made_before = sum(isinstance(part, ToolCall) for message in messages for part in message.parts)
    return [_call(tool, f"call_rehearsal_{made_before + place}", asked) for place, tool in enumerate(named, 1)]


def _call(tool: Tool, id: str, asked: str) -> ToolCall:
    if tool.kind == "custom":
        return ToolCall(id, tool.name, asked, "custom")
    arguments = instance_of(tool.parameters or {"type": "object"})
    return ToolCall(id, tool.name, msgspec.json.encode(arguments).decode())


def _last_user_text(messages: tuple[Message, ...]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            return text_of(message.parts)
    return ""


def _usage(messages: tuple[Message, ...], out: int) -> Usage:
    """Words count as tokens."""
    said = 0
    for message in messages:
        for part in message.parts:
            text = text_of(part.parts) if isinstance(part, ToolResult) else getattr(part, "text", "")
            said += len(text.split())
    return Usage(uncached_in=said, out_text=out)


SERVICE = Service(dialect=openai_chat, answers=answer, keyless=True, vendor="midstream", builtin=True, models=(MODEL,))
