"""The caller's own messages for a service that does not take all of them: only what it would refuse is changed.

An earlier answer comes back with what other services put into it (`reasoning_content`, `refusal`, ids of their own
form), so a conversation that has changed its model in the middle, or an SDK that sends an answer's message back as it
was, would otherwise be refused."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

from .quirks import Quirks

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_list = msgspec.json.Decoder(list[Raw]).decode
_texts = msgspec.json.Decoder(str | None).decode
_NOTHING = frozenset({b"null", b"[]", b'""'})
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")


def short_id(call_id: str) -> str:
    """A tool call's id in nine letters or digits, the same one each time."""
    return call_id if _SHORT_ID.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()[:9]


def fitted(raw: Raw, quirks: Quirks, dropped: list[str]) -> Raw | bytes:
    """The messages as the service takes them; the very same bytes when nothing has to change. dropped: gets the names
    of members that are left out although they said something."""
    if not _may_misfit(bytes(raw), quirks):
        return raw
    try:
        messages = _list(raw)
    except msgspec.ValidationError:
        return raw
    own = [bytes(message) for message in messages]
    changed = [fitted_message(message, quirks, dropped) for message in own]
    return raw if changed == own else b"[" + b",".join(changed) + b"]"


def _may_misfit(raw: bytes, quirks: Quirks) -> bool:
    marks = _marks(quirks.developer_role, quirks.short_ids, quirks.refuses)
    return any(map(raw.__contains__, marks))


@cache
def _marks(developer_role: bool, short_ids: bool, refuses: frozenset[str]) -> tuple[bytes, ...]:
    """What stands in messages of which something may have to change; each begins with a quote."""
    marks = [b'"' + name.encode() + b'"' for name in sorted(refuses)]
    if not developer_role:
        marks.append(b'"developer"')
    if short_ids:
        marks.append(b'"tool_call')
    return tuple(marks)


def fitted_message(message: bytes, quirks: Quirks, dropped: list[str]) -> bytes:
    """One message as the service takes it (see fitted)."""
    if not _may_misfit(message, quirks):
        return message
    try:
        members: dict[str, Any] = dict(_members(message))
    except msgspec.ValidationError:
        return message
    before = dict(members)
    if not quirks.developer_role and bytes(members.get("role", b"")) == b'"developer"':
        members["role"] = "system"
    _leave_out(members, quirks, dropped)
    if quirks.short_ids:
        _shorten(members)
    return message if members == before else _encode(members)


def _leave_out(members: dict[str, Any], quirks: Quirks, dropped: list[str]) -> None:
    thought = ""
    for name in [name for name in members if name in quirks.refuses]:
        value = bytes(members.pop(name))
        if value in _NOTHING:
            continue
        if quirks.reasoning_history == "thinking" and name in ("reasoning_content", "reasoning"):
            thought = thought or _text(value)
        elif name not in dropped:
            dropped.append(name)
    content = bytes(members.get("content", b"null"))
    if thought and not content.startswith(b"["):
        said = _text(content)
        items: list[Any] = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
        members["content"] = [*items, {"type": "text", "text": said}] if said else items


def _text(value: bytes) -> str:
    try:
        return _texts(value) or ""
    except msgspec.ValidationError:
        return ""


def _shorten(members: dict[str, Any]) -> None:
    try:
        if "tool_call_id" in members:
            own = _text(bytes(members["tool_call_id"]))
            if own and short_id(own) != own:
                members["tool_call_id"] = short_id(own)
        if "tool_calls" in members:
            calls = [dict(_members(call)) for call in _list(members["tool_calls"])]
            ids = [_text(bytes(call.get("id", b"null"))) for call in calls]
            if any(own and short_id(own) != own for own in ids):
                members["tool_calls"] = [
                    {**call, "id": short_id(own)} if own else call for call, own in zip(calls, ids, strict=True)
                ]
    except msgspec.ValidationError:
        return  # the service says what is wrong with it
