"""Streams of our own faces, read by clients that take everything for a line's end that Unicode does."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from midstream.core.dialect import Say
from midstream.core.errors import BadRequest
from midstream.core.events import Attempted, Concluded, Delta, Done, Event, Failed, PartEnded, PartStarted, Stopped
from midstream.core.outcome import Outcome
from midstream.core.parts import Text, ToolCall
from midstream.core.turn import Prompt, Turn
from midstream.faces import agent_v1, completion_v2, completions_v1, conversation_v1

#: Whatever ends a line for str.splitlines, and neighbours of these in UTF-8.
ODD = "a\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b \u2027\u202a\x84\x86\u0145\U00010085 é🙂"
EVENTS: list[Event] = [
    Attempted("p", ""), PartStarted(0, Text("")), Delta(0, ODD), Delta(0, "plain"), PartEnded(0),
    PartStarted(1, ToolCall("c\u2028", "f")), Delta(1, msgspec.json.encode({ODD: ODD}).decode()), PartEnded(1),
    Stopped("stop"), Concluded(Outcome(ODD, "stop")), Done(),
]  # fmt: skip
TURN = Turn("x", {}, lambda fields: Prompt(()), model="m")


def strings_in(value: Any) -> list[str]:
    inner = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value] if isinstance(value, str) else [text for one in inner for text in strings_in(one)]


@pytest.mark.parametrize("face", [agent_v1, completion_v2, completions_v1, conversation_v1], ids=lambda one: one.NAME)
def test_a_stream_is_whole_to_who_ends_lines_wherever_unicode_does(face: Any):
    events: list[list[Event]] = [EVENTS, [Failed(BadRequest(ODD))]]
    for told in events:
        written = face.writer(TURN, Say("id", 1, "m")).write(told)
        read = []
        for line in httpx.Response(200, content=written).iter_lines():
            if line and not line.startswith("event: "):
                read.append(msgspec.json.decode(line.removeprefix("data: ")))
        assert ODD in strings_in(read)
        assert "\n".join(written.decode().splitlines()) == written.decode().removesuffix("\n")
