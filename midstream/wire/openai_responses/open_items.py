"""The items of a streamed response while they are open, and the neutral parts that they make.

An item is known by its output_index, a content part by (output_index, content_index): several may be open at once.
What a provider left out on the way (deltas, annotations, whole items) is made up for from the `done` events and from
the terminal event's output, so that the parts always end complete."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...core.events import Delta, Event, Marked, PartEnded, PartStarted
from ...core.parts import Foreign, Part, Reasoning, Refusal, State, Text
from .contents import call_of, citation_of, image_of, parts_of, reasoning_of
from .grammar import NAME, PARAGRAPH, objects, state_of, text

CALLS = ("function_call", "custom_tool_call")
#: Known to be worth a part only later: reasoning by its first text, an image by its data.
_LATE = ("reasoning", "image_generation_call")


class OpenPart:
    """length: characters received (of reasoning: in the current paragraph). state: as last told."""

    __slots__ = ("annotations", "index", "length", "logprobs", "open", "state")

    def __init__(self, index: int, state: State | None) -> None:
        self.index = index
        self.state = state
        self.length = self.annotations = self.logprobs = 0
        self.open = True


class OpenItem:
    """part: of every kind but message, whose parts stand in Opened.texts. source, paragraph: which list of a
    reasoning item its text comes from, and how far it is."""

    __slots__ = ("done", "item", "kind", "paragraph", "part", "source")

    def __init__(self, kind: str, item: dict[str, Any]) -> None:
        self.kind = kind
        self.item = item
        self.part: OpenPart | None = None
        self.source = ""
        self.paragraph = 0
        self.done = False


class Opened:
    def __init__(self) -> None:
        self.items: dict[int, OpenItem] = {}
        self.texts: dict[tuple[int, int], OpenPart] = {}
        self.has_calls = False
        self._ids: set[str] = set()
        self._next = 0

    def _start(self, part: Part, made: list[Event]) -> OpenPart:
        opened = OpenPart(self._next, getattr(part, "state", None))
        self._next += 1
        made.append(PartStarted(opened.index, part))
        return opened

    def _end(self, part: OpenPart, made: list[Event]) -> None:
        if part.open:
            part.open = False
            made.append(PartEnded(part.index))

    # items

    def add_item(self, place: int, item: dict[str, Any], made: list[Event]) -> None:
        if place in self.items or not item:
            return
        kind = text(item.get("type"))
        self._start_waiting(made)
        opened = self.items[place] = OpenItem(kind, item)
        if kind == "message":
            if not self._spots(place):  # else it is told of after its text
                for number, part in enumerate(objects(item.get("content"))):
                    self.text_part((place, number), part, made)
        elif kind in CALLS:
            self.has_calls = True
            call = call_of(item)
            if call.id in self._ids:  # an id used twice would answer two calls with one result
                call = replace(call, id=f"{call.id}_{self._next}")
            self._ids.add(call.id)
            opened.part = self._start(call, made)
            opened.part.length = len(call.arguments)
        elif kind not in _LATE:
            opened.part = self._start(Foreign(kind or "unknown", State(NAME, item)), made)

    def _spots(self, place: int) -> list[int]:
        """The content indexes of a message's parts, as its events have counted them."""
        return sorted(spot for at, spot in self.texts if at == place)

    def _start_waiting(self, made: list[Event]) -> None:
        """Reasoning without text stands before what follows it."""
        for item in self.items.values():
            if item.kind == "reasoning" and item.part is None:
                item.part = self._start(Reasoning(summary=True, state=State(NAME, item.item)), made)

    def place_of(self, place: int, item: dict[str, Any]) -> int:
        """Where an item stands that is told of again: by its id, as some servers count anew."""
        id = item.get("id")
        if not id or place in self.items:
            return place
        return next((at for at, one in self.items.items() if one.item.get("id") == id), place)

    def end_item(self, place: int, item: dict[str, Any], made: list[Event]) -> None:
        place = self.place_of(place, item)
        self.add_item(place, item, made)
        opened = self.items.get(place)
        if opened is None or opened.done:
            return
        opened.done = True
        if item.get("type") != opened.kind:
            item = opened.item
        if opened.kind == "message":
            told = objects(item.get("content"))
            spots = self._spots(place)
            if len(spots) != len(told):
                spots = [*range(len(told))]
            for spot, part in zip(spots, told, strict=True):
                self.end_text((place, spot), part, made)
            return
        if opened.kind == "reasoning":
            self._end_reasoning(opened, item, made)
        elif opened.kind == "image_generation_call" and opened.part is None:
            opened.part = self._start(image_of(item) or parts_of(item)[0], made)
        elif opened.kind in CALLS:
            call = call_of(item)
            self.catch_up(opened.part, call.arguments, made)
            self._mark_state(opened.part, call.state, made)
        else:
            self._mark_state(opened.part, State(NAME, item), made)
        if opened.part is not None:
            self._end(opened.part, made)

    def complete(self, output: list[dict[str, Any]], made: list[Event]) -> None:
        """The terminal event's output: whatever was not told before is told now; every part ends."""
        for at, _ in self.texts:  # told of without their item
            self.items.setdefault(at, OpenItem("message", {}))
        for place, item in self._placed(output):
            self.end_item(place, item, made)
        for place, opened in self.items.items():
            self.end_item(place, opened.item, made)
        for part in self.texts.values():
            self._end(part, made)

    def _placed(self, output: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
        """Each item with the place of the one that the stream told of: the one with its id, else the one of its kind
        that stands where it stands, else the next of its kind that none has claimed; else a place of its own."""
        by_id = {opened.item["id"]: place for place, opened in self.items.items() if opened.item.get("id")}
        claimed = {by_id[item["id"]] for item in output if item.get("id") in by_id}
        placed: list[tuple[int, dict[str, Any]]] = []
        for number, item in enumerate(output):
            place = by_id.get(item.get("id"))
            if place is None:
                like = [
                    at for at, one in sorted(self.items.items()) if one.kind == item.get("type") and at not in claimed
                ]
                place = number if number in like else like[0] if like else max([number, *self.items, *claimed]) + 1
                claimed.add(place)
            placed.append((place, item))
        return placed

    # text and refusals

    def text_part(self, at: tuple[int, int], part: dict[str, Any], made: list[Event]) -> OpenPart:
        """The part at (output_index, content_index), opened now if its own event was left out."""
        opened = self.texts.get(at)
        if opened is not None:
            return opened
        item = self.items.get(at[0])
        state = state_of(item.item) if item is not None and item.kind == "message" else None
        said: Text | Refusal
        if part.get("type") == "refusal":
            said = Refusal(text(part.get("refusal")))
        else:
            said = Text(text(part.get("text")), state=state)
        opened = self.texts[at] = self._start(said, made)
        opened.length = len(said.text)
        return opened

    def end_text(self, at: tuple[int, int], part: dict[str, Any], made: list[Event]) -> None:
        opened = self.text_part(at, part, made)
        if not opened.open:
            return
        self.catch_up(opened, text(part.get("text")) or text(part.get("refusal")), made)
        self.mark_annotations(opened, objects(part.get("annotations"))[opened.annotations :], made)
        self.missing_logprobs(opened, objects(part.get("logprobs")), made)
        self._end(opened, made)

    def mark_annotations(self, part: OpenPart, annotations: list[dict[str, Any]], made: list[Event]) -> None:
        if annotations and part.open:
            part.annotations += len(annotations)
            made.append(Marked(part.index, citations=tuple([citation_of(annotation) for annotation in annotations])))

    def mark_logprobs(self, part: OpenPart, tokens: list[Any], made: list[Event]) -> None:
        if tokens and part.open:
            part.logprobs += len(tokens)
            made.append(Marked(part.index, logprobs=tuple(tokens)))

    def missing_logprobs(self, part: OpenPart, tokens: list[Any], made: list[Event]) -> None:
        self.mark_logprobs(part, tokens[part.logprobs :], made)

    # any part

    def more(self, part: OpenPart | None, delta: str, made: list[Event]) -> None:
        if part is not None and part.open and delta:
            part.length += len(delta)
            made.append(Delta(part.index, delta))

    def catch_up(self, part: OpenPart | None, whole: str, made: list[Event]) -> None:
        """What of `whole` no delta has brought yet."""
        if part is not None and len(whole) > part.length:
            self.more(part, whole[part.length :], made)

    def _mark_state(self, part: OpenPart | None, state: State | None, made: list[Event]) -> None:
        if part is not None and part.open and state is not None and state != part.state:
            part.state = state
            made.append(Marked(part.index, state=state))

    # reasoning

    def reasoning_item(self, place: int, item: dict[str, Any]) -> OpenItem:
        opened = self.items[place] = OpenItem("reasoning", item)
        return opened

    def reason(self, item: OpenItem, source: str, number: int, delta: str, made: list[Event]) -> None:
        """More of paragraph `number`. The list that speaks first is the text; the other stays in the state."""
        if item.kind != "reasoning" or (item.source and item.source != source) or not delta:
            return
        if item.part is None:
            item.part = self._start(Reasoning(summary=source == "summary", state=State(NAME, item.item)), made)
        item.source = source
        if number > item.paragraph and item.part.open:
            made.append(Delta(item.part.index, PARAGRAPH * (number - item.paragraph)))
            item.paragraph, item.part.length = number, 0
        self.more(item.part, delta, made)

    def reason_whole(self, item: OpenItem, source: str, number: int, whole: str, made: list[Event]) -> None:
        """Paragraph `number` is complete."""
        if number < item.paragraph or (item.source and item.source != source):
            return
        had = item.part.length if item.part is not None and number == item.paragraph else 0
        self.reason(item, source, number, whole[had:], made)

    def _end_reasoning(self, opened: OpenItem, item: dict[str, Any], made: list[Event]) -> None:
        whole = reasoning_of(item)
        source = opened.source or ("summary" if whole.summary else "content")
        for number, part in enumerate(objects(item.get(source))):
            self.reason_whole(opened, source, number, text(part.get("text")), made)
        if opened.part is None:
            opened.part = self._start(Reasoning(summary=True, state=whole.state), made)
        self._mark_state(opened.part, whole.state, made)
