"""One output item after the other, written as the events that strict clients demand."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.events import Delta, Event, Marked
from ...core.parts import Foreign, Media, Part, Reasoning, Refusal, Text, ToolCall
from ..sse import write_frame
from .grammar import objects, own, text
from .write_items import annotations_of, call, output_part

_encode = msgspec.json.Encoder().encode


class Frames:
    """Numbers events from 0 and frames them; `take` gives the bytes since the last time."""

    def __init__(self) -> None:
        self.number = 0
        self._out: list[bytes] = []

    def emit(self, kind: str, **fields: Any) -> None:
        data = _encode({"type": kind, "sequence_number": self.number, **fields})
        self.number += 1
        self._out.append(write_frame(data, kind.encode()))

    def delta(self, head: bytes, delta: str) -> None:
        """A delta event whose members around number and text were encoded once (see `delta_head`)."""
        self._out.append(head % (self.number, _encode(delta)))
        self.number += 1

    def raw(self, data: bytes) -> None:
        self._out.append(data)

    def take(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data


def delta_head(kind: str, logprobs: bool = False, **fields: Any) -> bytes:
    """The frame of a delta event with two holes: %d for its number, %b for its text."""
    name = kind.encode()
    members = _encode(fields)[1:-1].replace(b"%", b"%%")
    end = b',"logprobs":[]}\n\n' if logprobs else b"}\n\n"
    return b'event: %b\ndata: {"type":"%b","sequence_number":%%d,%b,"delta":%%b' % (name, name, members) + end


class LiveItems:
    """Parts in their order, one open at a time, to items. `output`: the items that are complete.

    stem: what every made-up id ends in, so that a reply read twice has the same ids."""

    def __init__(self, frames: Frames, stem: str) -> None:
        self.output: list[dict[str, Any]] = []
        self._frames = frames
        self._stem = stem
        self._item: dict[str, Any] | None = None
        self._message_state: dict[str, Any] = {}
        self._part: Part | None = None
        self._pieces: list[str] = []
        self._annotations: list[dict[str, Any]] = []
        self._logprobs: list[Any] = []
        self._owed: list[Any] = []
        self._head = b""
        self._at: dict[str, Any] = {}

    def start(self, part: Part) -> None:
        self._part, self._pieces, self._annotations, self._logprobs = part, [], [], []
        if isinstance(part, Text | Refusal):
            self._start_said(part)
            return
        self.close_item()
        if isinstance(part, ToolCall):
            self._start_call(part)
        elif isinstance(part, Reasoning) and not own(part.state):
            self._open_item({"type": "reasoning", "summary": []}, "rs", None)
            self.more(part.text)

    def apply(self, event: Event) -> None:
        """Delta or Marked of the open part."""
        if isinstance(event, Delta):
            self.more(event.text)
        elif isinstance(event, Marked) and self._part is not None:
            if event.state is not None and not isinstance(self._part, Refusal):
                self._part = msgspec.structs.replace(self._part, state=event.state)
            self._owed.extend([_token(token) for token in objects(list(event.logprobs))])
            if isinstance(self._part, Text):
                self._annotate(annotations_of(event.citations))
                self._pay_tokens()

    def more(self, delta: str) -> None:
        if not delta:
            return
        if isinstance(self._part, Reasoning) and not self._pieces and self._item is not None:
            self._start_summary()
        self._pieces.append(delta)
        if self._head:
            self._frames.delta(self._head, delta)

    def end(self) -> None:
        """The open part is complete. A message stays open: more of its parts may follow."""
        part, self._part, self._head = self._part, None, b""
        if isinstance(part, Text | Refusal):
            self._end_said(part)
        elif isinstance(part, ToolCall):
            self._end_call(part)
        elif isinstance(part, Reasoning):
            self._end_reasoning(part)
        elif isinstance(part, Foreign | Media):
            self._whole_item(part)

    # items

    def _open_item(self, item: dict[str, Any], prefix: str, item_id: Any) -> None:
        place = len(self.output)
        known = item_id if isinstance(item_id, str) and item_id else f"{prefix}_{self._stem}_{place}"
        self._item = {"id": known, **item}
        self._at = {"item_id": known, "output_index": place}
        self._frames.emit("response.output_item.added", output_index=place, item=self._item)

    def close_item(self, status: str = "completed") -> None:
        """The open message, if there is one, is complete."""
        if self._item is not None:
            self._close({**self._item, "status": status})

    def _close(self, item: dict[str, Any]) -> None:
        self._frames.emit("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
        self._item = None

    def _whole_item(self, part: Foreign | Media) -> None:
        """A hosted tool's item as its issuer wrote it; a picture of any dialect as an image_generation_call."""
        item = own(part.state)
        if isinstance(part, Media):
            if part.kind != "image" or not part.data:
                return
            form = part.mime.partition("/")[2] or "png"
            item = item or {"type": "image_generation_call", "status": "completed", "output_format": form}
            item = {**item, "result": part.data}
        if item.get("type"):
            self._open_item({name: value for name, value in item.items() if name != "id"}, "it", item.get("id"))
            self._close(self._item or item)

    # text and refusals

    def _start_said(self, part: Text | Refusal) -> None:
        state = own(part.state) if isinstance(part, Text) else self._message_state
        if self._item is None or (isinstance(part, Text) and state != self._message_state):
            self.close_item()
            self._message_state = state if isinstance(part, Text) else {}
            rest = {name: value for name, value in self._message_state.items() if name != "id"}
            message = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
            self._open_item({**message, **rest}, "msg", self._message_state.get("id"))
        assert self._item is not None
        self._at = {**self._at, "content_index": len(self._item["content"])}
        refused = isinstance(part, Refusal)
        empty = {"type": "refusal", "refusal": ""} if refused else _output_text("", [], [])
        self._frames.emit("response.content_part.added", **self._at, part=empty)
        kind = "response.refusal.delta" if refused else "response.output_text.delta"
        self._head = delta_head(kind, logprobs=not refused, **self._at)
        self.more(part.text)
        if isinstance(part, Text):
            self._annotate(annotations_of(part.citations))
            self._pay_tokens()

    def _annotate(self, annotations: list[dict[str, Any]]) -> None:
        for annotation in annotations:
            number = len(self._annotations)
            self._annotations.append(annotation)
            self._frames.emit(
                "response.output_text.annotation.added", **self._at, annotation_index=number, annotation=annotation
            )

    def _pay_tokens(self) -> None:
        """Logprobs come after the text that they speak of, or (of an answer in one piece) with the first part of
        any kind: they travel on a text delta of their own."""
        tokens, self._owed = self._owed, []
        if tokens:
            self._logprobs.extend(tokens)
            self._frames.emit("response.output_text.delta", **self._at, delta="", logprobs=tokens)

    def _end_said(self, part: Text | Refusal) -> None:
        whole = "".join(self._pieces)
        assert self._item is not None
        if isinstance(part, Refusal):
            written = output_part(Refusal(whole))
            self._frames.emit("response.refusal.done", **self._at, refusal=whole)
        else:
            written = _output_text(whole, self._annotations, self._logprobs)
            self._frames.emit("response.output_text.done", **self._at, text=whole, logprobs=self._logprobs)
        self._frames.emit("response.content_part.done", **self._at, part=written)
        self._item = {**self._item, "content": [*self._item["content"], written]}

    # tool calls

    def _start_call(self, part: ToolCall) -> None:
        item = {**call(msgspec.structs.replace(part, state=None)), "call_id": part.id}
        words = "input" if part.kind == "custom" else "arguments"
        rest = {name: value for name, value in own(part.state).items() if name != "id"}
        prefix = "ctc" if part.kind == "custom" else "fc"
        self._open_item({**item, words: "", "status": "in_progress", **rest}, prefix, own(part.state).get("id"))
        kind = "custom_tool_call_input" if part.kind == "custom" else "function_call_arguments"
        self._head = delta_head(f"response.{kind}.delta", **self._at)
        self.more(part.arguments)

    def _end_call(self, part: ToolCall) -> None:
        whole = "".join(self._pieces)
        assert self._item is not None
        rest = {name: value for name, value in own(part.state).items() if name != "id"}
        if part.kind == "custom":
            self._frames.emit("response.custom_tool_call_input.done", **self._at, input=whole)
            self._close({**self._item, **rest, "input": whole, "status": "completed"})
        else:
            whole = whole or "{}"
            self._frames.emit("response.function_call_arguments.done", **self._at, name=part.name, arguments=whole)
            self._close({**self._item, **rest, "arguments": whole, "status": "completed"})

    # reasoning

    def _start_summary(self) -> None:
        self._at = {**self._at, "summary_index": 0}
        empty = {"type": "summary_text", "text": ""}
        self._frames.emit("response.reasoning_summary_part.added", **self._at, part=empty)
        self._head = delta_head("response.reasoning_summary_text.delta", **self._at)

    def _end_reasoning(self, part: Reasoning) -> None:
        """What this dialect issued is written once it is complete, item for item; other thinking as a summary, the
        one form that every client knows."""
        whole = "".join(self._pieces)
        if self._item is None:
            self._own_reasoning({"type": "reasoning", **own(part.state)}, part.summary)
            return
        summary = [{"type": "summary_text", "text": whole}] if whole else []
        if summary:
            self._frames.emit("response.reasoning_summary_text.done", **self._at, text=whole)
            self._frames.emit("response.reasoning_summary_part.done", **self._at, part=summary[0])
        self._close({**self._item, "summary": summary})

    def _own_reasoning(self, item: dict[str, Any], summary: bool) -> None:
        source = "summary" if summary else "content"
        first = {name: value for name, value in item.items() if name != "id"} | {"summary": []}
        if "content" in first:
            first["content"] = []
        self._open_item(first, "rs", item.get("id"))
        item = {**item, "id": self._at["item_id"]}
        at = self._at
        for number, piece in enumerate(objects(item.get(source))):
            words = text(piece.get("text"))
            if summary:
                here, kind, part = {**at, "summary_index": number}, "reasoning_summary_text", "reasoning_summary_part"
            else:
                here, kind, part = {**at, "content_index": number}, "reasoning_text", "content_part"
            self._frames.emit(f"response.{part}.added", **here, part={**piece, "text": ""})
            self._frames.emit(f"response.{kind}.delta", **here, delta=words)
            self._frames.emit(f"response.{kind}.done", **here, text=words)
            self._frames.emit(f"response.{part}.done", **here, part=piece)
        self._close(item)


def _output_text(words: str, annotations: list[dict[str, Any]], logprobs: list[Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": annotations, "logprobs": logprobs}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    """A token object with the members that this dialect requires."""
    told = token.get("bytes")
    words = text(token.get("token"))
    return {
        "token": words,
        "bytes": told if isinstance(told, list) else list(words.encode("utf-8", "replace")),
        "logprob": token.get("logprob", 0.0),
        "top_logprobs": [_token(other) for other in objects(token.get("top_logprobs"))],
    }
