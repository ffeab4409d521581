"""An answer in the form that was asked for: checked, repaired once by asking again, or a clear error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import Garbled
from ..core.json_schema import MAX_WORK, SHORT_WORK, Unfinished, misfit
from ..core.json_words import object_of, unfenced, value_of
from ..core.parts import Message, Text, declines, spoken, text_of
from ..core.serving import Completed
from ..core.turn import Format, Prompt

Ask: TypeAlias = Callable[[Prompt], Awaitable[Completed]]


#: Ends of an answer that was not complete.
_ENDED = {
    "length": "it was cut, as it was longer than max_tokens or than the model says at once",
    "content_filter": "the service's content filter ended it",
}
#: In place of what would quote it.
_UNTOLD = "what is wrong with it is not told, as no guardrail has let it pass"


class Checked(Struct, frozen=True):
    """text: the JSON text, without what stood around it. completed: the call that repaired it, if one did.
    declined: there is none, text is the refusal of the model that was to repair it."""

    text: str
    value: Any
    completed: Completed | None = None
    declined: bool = False


async def structured(
    prompt: Prompt, text: str, form: Format, ask: Ask, stop: str = "stop", *, quoting: bool = True
) -> Checked:
    """prompt: all that was said before the answer `text`. stop: why that ended. quoting: may an error hold words of an
    answer? Raises Garbled, code response_invalid, when the second answer does not fit either, or the first one was
    ended before it could; and what `ask` raises."""
    found, value, problem = await _examined(text, form)
    if problem is None:
        return Checked(found, value)
    if stop in _ENDED:  # it would end there again, and be paid for
        raise _unfit(_ENDED[stop])
    completed = await ask(repairing(prompt, text, form, problem))
    choices = completed.answer.choices
    parts = choices[0].parts if choices else ()
    if declines(parts):
        return Checked(spoken(parts), None, completed, declined=True)
    found, value, problem = await _examined(text_of(parts), form)
    if problem is None:
        return Checked(found, value, completed)
    raise _unfit(_ENDED.get(choices[0].stop if choices else "", problem if quoting else _UNTOLD))


def _unfit(why: str) -> Garbled:
    return Garbled(f"the model's answer does not have the form that was asked for: {why}", code="response_invalid")


async def _examined(text: str, form: Format) -> tuple[str, Any, str | None]:
    try:
        return examined(text, form, SHORT_WORK)
    except Unfinished:  # few are: others go on meanwhile
        return await asyncio.to_thread(examined, text, form)


def examined(text: str, form: Format, work: int = MAX_WORK) -> tuple[str, Any, str | None]:
    """The JSON text in an answer, its value, and what is wrong with it. Raises Unfinished, as `misfit` does."""
    found = unfenced(text)
    if form.kind == "text":
        return text, text, None
    if form.kind == "json":
        return found, *object_of(found)
    value, problem = value_of(found)
    return found, value, problem or misfit(form.schema or {}, value, work)


def repairing(prompt: Prompt, text: str, form: Format, problem: str) -> Prompt:
    """Asks for the same answer in its right form; without tools, all work is done."""
    wanted = "Answer again with one JSON object and nothing else."
    if form.kind == "json_schema":
        schema = msgspec.json.encode(form.schema or {}).decode()
        wanted = f"Answer again with JSON and nothing else. It must be an instance of this JSON Schema:\n{schema}"
    more = [Message("user", (Text(f"Your answer does not have the form that is needed: {problem}\n{wanted}"),))]
    if text.strip():
        more.insert(0, Message("assistant", (Text(text),)))
    return replace(prompt, messages=(*prompt.messages, *more), tools=(), tool_choice=None)
