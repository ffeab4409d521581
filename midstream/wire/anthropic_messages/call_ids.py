"""The ids of calls as a request tells them: the service refuses one that a turn uses twice."""

from __future__ import annotations

from .names import wire_id


class CallIds:
    """Told of calls, of results and of the ends of turns in order. A turn's second call of an id gets a number behind
    it, and so does the second result: they answer in the order of the calls. In later turns the service takes an id
    again."""

    def __init__(self) -> None:
        self._turn: dict[str, list[str]] = {}
        self._used: set[str] = set()
        self._ended = False

    def end(self) -> None:
        """The calls so far stand in a message of their own."""
        self._ended = True

    def call(self, id: str) -> str:
        if self._ended:
            self._turn.clear()
            self._used.clear()
            self._ended = False
        told = own = wire_id(id)
        same = self._turn.setdefault(own, [])
        times = len(same)
        while told in self._used:
            times += 1
            told = f"{own}_{times}"
        self._used.add(told)
        same.append(told)
        return told

    def result(self, id: str) -> str:
        own = wire_id(id)
        waiting = self._turn.get(own, [own])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]
