"""Models that say what a test has written for them, line by line, in the format of OpenAI Chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from .upstream import Asked, Said, stream, whole

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


class Call(Struct):
    """arguments: text, as the model wrote it, or an object."""

    name: str
    arguments: Any = msgspec.field(default_factory=dict)
    id: str = "c"

    def written(self) -> dict[str, Any]:
        text = self.arguments if isinstance(self.arguments, str) else msgspec.json.encode(self.arguments).decode()
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": text}}


class Line(Struct):
    """stop: "" = as it is for what is said. after: text that comes behind the calls, in a stream. refusal: in place of
    text. cites: from where to where in the text a source stands, where it is no stream."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    stop: str = ""
    after: str = ""
    refusal: str = ""
    cites: tuple[int, int] | None = None


class Models:
    """lines: what each model says next, by its name; `done` once it has said everything. asked: what came in."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}

    def say(self, model: str, *lines: Line) -> None:
        self.lines[model] = list(lines)

    def __call__(self, asked: Asked) -> Said:
        if asked.method == "GET":
            return whole({"data": []})
        model, left = asked.json["model"], self.lines.get(asked.json["model"])
        line = left.pop(0) if left else Line("done")
        common = {"id": "c", "created": 1, "model": model}
        stop = line.stop or ("tool_calls" if line.calls else "stop")
        if not asked.json.get("stream"):
            message: dict[str, Any] = {"role": "assistant", "content": line.text or None}
            if line.cites is not None:
                place = {"start_index": line.cites[0], "end_index": line.cites[1]}
                cited = {"url": "https://example.org", "title": "t", **place}
                message["annotations"] = [{"type": "url_citation", "url_citation": cited}]
            if line.refusal:
                message["refusal"] = line.refusal
            if line.calls:
                message["tool_calls"] = [call.written() for call in line.calls]
            choice = {"index": 0, "message": message, "finish_reason": stop}
            return whole({**common, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        chunks = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in _deltas(line)]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": stop}]})
        chunks.append({"choices": [], "usage": USAGE})
        told = [{**common, "object": "chat.completion.chunk", **chunk} for chunk in chunks]
        return stream(*(b"data: " + msgspec.json.encode(one) + b"\n\n" for one in told), b"data: [DONE]\n\n")


def _deltas(line: Line) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": line.text}
    half = len(line.refusal) // 2
    for piece in (line.refusal[:half], line.refusal[half:]) if line.refusal else ():
        yield {"refusal": piece}
    for place, call in enumerate(line.calls):
        written = call.written()
        text = written["function"].pop("arguments")
        yield {"tool_calls": [{"index": place, **written, "function": {**written["function"], "arguments": ""}}]}
        half = len(text) // 2
        for piece in (text[:half], text[half:]):
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
    if line.after:
        yield {"content": line.after}
