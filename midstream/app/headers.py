"""A request's headers as faces see them, over the bytes as they came: few are ever looked at, and a request that
streams for minutes need not hold all of them twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Headers(Mapping[str, str]):
    """Names in lower case, as the server gives them; the last of a repeated header counts."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: Any = None) -> Any:
        sought, found = name.encode("latin-1", "replace"), None
        for key, value in self._pairs:
            if key == sought:
                found = value
        return default if found is None else found.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        found: str | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([key.decode("latin-1") for key, _ in self._pairs]))

    def __len__(self) -> int:
        return len({key for key, _ in self._pairs})
