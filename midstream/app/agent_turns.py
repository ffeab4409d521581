"""An agent's turn as a run: everything that its rooms do, in order."""

from __future__ import annotations

from ..core.errors import NotBuilt
from ..core.turn import Turn
from ..core.web import Caller, Request
from ..runs.order import Order
from .faces import Face


class AgentTurns:
    async def order(self, caller: Caller, turn: Turn, face: Face, request: Request) -> Order:
        """What the run of this turn shall do and keep."""
        raise NotBuilt("agents: not offered by this server")
