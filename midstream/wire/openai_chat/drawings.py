"""POST /v1/images/generations, asked by us: pictures from words."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ...core.errors import BadRequest, Garbled
from ...core.events import Answer, Choice
from ...core.parts import Media, Part, Text, text_of
from ...core.turn import PICTURE, Asked, Plan, Prompt
from ...core.usage import Usage
from .dropped import Dropped
from .errors import error_in_reply

_encode = msgspec.json.Encoder().encode
#: What means the same when words are answered.
_KEPT = frozenset({"n", "user", "modalities"})


class _Picture(Struct):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _InDetails(Struct):
    text_tokens: int = 0
    image_tokens: int = 0


class _Tokens(Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InDetails | None = None


class _Body(Struct):
    data: list[_Picture] | None = None
    created: int | None = None
    output_format: str | None = None
    usage: _Tokens | None = None
    error: Any = None


_body = msgspec.json.Decoder(_Body).decode


def write_drawing(plan: Plan) -> Asked:
    """What the system says, then the user's last words: no picture is drawn of a conversation. Raises BadRequest when
    there are none."""
    prompt, dropped = plan.turn.prompt, Dropped(plan.turn.dialect)
    said = _words(prompt)
    if not said:
        raise BadRequest("a text that says what to draw is needed", param="messages", code="user_message_missing")
    body: dict[str, Any] = {"model": plan.model, "prompt": said}
    if prompt.params.n is not None:
        body["n"] = prompt.params.n
    if prompt.params.user is not None:
        body["user"] = prompt.params.user
    for name, value in prompt.extras.items():
        if name in PICTURE:
            body[name] = value
        else:
            dropped.add(name)
    for name in msgspec.to_builtins(prompt.params):  # those that were given
        if name not in _KEPT:
            dropped.add(name)
    if any(isinstance(part, Media) for part in prompt.messages[-1].parts):
        dropped.add("images")
    if prompt.tools:
        dropped.add("tools")
    return Asked(_encode(body), dropped.names())


def _words(prompt: Prompt) -> str:
    last = max((at for at, message in enumerate(prompt.messages) if message.role == "user"), default=-1)
    told = [message for at, message in enumerate(prompt.messages) if message.role == "system" or at == last]
    return "\n\n".join(text for message in told if (text := text_of(message.parts).strip()))


def read_drawing(body: bytes) -> Answer:
    """Raises Refused for an error inside a 200, Garbled for anything else than pictures."""
    try:
        reply = _body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the reply is not a list of images: {error}") from None
    if reply.error is not None:
        raise error_in_reply(reply.error, body)
    if not reply.data:
        raise Garbled("the reply holds no images")
    mime = f"image/{reply.output_format or 'png'}"
    parts: list[Part] = []
    for picture in reply.data:
        if picture.revised_prompt:  # the words that were drawn in place of the caller's
            parts.append(Text(picture.revised_prompt))
        if picture.b64_json is not None:
            parts.append(Media("image", mime, data=picture.b64_json))
        elif picture.url is not None:
            parts.append(Media("image", url=picture.url))
    usage = _usage(reply.usage) if reply.usage is not None else Usage()
    return Answer(created=reply.created or 0, choices=(Choice(tuple(parts)),), usage=usage)


def _usage(tokens: _Tokens) -> Usage:
    seen = min(
        max(tokens.input_tokens_details.image_tokens if tokens.input_tokens_details else 0, 0), tokens.input_tokens
    )
    return Usage(uncached_in=max(tokens.input_tokens - seen, 0), image_in=seen, image_out=max(tokens.output_tokens, 0))
