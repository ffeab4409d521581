"""POST /v1/images/generations and /v1/images/edits, asked by us: pictures from words, and from words and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ...core.errors import BadRequest, Garbled
from ...core.events import Answer, Choice
from ...core.parts import Media, Message, Part, Text, address, media_in, text_of
from ...core.turn import PICTURE, Asked, Plan, Prompt
from ...core.usage import Usage
from .dropped import Dropped
from .errors import error_in_reply
from .usage import readable

_encode = msgspec.json.Encoder().encode
#: What means the same when words are answered.
_KEPT = frozenset({"n", "user", "modalities"})
#: Characters of a prompt that what was said before may fill: models take 4,000 and more.
MAX_WORDS = 4000
#: Pictures that a model is shown.
MAX_PICTURES = 16
_SPEAKERS = {"user": "User", "assistant": "Assistant"}


class _Picture(Struct):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Details(Struct):
    text_tokens: int = 0
    image_tokens: int = 0


class _Tokens(Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Body(Struct):
    data: list[_Picture] | None = None
    created: int | None = None
    output_format: str | None = None
    usage: _Tokens | None = None
    error: Any = None


_body = msgspec.json.Decoder(_Body).decode


def pictures_of(prompt: Prompt) -> list[Media]:
    """Those of the conversation that can be shown, oldest first."""
    media = [part for message in prompt.messages for part in media_in(message.parts)]
    return [one for one in media if one.kind == "image" and address(one) is not None][-MAX_PICTURES:]


def write_drawing(plan: Plan, *, shown: bool = False) -> Asked:
    """What the system says, what was said before, then the user's last words. Raises BadRequest when there are none.
    shown: with the pictures, for /v1/images/edits."""
    prompt, dropped = plan.turn.prompt, Dropped(plan.turn.dialect)
    said = _words(prompt.messages)
    if not said:
        raise BadRequest("a text that says what to draw is needed", param="messages", code="user_message_missing")
    body: dict[str, Any] = {"model": plan.model, "prompt": said}
    if prompt.params.n is not None:
        body["n"] = prompt.params.n
    if prompt.params.user is not None:
        body["user"] = prompt.params.user
    for name, value in prompt.extras.items():
        if name in PICTURE and not (shown and name == "style"):  # of the models that see nothing
            body[name] = value
        else:
            dropped.add(name)
    for name in msgspec.to_builtins(prompt.params):  # those that were given
        if name not in _KEPT:
            dropped.add(name)
    pictures = pictures_of(prompt) if shown else []
    if pictures:
        body["images"] = [{"image_url": address(one)} for one in pictures]
    for one in (media for message in prompt.messages for media in media_in(message.parts)):
        if one not in pictures:
            dropped.add("images" if one.kind == "image" else "files")
    if prompt.tools:
        dropped.add("tools")
    return Asked(_encode(body), dropped.names())


def _words(messages: Sequence[Message]) -> str:
    """One text, as there are no roles here. "Make it blue" means nothing without what it is said of, so the words
    before it are told, as such, as many of the newest as there is room for."""
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    system = [text for message in messages if message.role == "system" and (text := _text(message))]
    now = _text(messages[last]) if last >= 0 else ""
    if not now:
        return "\n\n".join(system)
    room = MAX_WORDS - sum(map(len, system)) - len(now)
    before: list[str] = []
    for message in reversed(messages[:last]):
        line = f"{_SPEAKERS[message.role]}: {' '.join(text.split())}" if (text := _heard(message)) else ""
        if len(line) > room:
            break
        room -= len(line)
        before += [line] if line else []
    if before:
        told = "\n".join(reversed(before))
        now = f"Said before in this conversation:\n{told}\n\nDraw now: {now}"
    return "\n\n".join([*system, now])


def _text(message: Message) -> str:
    return text_of(message.parts).strip()


def _heard(message: Message) -> str:
    return _text(message) if message.role in _SPEAKERS else ""


def read_drawing(body: bytes) -> Answer:
    """Raises Refused for an error inside a 200, Garbled for anything else than pictures."""
    try:
        try:
            reply = _body(body)
        except msgspec.ValidationError:
            reply = readable(msgspec.json.decode(body), _Body, _Tokens)
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
    given, made = max(tokens.input_tokens, 0), max(tokens.output_tokens, 0)
    inside, outside = tokens.input_tokens_details or _Details(), tokens.output_tokens_details or _Details()
    seen = min(max(inside.image_tokens, 0), given)
    said = min(max(outside.text_tokens, 0), made)
    return Usage(
        uncached_in=given - seen,
        image_in=seen,
        out_text=said,
        image_out=made - said,
        estimated=tokens.input_tokens < 0 or tokens.output_tokens < 0,
    )
