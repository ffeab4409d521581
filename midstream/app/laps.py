"""How long the steps of an agent's turn took."""

from __future__ import annotations

from collections.abc import Callable


class Laps:
    """ms: milliseconds by step. steady: seconds that never jump."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._began = self._last = steady()
        self.ms: dict[str, int] = {}

    def lap(self, name: str) -> None:
        now = self._steady()
        self.ms[name] = self.ms.get(name, 0) + round((now - self._last) * 1000)
        self._last = now

    def whole(self) -> int:
        return round((self._steady() - self._began) * 1000)
