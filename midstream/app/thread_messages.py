"""Messages of a thread: as they are stored, as a model is shown them, and what one is asked with again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from ..agent.history import FILES
from ..core.agents import AgentAsk
from ..core.parts import Media, Message, Native, Text, text_of
from ..store.given import GivenBefore
from ..store.rows import ThreadMessage, detail_in

#: A stored message in the core language.
Read: TypeAlias = Callable[[Message | Native], tuple[Message, ...]]
TITLE = 60


def title_of(text: str, media: Sequence[Media] = ()) -> str:
    """A message's first words, or what is attached where it has none."""
    named = media[0].name or media[0].kind if media else ""
    return " ".join((text if text.strip() else named).split())[:TITLE]


def said_by(ask: AgentAsk) -> Message:
    return Message("user", (*ask.media, Text(ask.text)) if ask.text else tuple(ask.media))


def described(media: Media) -> dict[str, str]:
    """An attachment without its bytes."""
    known = {"kind": media.kind, "name": media.name, "mime": media.mime, "url": media.url, "file_id": media.file_id}
    return {name: value for name, value in known.items() if value}


def says(name: str, ask: AgentAsk) -> bool:
    """Is anything said of this field, be it that there is nothing?"""
    return bool(getattr(ask, name)) or name in ask.emptied


def asked_again(ask: AgentAsk, row: ThreadMessage, read: Read) -> AgentAsk:
    """With the words and attachments of a message that is stored already, and with its documents and variables where
    nothing is said of those."""
    parts = tuple(part for message in read(row.spoken()) for part in message.parts)
    media = tuple(part for part in parts if isinstance(part, Media))
    detail = detail_in(row.detail)
    return replace(
        ask,
        text=text_of(parts),
        media=media,
        places=(),
        document_ids=ask.document_ids if says("document_ids", ask) else detail.document_ids,
        variables=ask.variables if says("variables", ask) else detail.variables,
    )


def documents_of(messages: Iterable[ThreadMessage], own: Iterable[str]) -> tuple[str, ...]:
    """Ids of the documents that users have attached, the newest ones, oldest first, each once, without one's own."""
    asked = [one for one in messages if one.role == "user" and one.detail and b'"document_ids"' in one.detail]
    return _newest((id for one in reversed(asked) for id in reversed(detail_in(one.detail).document_ids)), own)


async def given_before(
    before: GivenBefore, documents: Sequence[str], own: Sequence[str], read: Read
) -> tuple[tuple[str, ...], tuple[Media, ...]]:
    """What messages hold that stand before a turn's history: documents, of which these are the newest, and files, both
    as `documents_of` says."""
    found, files = [*reversed(documents)], list[Media]()
    while (len(found) < FILES or len(files) < FILES) and (page := await before.page()):
        newer = (*found, *(id for one in page for id in reversed(one.document_ids)))
        found = [*reversed(_newest(newer, own))]
        holding = [one for one in page if one.may_hold_files]
        while holding and len(files) < FILES:
            for row in await before.words(holding[:FILES]):
                for one in _files_in(read(row.spoken())):
                    if one not in files:
                        files.append(one)
            del holding[:FILES]
    return tuple(reversed(found)), tuple(reversed(files[:FILES]))


def _newest(ids: Iterable[str], own: Iterable[str]) -> tuple[str, ...]:
    """ids: newest first."""
    newest = list(dict.fromkeys(id for id in ids if id not in own))[:FILES]
    return tuple(reversed(newest))


def _files_in(said: Sequence[Message]) -> list[Media]:
    """Newest first."""
    parts = [part for message in reversed(said) if message.role == "user" for part in reversed(message.parts)]
    return [part for part in parts if isinstance(part, Media) and part.kind == "file"]
