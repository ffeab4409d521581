"""The recorded exchanges of real services: one a line, in files by service (MIDSTREAM_WIRE_CORPUS)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

FOLDER = Path(os.environ.get("MIDSTREAM_WIRE_CORPUS") or Path(__file__).parents[3] / "shared" / "wire")
needed = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recorded exchanges at {FOLDER}")

#: Whose format a path speaks. What is not here (images, MCP, stored responses) is not replayed.
_DIALECTS = (
    (re.compile(r"/chat/completions(#stream)?$"), "openai_chat"),
    (re.compile(r"/embeddings$"), "openai_chat"),
    (re.compile(r"/v1/messages(/count_tokens)?$"), "anthropic_messages"),
    (re.compile(r"/models/[^/]+:\w+$"), "gemini"),
    (re.compile(r"/responses$"), "openai_responses"),
)
#: Asked in place of a request that was not recorded.
SIMPLE = b'{"model":"unnamed","messages":[{"role":"user","content":"hi"}]}'
_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Recording(Struct, frozen=True):
    """request: the recorded bytes. response: the body as text, JSON or a whole event stream."""

    id: str
    stream: bool
    path: str
    query: str
    request: Raw
    status: int
    content_type: str | None
    response: str

    @property
    def dialect(self) -> str:
        """Empty when it is not replayed."""
        return next((name for pattern, name in _DIALECTS if pattern.search(self.path)), "")

    @property
    def task(self) -> str:
        """chat | embedding | count_tokens."""
        if self.path.endswith("/embeddings") or "mbedContent" in self.path:
            return "embedding"
        return "count_tokens" if self.path.endswith(("/count_tokens", ":countTokens")) else "chat"

    @property
    def streams(self) -> bool:
        """Also Google's form without alt=sse, a JSON array that comes in pieces."""
        return self.stream or ":streamGenerateContent" in self.path

    @property
    def fields(self) -> dict[str, Raw]:
        """The members of the request, each value as the bytes that were recorded."""
        return _members(bytes(self.request) if bytes(self.request) != b"null" else SIMPLE)

    @property
    def asked(self) -> Any:
        return msgspec.json.decode(object_of(self.fields))

    @property
    def model(self) -> str:
        named = re.search(r"/models/([^/]+):\w+$", self.path)
        return named[1] if named else str(self.asked.get("model") or "unnamed")

    @property
    def body(self) -> bytes:
        return self.response.encode()

    @property
    def type(self) -> str:
        return self.content_type or "application/json"


_line = msgspec.json.Decoder(Recording).decode


@cache
def recordings(service: str) -> tuple[Recording, ...]:
    """The exchanges of one file that are in a dialect we speak."""
    path = FOLDER / f"{service}.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return tuple(found for line in lines if line and (found := _line(line)).dialect)


def object_of(fields: Mapping[str, Raw | bytes]) -> bytes:
    """A JSON object of these members in this order, their values untouched."""
    pairs = (msgspec.json.encode(name) + b":" + bytes(value) for name, value in fields.items())
    return b"{" + b",".join(pairs) + b"}"


class Score:
    """Counts what held and what did not; `reasons` are the exceptions that are known, by recording."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self._reasons = reasons
        self.total = 0
        self.failures: dict[str, str] = {}

    def add(self, id: str, problems: Iterable[str]) -> None:
        self.total += 1
        found = "; ".join(problems)
        if found and id not in self._reasons:
            self.failures[id] = found
        elif not found and id in self._reasons:
            self.failures[id] = "is listed as an exception and is none"

    def hold(self) -> None:
        told = "\n".join(f"{id}: {problem}" for id, problem in self.failures.items())
        assert not self.failures, f"{len(self.failures)} of {self.total} exchanges:\n{told}"
