"""What an agent's turn spends: by its own model calls, and by all agents that it calls."""

from __future__ import annotations

from ..core.serving import Desk
from ..core.usage import Usage
from ..runs.order import Spent, together


class Spending:
    """desk: of its run, once that has begun."""

    def __init__(self) -> None:
        self.desk: Desk | None = None
        self._before = Spent()
        self._called: list[Spending] = []

    def calls(self, other: Spending) -> None:
        """What an agent that is called from here spends is this turn's spending too, however its own turn ends."""
        self._called.append(other)

    def bill(self, spent: Spent) -> None:
        """The same of agents that were called before the server died."""
        self._before = together(self._before, spent)

    def so_far(self) -> Spent:
        desk = self.desk
        own = Spent() if desk is None else Spent(desk.attempts, desk.usage, desk.cost, desk.priced)
        return together(own, self._before, *(other.so_far() for other in self._called))

    def counted(self) -> tuple[Usage, str | None]:
        """What counts towards the ceilings, see agent.loop.Spent."""
        spent = self.so_far()
        return spent.usage, spent.priced
