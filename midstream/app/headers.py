"""A request's headers as faces see them, over the bytes as they came: few are ever looked at, and a request that
streams for minutes need not hold all of them twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class Headers(Mapping[str, str]):
    """Names in lower case, as the server gives them; the last of a repeated header counts."""

    __slots__ = ("_told",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._told = dict(pairs)

    def get(self, name: str, default: Any = None) -> Any:
        found = self._told.get(name.encode())
        return default if found is None else found.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        found: str | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter([name.decode("latin-1") for name in self._told])

    def __len__(self) -> int:
        return len(self._told)
