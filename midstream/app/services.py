"""What the spine works with: every room of one process, as `compose` made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from ..access.identify import Identify
from ..access.limits import Limits
from ..access.points import Points
from ..core.serving import Target
from ..core.turn import Turn
from ..core.web import Caller, Request
from ..egress import Egress
from ..runs.order import Order, as_it_is
from ..runs.run import Runs
from ..store import Store
from .agent_checks import Checks
from .agent_turns import AgentTurns
from .agents import AgentLoader
from .alarms import Bell
from .catalog import Catalog, Usable
from .clock import Clock
from .conversations import Conversations, Opened
from .faces import Face
from .jobs import JobRunner
from .models_of import Models
from .offered import Offered
from .refused_keys import in_our_words
from .stash import Stash


@dataclass(frozen=True, slots=True)
class Services:
    """keep: which chat content is stored by default: all | named | none."""

    identify: Identify
    catalog: Catalog
    offered: Offered
    conversations: Conversations
    runs: Runs
    store: Store
    egress: Egress
    faces: Mapping[str, Face]
    clock: Clock
    stash: Stash
    agents: AgentTurns
    jobs: JobRunner
    limits: Limits
    loader: AgentLoader
    models: Models
    checks: Checks
    points: Points
    bell: Bell
    keep: str = "all"

    async def targets(self, caller: Caller, turn: Turn, face: Face) -> tuple[Target, ...]:
        """Who may answer a turn that is no agent's. Raises NotFound, also for another org's own model."""
        if turn.agent is not None:
            return ()
        usable = await self.usable(caller) if self.models.any_owned else None
        return self.catalog.targets(turn.model, face.NAME, usable)

    async def usable(self, caller: Caller) -> Usable:
        """Which targets are no other org's own."""
        if not self.models.any_owned:  # mostly: no request waits for the store because of them
            return None
        await self.loader.ready(caller.org)
        return partial(self.models.permitted, caller.org)

    def keeps(self, turn: Turn) -> bool:
        """Is what is said in it stored?"""
        if turn.kind != "chat":
            return False
        if turn.store is not None:
            return turn.store
        return self.keep == "all" or (self.keep == "named" and turn.conversation is not None)

    def order(
        self, caller: Caller, turn: Turn, face: Face, request: Request, targets: tuple[Target, ...], opened: Opened
    ) -> Order:
        """What the run of this turn shall do and keep."""
        return Order(
            org=caller.org,
            key_id=caller.key_id,
            face=face.NAME,
            request_id=request.id,
            turn=turn,
            targets=targets,
            history=opened.history,
            conversation=opened.id,
            keep=self.keeps(turn),
            seq=opened.seq,
            parent=opened.parent,
            since=opened.since,
            words=self.conversations.words,
            size=len(request.body),
            transactions=face.TRANSACTIONS,
            told=in_our_words() if face.OURS else as_it_is,
        )
