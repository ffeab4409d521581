"""A generateContent request as its caller wrote it, read into a Prompt."""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ...core.errors import BadRequest
from ...core.parts import Message, Native, Part, Role, ToolCall, ToolResult
from ...core.turn import Fields, Prompt
from .config_in import read_choice, read_params, read_tools
from .part_in import read_part
from .shape import NAME, camel, listed, plain, shaped

#: Members of the request that have a neutral meaning, or that the URL says.
_NEUTRAL = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model"})
_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "tool", "tool": "tool", "": "user"}
_encode = msgspec.json.Encoder().encode


def read_ask(fields: Fields) -> Prompt:
    """The request's meaning; `fields` may be spelled in camelCase or snake_case. Raises BadRequest with a path."""
    named = {camel(name): raw for name, raw in fields.items() if bytes(raw) != b"null"}
    messages = _system(named) + read_contents(named)
    extras = {name: plain(raw, name) for name, raw in named.items() if name not in _NEUTRAL}
    choice = None
    if "toolConfig" in named:
        choice, more = read_choice(plain(named["toolConfig"], "toolConfig"))
        extras.update(more)
    params, more = read_params(plain(named.get("generationConfig", Raw(b"{}")), "generationConfig"))
    extras.update(more)
    tools = read_tools(plain(named.get("tools", Raw(b"[]")), "tools"))
    return Prompt(tuple(messages), tools, choice, params, extras)


def _system(named: dict[str, Raw]) -> list[Message]:
    raw = named.get("systemInstruction")
    if raw is None:
        return []
    content = _content(bytes(raw), "systemInstruction")
    parts = tuple(
        read_part(plain(part, f"systemInstruction.parts[{number}]"), f"systemInstruction.parts[{number}]")
        for number, part in enumerate(content.parts)
    )
    return [Message("system", parts, native=Native(NAME, bytes(raw)))]


def read_contents(named: dict[str, Raw]) -> list[Message]:
    """Raises BadRequest when `contents` is missing or empty."""
    raw = named.get("contents")
    contents = [bytes(item) for item in raw_list(raw, "contents")] if raw is not None else []
    if not contents:
        raise BadRequest("contents must hold at least one content", param="contents")
    ids = _Ids()
    return [message for number, item in enumerate(contents) for message in _messages(item, f"contents[{number}]", ids)]


def raw_list(raw: Raw, path: str) -> list[Raw]:
    """The items of a repeated field as their exact bytes. Raises BadRequest."""
    listed(plain(raw, path), path)
    found = bytes(raw).lstrip()
    return [raw] if found[:1] == b"{" else msgspec.json.decode(found, type=list[Raw])


class _Content(Struct, frozen=True):
    role: str
    parts: list[Raw]


def _content(raw: bytes, path: str) -> _Content:
    value = plain(Raw(raw), path)
    if not isinstance(value, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    role = value.get("role")
    parts = msgspec.json.decode(raw, type=dict[str, Raw]).get("parts")
    items = [] if parts is None or bytes(parts) == b"null" else raw_list(parts, f"{path}.parts")
    return _Content(shaped("" if role is None else role, str, f"{path}.role"), items)


def _messages(raw: bytes, path: str, ids: _Ids) -> list[Message]:
    content = _content(raw, path)
    role = _ROLES.get(content.role)
    if role is None:
        raise BadRequest(f"{path}.role must be user or model, not {content.role!r}", param=f"{path}.role")
    read: list[tuple[Part, Raw]] = []
    for number, item in enumerate(content.parts):
        at = f"{path}.parts[{number}]"
        part = ids.named(read_part(plain(item, at), at))
        if isinstance(part, ToolCall) and role != "assistant":
            raise BadRequest(f"{at}.functionCall belongs in a content of role model", param=f"{at}.functionCall")
        read.append((part, item))
    runs = _runs(read)
    other: Role = "user" if role == "tool" else role
    if len(runs) <= 1:
        results = bool(read) and isinstance(read[0][0], ToolResult)
        return [Message("tool" if results else other, tuple(p for p, _ in read), native=Native(NAME, raw))]
    return [
        Message(
            "tool" if isinstance(run[0][0], ToolResult) else other,
            tuple(part for part, _ in run),
            native=Native(NAME, _encode({"role": content.role or "user", "parts": [item for _, item in run]})),
        )
        for run in runs
    ]


def _runs(read: list[tuple[Part, Raw]]) -> list[list[tuple[Part, Raw]]]:
    """Function responses stand in messages of their own: the parts, cut where one kind follows the other."""
    runs: list[list[tuple[Part, Raw]]] = []
    for item in read:
        if runs and isinstance(item[0], ToolResult) == isinstance(runs[-1][0][0], ToolResult):
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


class _Ids:
    """Gives calls and responses without ids the ones that make them a pair: by name, in order."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        #: Calls without a response yet, first come first, with their names; and the same of each name. The first of a
        #: plain dict is found by passing all that was taken out of it, and there may be thousands.
        self._waiting: OrderedDict[str, set[str]] = OrderedDict()
        self._of_name: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)
        self._count = 0

    def named(self, part: Part) -> Part:
        if isinstance(part, ToolCall):
            part = part if part.id else replace(part, id=self._fresh())
            self._names[part.id] = part.name
            self._waiting.setdefault(part.id, set()).add(part.name)
            self._of_name[part.name][part.id] = None
        elif isinstance(part, ToolResult):
            found = part.id or self._answered(part.name)
            for name in self._waiting.pop(found, ()):
                del self._of_name[name][found]
            part = replace(part, id=found, name=part.name or self._names.get(found, ""))
        return part

    def _fresh(self) -> str:
        while f"call_{self._count}" in self._names:
            self._count += 1
        self._count += 1
        return f"call_{self._count - 1}"

    def _answered(self, name: str) -> str:
        return next(iter(self._of_name[name] if name else self._waiting), "") or self._fresh()
