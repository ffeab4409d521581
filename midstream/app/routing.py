"""Which face and task a path belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from ..core.errors import MethodNotAllowed, NotFound
from ..core.web import Route

T = TypeVar("T")
_PARAM = re.compile(r"\{(\w+)(:rest)?\}")
#: What base URLs end in, and clients put in front of a path once too often or not at all.
_VERSIONS = ("", "/v1", "/v1beta")
#: So many parts of a path, from its end, are looked at for a known one.
_NEAR_PARTS = 8


class Routes(Generic[T]):
    """Literal paths by dictionary, patterns in order."""

    def __init__(self, entries: Iterable[tuple[Route, T]]) -> None:
        self._literal: dict[str, dict[str, tuple[T, Route]]] = {}
        self._patterns: list[tuple[re.Pattern[str], str, T, Route]] = []
        self.routes: list[Route] = []
        for route, owner in entries:
            self.routes.append(route)
            if "{" in route.path:
                self._patterns.append((_compile(route.path), route.method, owner, route))
            else:
                self._literal.setdefault(route.path, {})[route.method] = (owner, route)

    def find(self, method: str, path: str) -> tuple[T, Route, dict[str, str]]:
        """Raises NotFound or MethodNotAllowed."""
        methods = self._literal.get(path)
        if methods is not None:
            found = methods.get(method)
            if found is None:
                raise MethodNotAllowed.of(method, methods)
            return found[0], found[1], {}
        allowed = set()
        for pattern, wanted, owner, route in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                if wanted == method:
                    return owner, route, match.groupdict()
                allowed.add(wanted)
        if allowed:
            raise MethodNotAllowed.of(method, allowed)
        raise NotFound(f"no such path: {path}", code="unknown_path")

    def near(self, method: str, path: str) -> str:
        """The known path that this one is with another beginning, as a wrong base URL gives it; "" = none."""
        parts = [part for part in path.split("/") if part][-_NEAR_PARTS:]
        tails = ["/" + "/".join(parts[place:]) for place in range(len(parts))]
        return next(
            (version + tail for tail in tails for version in _VERSIONS if self._has(method, version + tail)), ""
        )

    def _has(self, method: str, path: str) -> bool:
        if path in self._literal:
            return method in self._literal[path]
        return any(wanted == method and pattern.fullmatch(path) for pattern, wanted, _, _ in self._patterns)


def _compile(path: str) -> re.Pattern[str]:
    """NUL is in no name: SQLite would keep one that PostgreSQL refuses."""
    pieces, at = [], 0
    for match in _PARAM.finditer(path):
        pieces.append(re.escape(path[at : match.start()]))
        pieces.append(f"(?P<{match[1]}>[^\0\n]+)" if match[2] else f"(?P<{match[1]}>[^/\0]+)")
        at = match.end()
    return re.compile("".join(pieces) + re.escape(path[at:]))
