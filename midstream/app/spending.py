"""What an agent's turn spends, by its own model calls and by all agents that it calls, and whether it may go on."""

from __future__ import annotations

from collections.abc import Callable

from ..agent.loop import Limits, reached
from ..core.agents import Settings
from ..core.serving import Desk
from ..core.usage import Usage
from ..runs.order import Spent, together


class Spending:
    """settings: of its agent. above: the ceiling that is reached of the turn which has called it, "" = none.
    desk: of its run, once that has begun."""

    def __init__(self, settings: Settings, above: Callable[[], str]) -> None:
        self.desk: Desk | None = None
        self.above = above
        self._ceilings = Limits(tokens=settings.tokens, cost=settings.cost)
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

    def ceiling(self) -> str:
        """The one that is reached, of this turn or of those that it is a part of: "" | tokens | cost."""
        return reached(self._ceilings, self.counted) or self.above()
