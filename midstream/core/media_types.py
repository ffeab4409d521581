"""What the type of a picture or file says, however it is written."""

from __future__ import annotations

import re

from msgspec.structs import replace

from .parts import Media, MediaKind

#: Says nothing about what it is.
OCTETS = "application/octet-stream"
_KINDS: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}
#: Text besides text/*.
_TEXT = re.compile(
    r"text/.*|application/((x-)?(json|jsonl|ndjson|xml|yaml|toml|javascript|python|sql|sh)|[\w.-]+\+(json|xml|yaml))"
)
#: Their parameters say how the samples are read (RFC 2586, RFC 3190).
_SAMPLES = re.compile(r"audio/(l\d+|pcm)\b", re.IGNORECASE)


def essence(mime: str) -> str:
    """Its type without parameters, as services know it."""
    said = mime.partition(";")[0].strip().lower()
    return "image/jpeg" if said == "image/jpg" else said


def kind_of(mime: str) -> MediaKind:
    """What a type is a type of: a file, where it says nothing else."""
    return _KINDS.get(mime.partition("/")[0].strip().lower(), "file")


def is_text(mime: str) -> bool:
    """May what has this type be read as text?"""
    return _TEXT.fullmatch(essence(mime)) is not None


def plainly(media: Media) -> Media:
    """Of the plain type that it says, and of that type's kind where it is only called a file."""
    mime = media.mime if _SAMPLES.match(media.mime) else essence(media.mime)
    kind = kind_of(mime) if media.kind == "file" else media.kind
    return media if (kind, mime) == (media.kind, media.mime) else replace(media, kind=kind, mime=mime)
