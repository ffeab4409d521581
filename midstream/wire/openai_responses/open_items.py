"""The items of a streamed response while they are open, and the neutral parts that they make.

Several items and parts may be open at once. What a provider left out on the way (deltas, annotations, whole items) is
made up for from the `done` events and from the terminal event's output, so that the parts always end complete; what it
tells more than once is told once."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...core.events import Delta, Event, Marked, PartEnded, PartStarted
from ...core.parts import Foreign, Part, Reasoning, Refusal, State, Text
from .contents import call_of, citation_of, image_of, is_own, parts_of, reasoning_of
from .grammar import NAME, PARAGRAPH, objects, state_of, text
from .places import CALLS, MESSAGE, REASONING, Placed, Places, Where

#: Known to be worth a part only later: reasoning by its first text, an image by its data.
_LATE = ("reasoning", "image_generation_call")


class OpenPart:
    """length: characters received (of reasoning: in the current paragraph). state: as last told. whole: its text has
    been told in full, so deltas only repeat it. promise: text that its opening event held, of which the first `kept`
    characters have come in deltas."""

    __slots__ = ("annotations", "index", "kept", "length", "logprobs", "open", "promise", "refusal", "state", "whole")

    def __init__(self, index: int, state: State | None, refusal: bool = False) -> None:
        self.index = index
        self.state = state
        self.refusal = refusal
        self.length = self.annotations = self.logprobs = self.kept = 0
        self.promise = ""
        self.open = True
        self.whole = False

    @property
    def plain(self) -> bool:
        """Is a delta simply more of it?"""
        return self.open and not self.whole and not self.promise


class OpenItem(Placed):
    """part: of every kind but message, whose parts are texts. source, paragraph: which list of a reasoning item its
    text comes from, and how far it is. told: its paragraphs that have been told in full. own: a call that the service
    itself has made."""

    __slots__ = ("own", "paragraph", "part", "source", "texts", "told")

    def __init__(self, kind: str, item: dict[str, Any], where: Where) -> None:
        super().__init__(kind, item, where)
        self.own = False
        self.part: OpenPart | None = None
        self.texts: dict[int, OpenPart] = {}
        self.source = ""
        self.paragraph = 0
        self.told: set[int] = set()


class Opened:
    """quick: parts of which a delta has come, by all that it said of its place. offered: as offered_in has it."""

    def __init__(self) -> None:
        self.quick: dict[tuple[int | None, int | None, str], OpenPart] = {}
        self.has_calls = False
        self.offered: frozenset[str] | None = None
        self._places: Places[OpenItem] = Places()
        self._ids: set[str] = set()
        self._next = 0
        self._seen = 0  # items that _start_waiting has looked at

    def _start(self, part: Part, made: list[Event]) -> OpenPart:
        opened = OpenPart(self._next, getattr(part, "state", None), isinstance(part, Refusal))
        self._next += 1
        made.append(PartStarted(opened.index, part))
        return opened

    def _end(self, part: OpenPart, made: list[Event]) -> None:
        if part.open:
            self._keep_promise(part, made)
            part.open = False
            made.append(PartEnded(part.index))

    # items

    def add_item(self, where: Where, item: dict[str, Any], made: list[Event]) -> None:
        if item:
            known = self._places.announced(where, item)
            if known is None:
                self._open_item(where, item, made)
            elif not known.item:
                known.item = item

    def _open_item(self, where: Where, item: dict[str, Any], made: list[Event]) -> OpenItem:
        kind = text(item.get("type"))
        self.quick.clear()  # who was told nothing of this item may have meant another until now
        self._start_waiting(made)
        opened = self._places.add(OpenItem(kind, item, where))
        opened.own = is_own(item, self.offered)
        if kind == "message":
            for number, part in enumerate(objects(item.get("content"))):
                self._text(opened, number, part, made)
        elif kind in CALLS and not opened.own:
            self.has_calls = True
            call = call_of(item)
            if call.id in self._ids:  # an id used twice would answer two calls with one result
                call = replace(call, id=f"{call.id}_{self._next}")
            self._ids.add(call.id)
            opened.part = self._start(replace(call, arguments=""), made)
            opened.part.promise = call.arguments
        elif kind not in _LATE:
            opened.part = self._start(Foreign(kind or "unknown", State(NAME, item)), made)
        return opened

    def _start_waiting(self, made: list[Event]) -> None:
        """Reasoning without text stands before what follows it."""
        fresh, self._seen = self._places.items[self._seen :], len(self._places.items)
        for item in fresh:
            if item.kind == "reasoning" and item.part is None:
                item.part = self._start(Reasoning(summary=True, state=State(NAME, item.item)), made)

    def end_item(self, where: Where, item: dict[str, Any], made: list[Event]) -> None:
        if not item:
            there = self._places.spoken_of((*MESSAGE, *REASONING, *CALLS), where)
            if there is not None:
                self._end_item(there, there.item, made)
            return
        opened = self._places.ended(where, item) or self._open_item(where, item, made)
        self._end_item(opened, item, made)

    def _end_item(self, opened: OpenItem, item: dict[str, Any], made: list[Event]) -> None:
        if opened.done:
            return
        opened.done, opened.item = True, item
        self.quick.clear()
        if opened.kind == "message":
            self._end_texts(opened, objects(item.get("content")), made)
            return
        if opened.kind == "reasoning":
            self._end_reasoning(opened, item, made)
        elif opened.kind == "image_generation_call" and opened.part is None:
            opened.part = self._start(image_of(item) or parts_of(item)[0], made)
        elif opened.kind in CALLS and not opened.own:
            call = call_of(item)
            self.catch_up(opened.part, call.arguments, made)
            self._mark_state(opened.part, call.state, made)
        else:
            self._mark_state(opened.part, State(NAME, item), made)
        if opened.part is not None:
            self._end(opened.part, made)

    def complete(self, output: list[dict[str, Any]], made: list[Event]) -> None:
        """The terminal event's output: whatever was not told before is told now; every part ends."""
        for known, item in self._places.matched(output):
            if known is None:
                known = self._open_item(Where(id=text(item.get("id"))), item, made)
            self._end_item(known, item if item.get("type") == known.kind else known.item, made)
        for opened in self._places.items:
            self._end_item(opened, opened.item, made)
            for part in opened.texts.values():
                self._end(part, made)

    # text and refusals

    def text_part(self, where: Where, part: dict[str, Any], made: list[Event]) -> OpenPart:
        """The part that an event speaks of, opened now if its own event was left out."""
        item = self._message(where)
        number = where.part
        if number is None:
            refusal = part.get("type") == "refusal"
            number = next((at for at, one in item.texts.items() if one.open and one.refusal is refusal), None)
        return self._text(item, len(item.texts) if number is None else number, part, made)

    def _message(self, where: Where) -> OpenItem:
        found = self._places.spoken_of(MESSAGE, where)
        return found or self._places.add(OpenItem("message", {}, where))

    def _text(self, item: OpenItem, number: int, part: dict[str, Any], made: list[Event]) -> OpenPart:
        opened = item.texts.get(number)
        if opened is None:
            state = state_of(item.item) if item.item else None
            refusal = part.get("type") == "refusal"
            opened = item.texts[number] = self._start(Refusal("") if refusal else Text("", state=state), made)
            opened.promise = text(part.get("refusal" if refusal else "text"))
        return opened

    def end_text(self, where: Where, part: dict[str, Any], made: list[Event]) -> None:
        """A content part is complete. A place that nobody has spoken of is another name of the part that is open."""
        item = self._message(where)
        if where.part is not None and where.part not in item.texts:
            refusal = part.get("type") == "refusal"
            alike = [at for at, one in item.texts.items() if one.plain and one.refusal is refusal]
            where = where._replace(part=alike[0] if alike else where.part)
        self._end_text(self.text_part(where, part, made), part, made)

    def _end_texts(self, item: OpenItem, contents: list[dict[str, Any]], made: list[Event]) -> None:
        """The parts of a complete message: by their numbers, else in their order."""
        others = [number for number in item.texts if number >= len(contents)]
        for number, part in enumerate(contents):
            at = number if number in item.texts or not others else others.pop(0)
            self._end_text(self._text(item, at, part, made), part, made)

    def _end_text(self, opened: OpenPart, part: dict[str, Any], made: list[Event]) -> None:
        if opened.open:
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

    def call_part(self, where: Where) -> OpenPart | None:
        item = self._places.spoken_of(CALLS, where)
        return item.part if item is not None and not item.own else None

    def more(self, part: OpenPart | None, delta: str, made: list[Event]) -> None:
        if part is None or not part.open or part.whole or not delta:
            return
        if part.promise:
            rest = part.promise[part.kept :]
            if len(delta) < len(rest) and rest.startswith(delta):
                part.kept += len(delta)
            elif delta.startswith(rest):
                part.promise = ""
            else:  # it goes on from there, and what seemed a repetition was text of its own
                delta = rest + part.promise[: part.kept] + delta
                part.promise = ""
        part.length += len(delta)
        made.append(Delta(part.index, delta))

    def _keep_promise(self, part: OpenPart, made: list[Event]) -> None:
        """The text of the opening event that neither a delta nor a `done` has told."""
        promise, part.promise = part.promise, ""
        self.more(part, promise[part.kept :], made)

    def catch_up(self, part: OpenPart | None, whole: str, made: list[Event]) -> None:
        """What of `whole`, which is all of it, no delta has brought yet."""
        if part is None or not whole:
            return
        if part.promise and whole.startswith(part.promise):
            part.promise = ""
        elif part.promise:
            self._keep_promise(part, made)
        if len(whole) > part.length:
            self.more(part, whole[part.length :], made)
        part.whole = True

    def _mark_state(self, part: OpenPart | None, state: State | None, made: list[Event]) -> None:
        if part is not None and part.open and state is not None and state != part.state:
            part.state = state
            made.append(Marked(part.index, state=state))

    # reasoning

    def reasoning_item(self, where: Where) -> OpenItem:
        found = self._places.spoken_of(REASONING, where)
        return found or self._places.add(OpenItem("reasoning", {"type": "reasoning"}, where))

    def reason(self, item: OpenItem, source: str, number: int, delta: str, made: list[Event]) -> None:
        """More of paragraph `number`. The list that speaks first is the text; the other stays in the state."""
        if (item.source and item.source != source) or not delta or number in item.told:
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
        if whole:
            item.told.add(number)

    def _end_reasoning(self, opened: OpenItem, item: dict[str, Any], made: list[Event]) -> None:
        whole = reasoning_of(item)
        source = opened.source or ("summary" if whole.summary else "content")
        for number, part in enumerate(objects(item.get(source))):
            self.reason_whole(opened, source, number, text(part.get("text")), made)
        if opened.part is None:
            opened.part = self._start(Reasoning(summary=True, state=whole.state), made)
        self._mark_state(opened.part, whole.state, made)
