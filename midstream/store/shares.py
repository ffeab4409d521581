"""Which later turns come next, so that a long batch holds up no short one, nor one org another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct


class Line(Struct, frozen=True):
    """A batch that is not over. running: its items under way, on whichever server. due: those that may begin."""

    org_id: str
    batch_id: str
    running: int
    due: int


class Shares:
    """An item of the org that has the fewest under way, and in it of the batch that has; of those that have as many,
    the one that has been served least lately here."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._count = 0

    def share(self, lines: Sequence[Line], places: Places) -> Counter[str]:
        """How many items of each batch begin. lines: all of them, oldest first. places: of this server."""
        under_way, given = Counter[str](), Counter[str]()
        for line in lines:
            under_way[line.org_id] += line.running

        def turn(line: Line) -> tuple[int, int, int, int]:
            of_org, of_batch = self._served.get(line.org_id, 0), self._served.get(line.batch_id, 0)
            return under_way[line.org_id], of_org, line.running + given[line.batch_id], of_batch

        for _ in range(places.free):
            waiting = [line for line in lines if line.due > given[line.batch_id] and places.room(line.org_id) > 0]
            if not waiting:
                break
            chosen = min(waiting, key=turn)
            self._count += 1
            self._served[chosen.org_id] = self._served[chosen.batch_id] = self._count
            under_way[chosen.org_id] += 1
            places.begun[chosen.org_id] += 1
            given[chosen.batch_id] += 1
        known = {name for line in lines for name in (line.org_id, line.batch_id)}
        self._served = {name: count for name, count in self._served.items() if name in known}
        return given


class Places:
    """Of a server, for turns of batches or for others. free: now. begun: turns under way, by org. most: of one org, and
    no more than half of what the others leave, so that whoever comes next finds some (None = as many as there are)."""

    def __init__(self, free: int, begun: Mapping[str, int], most: int | None) -> None:
        self.begun = Counter(begun)
        self.free = free
        self._most = most
        self._all = free + self.begun.total()

    def room(self, org: str) -> int:
        """How many more it may begin."""
        if self._most is None:
            return self.free
        left = self._all - (self.begun.total() - self.begun[org])
        return min(self._most, -(-left // 2)) - self.begun[org]

    def share(self, due: Mapping[str, Sequence[str]]) -> list[str]:
        """Those that begin: of the org that has the fewest under way, and of such that have as many, the one whose turn
        was due first. due: by org, in the order in which they were."""
        found: list[str] = []
        given = Counter[str]()
        while len(found) < self.free:
            waiting = [org for org, ids in due.items() if given[org] < len(ids) and self.room(org) > 0]
            if not waiting:
                break
            org = min(waiting, key=self.begun.__getitem__)
            found.append(due[org][given[org]])
            given[org] += 1
            self.begun[org] += 1
        return found
