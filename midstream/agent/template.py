"""What a system message is made of: the prompt within a template, how the agent shall speak, what time it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

#: Where a template wants the agent's own prompt; one without it is put before the prompt.
_PROMPT = re.compile(r"\{\{[ \t]*(?:system_prompt|prompt)[ \t]*\}\}")


def zone_of(name: str) -> tzinfo | None:
    """None when there is no such time zone. name: as in the IANA database, e.g. "Europe/Berlin"."""
    if name.upper() in ("", "UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, a folder, or no name of a zone at all
        return None


def current_time(now: float, zone: tzinfo) -> str:
    """E.g. "Wednesday, 2026-11-25 13:58 (Europe/Berlin, UTC+01:00)". now: unix seconds. To the minute, so that what a
    provider keeps of a prompt is good for as long."""
    moment = datetime.fromtimestamp(now, zone)
    offset = moment.strftime("%z")
    name = getattr(zone, "key", None) or "UTC"
    return f"{_DAYS[moment.weekday()]}, {moment:%Y-%m-%d %H:%M} ({name}, UTC{offset[:3]}:{offset[3:5]})"


#: In English whatever the server's language.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def within(template: str, prompt: str) -> str:
    """The agent's prompt where the template wants it."""
    if not template:
        return prompt
    if _PROMPT.search(template) is None:
        return "\n\n".join(piece for piece in (template, prompt) if piece)
    return _PROMPT.sub(lambda match: prompt, template)


def manner(tone: str, style: str) -> str:
    lines = [f"{name}: {text}" for name, text in (("Tone", tone), ("Response style", style)) if text]
    return "\n".join(lines)
