"""Which open item an event speaks of.

Each event should name its item by id and by place, but services leave either out, give every event an id of its own,
or count every item as the first. So an item is looked for by its id, then by its place, then among those that are
open: text that is told twice under two names must never be taken for two texts."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from .grammar import text

MESSAGE = ("message",)
REASONING = ("reasoning",)
CALLS = ("function_call", "custom_tool_call")


class Where(NamedTuple):
    """What an event says of its place. None, "": it says nothing."""

    item: int | None = None
    part: int | None = None
    id: str = ""


class Placed:
    """item: what was last told of it whole, {} for one that was never announced. index: its output_index."""

    __slots__ = ("done", "id", "index", "item", "kind")

    def __init__(self, kind: str, item: dict[str, Any], where: Where) -> None:
        self.kind = kind
        self.item = item
        self.id = where.id
        self.index = where.item
        self.done = False


Item = TypeVar("Item", bound=Placed)


class Places(Generic[Item]):
    def __init__(self) -> None:
        self.items: list[Item] = []
        #: Those that no event has announced yet, and that have no place of their own.
        self._nameless: list[Item] = []
        self._ids: dict[str, Item] = {}
        self._indexes: dict[int, Item] = {}

    def add(self, item: Item) -> Item:
        self.items.append(item)
        if not item.item and item.index is None:
            self._nameless.append(item)
        self._know(item, Where(item.index, id=item.id))
        return item

    def _know(self, item: Item, where: Where) -> Item:
        if where.id:
            item.id = item.id or where.id
            self._ids[where.id] = item
        if where.item is not None:
            self._indexes[where.item] = item
        return item

    def spoken_of(self, kinds: tuple[str, ...], where: Where) -> Item | None:
        """The item whose text or arguments an event tells."""
        known, there = self._ids.get(where.id), self._there(where)
        for item in (known, there):
            if item is not None and item.kind in kinds:
                return item
        fitting = [item for item in reversed(self.items) if item.kind in kinds]
        for item in fitting:
            strange = bool(where.id and item.id and where.item != item.index)
            if not item.done and (item.index is None or not strange):
                return self._know(item, where if there is None else where._replace(item=None))
        return fitting[0] if fitting and where.item is None and not where.id else None

    def announced(self, where: Where, item: dict[str, Any]) -> Item | None:
        """The item that an `added` announces, when it is known already."""
        kind = text(item.get("type"))
        known, there = self._ids.get(where.id), self._there(where)
        again = known is not None and (not known.done or where.item in (None, known.index))
        if known is not None and known.kind == kind and again:
            return known
        if there is not None and there.kind == kind and not there.done and not _differ(there, where, item):
            return self._know(there, where)
        self._nameless = [one for one in self._nameless if not (one.item or one.done)]
        found = next((one for one in self._nameless if one.kind == kind), None)
        return None if found is None else self._know(found, where)

    def ended(self, where: Where, item: dict[str, Any]) -> Item | None:
        """The item that a `done` ends, or has ended before."""
        kind = text(item.get("type"))
        known, there, call = self._ids.get(where.id), self._there(where), text(item.get("call_id"))
        if known is not None and known.kind == kind and (there is None or there.id != where.id):
            return known
        if there is not None and there.kind == kind and (not there.done or _same_words(there.item, item)):
            return there
        same = [one for one in self.items if one.kind == kind]
        for one in same:
            if not one.done and call and one.item.get("call_id") == call:
                return one
        for one in same:
            if not one.done and not _differ(one, where, item):
                return one
        return next((one for one in same if one.done and _same_words(one.item, item)), None)

    def matched(self, output: list[dict[str, Any]]) -> list[tuple[Item | None, dict[str, Any]]]:
        """Each item of the terminal event's output, and the one that it was while it streamed."""
        found: list[Item | None] = []
        taken: set[int] = set()
        for number, item in enumerate(output):
            name, there = text(item.get("id")), self._indexes.get(number)
            known = there if there is not None and name and there.id == name else self._ids.get(name)
            found.append(known if id(known) not in taken else None)
            taken.add(id(known))
        for number, item in enumerate(output):
            if found[number] is not None:
                continue
            kind, call = text(item.get("type")), text(item.get("call_id"))
            left = [one for one in self.items if one.kind == kind and id(one) not in taken]
            there = self._indexes.get(number)
            same = [one for one in left if call and one.item.get("call_id") == call] or [
                one for one in left if one is there or not call or not one.item.get("call_id")
            ]
            if same:
                found[number] = there if there in same else same[0]
                taken.add(id(found[number]))
        return list(zip(found, output, strict=True))

    def _there(self, where: Where) -> Item | None:
        return None if where.item is None else self._indexes.get(where.item)


def _differ(known: Placed, where: Where, item: dict[str, Any]) -> bool:
    """Are these surely two items?"""
    if known.id and where.id and known.id != where.id:
        return True
    call, other = text(item.get("call_id")), text(known.item.get("call_id"))
    return bool(call and other and call != other)


def _same_words(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return all(one.get(name) == two.get(name) for name in ("content", "summary", "arguments", "input", "name"))
