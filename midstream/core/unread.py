"""Media that a model cannot be shown: words stand for what was said before, what is asked about now is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from msgspec.structs import replace

from .errors import BadRequest, Unhonoured
from .media_types import is_text
from .parts import Media, MediaKind, Message, Text, ToolResult, has_media, media_in

#: Codes of what one service cannot be sent or asked for, and perhaps another.
UNSENT = frozenset({"unsupported_media", "invalid_media", "unsupported"})
#: They are known by what they are, not by what they say.
_WORDS: dict[MediaKind, Text] = {
    kind: Text(f"({kind}: you cannot read what stands here)") for kind in get_args(MediaKind)
}
_NAMES = {kind: f"messages.{kind}" for kind in _WORDS}
#: How it is reported that these stand for media.
_STANDING = {id(word): _NAMES[kind] for kind, word in _WORDS.items()}


def words_for(media: Media) -> Text:
    return _WORDS[media.kind]


def unread(media: Media) -> str:
    """How it is reported that words stand for it."""
    return _NAMES[media.kind]


def reports_in(names: Iterable[str]) -> tuple[str, ...]:
    """Those of what was left out that say so."""
    return tuple(name for name in names if name in _NAMES.values())


def check_honoured(who: str, dropped: Sequence[str]) -> None:
    """Raises Unhonoured where anything was left out but what words stand for: that was said before, not asked now."""
    before = reports_in(dropped)
    lost = [name for name in dropped if name not in before]
    if lost:
        raise Unhonoured(who, lost)


def unread_in(messages: Iterable[Message]) -> tuple[str, ...]:
    """What words stand for in these, as it is reported."""
    standing: set[int] = set()
    for message in messages:
        for part in message.parts:
            if id(part) in _STANDING:
                standing.add(id(part))
            elif type(part) is ToolResult:
                standing.update(id(one) for one in part.parts)
    return tuple(name for word, name in _STANDING.items() if word in standing)


def spelled(messages: Iterable[Message], shown: Callable[[Media], bool]) -> tuple[Message, ...]:
    """Messages in which words stand for the media that are not shown."""

    def told(message: Message) -> Message:
        if all(map(shown, media_in(message.parts))):
            return message
        parts = _changed(message.parts, lambda one: one if shown(one) else words_for(one))
        return Message(message.role, parts, message.name)

    return tuple(map(told, messages))


def of_before(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Messages whose media words may stand for."""
    return tuple(with_media(message, lambda one: replace(one, optional=True)) for message in messages)


def places_of(messages: Iterable[Message]) -> dict[int, str]:
    """See `at_places`: of a request that is all messages, no more than which of them it is."""
    return {id(one): f"messages[{at}]" for at, message in enumerate(messages) for one in media_in(message.parts)}


def at_places(messages: Iterable[Message], places: Mapping[int, str]) -> tuple[Message, ...]:
    """places: where those media that are asked about now stand in the request, by their id(). They are all of that:
    words may stand for the others."""

    def told(one: Media) -> Media:
        place = places.get(id(one))
        return replace(one, optional=True) if place is None else replace(one, place=place)

    return tuple(with_media(message, told) for message in messages)


def with_media(message: Message, change: Callable[[Media], Media | Text]) -> Message:
    """With another in place of each of its media."""
    return replace(message, parts=_changed(message.parts, change)) if media_in(message.parts) else message


def _changed(parts: Sequence[Any], change: Callable[[Media], Media | Text]) -> tuple[Any, ...]:
    """Also those that tools have answered with."""
    changed: list[Any] = []
    for part in parts:
        if type(part) is ToolResult:
            part = replace(part, parts=_changed(part.parts, change))
        changed.append(change(part) if type(part) is Media else part)
    return tuple(changed)


def without_optional(messages: Sequence[Message]) -> tuple[Message, ...] | None:
    """Messages in which words stand for all media that they may stand for; None where there are none."""
    if not any(media.optional for message in messages for media in media_in(message.parts)):
        return None
    return spelled(messages, lambda media: not media.optional)


def refused(media: Media, why: str, code: str = "unsupported_media", place: str = "") -> BadRequest:
    place = place or media.place
    return BadRequest(f"{place}: {why}" if place else why, param=place or "messages.content", code=code)


def check_left(messages: Sequence[Message], writes: Callable[[Media], bool]) -> None:
    """writes: can it be sent? Raises BadRequest, unsupported_media, when something that the user attaches at a known
    place cannot, or when of what the user said last nothing can. What stands behind results of tools only shows them:
    they are an answer to go on with."""
    if not has_media(messages):
        return
    for message in messages:
        for part in message.parts if message.role == "user" else ():
            if type(part) is Media and part.place and not part.optional and not writes(part):
                raise _unsent(part)
    last = next((at for at in reversed(range(len(messages))) if messages[at].role == "user"), None)
    if last is None or (last and messages[last - 1].role == "tool"):
        return
    own = [part for part in messages[last].parts if type(part) is not Media or not part.optional]
    media = [part for part in own if type(part) is Media]
    if media and len(media) == len(own) and not any(map(writes, media)):
        raise _unsent(media[0])


def _unsent(media: Media) -> BadRequest:
    if media.data is not None and is_text(media.mime):  # all services take one that can be read
        return refused(media, "a text file must be base64 of UTF-8", "invalid_media")
    return refused(media, f"this provider cannot be sent this {media.kind}")
