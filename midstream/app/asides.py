"""What an agent's own model is asked beside its turns: runs of their own, heard by nobody, billed as all runs are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from ..agent.prepare import chosen
from ..core.account import TurnAccount
from ..core.agents import AgentAsk, Loaded
from ..core.errors import BadRequest, Busy, Conflict, Forbidden, MidstreamError, NotFound, StoreDown, TimedOut
from ..core.events import Attempted, Fold, Gave
from ..core.parts import text_of
from ..core.serving import Completed, Desk
from ..core.turn import Prompt, Turn
from ..runs.order import Act, Order
from ..runs.run import Runs
from ..store.database import Statement
from ..store.outbox import OutboxRow
from .after import Handle
from .agents import AgentLoader
from .models_of import Models
from .replies import whole
from .turn_models import DIALECT, asked

logger = logging.getLogger("midstream.asides")

#: Seconds for one question, and how often it is asked when the model fails.
PATIENCE, TRIES = 60.0, 5
FACE = "agent"


class Asides:
    """One process's."""

    def __init__(self, loader: AgentLoader, models: Models, runs: Runs) -> None:
        self._loader = loader
        self._models = models
        self._runs = runs

    async def instructions(self, turn: TurnAccount) -> str:
        """The agent's own words on what to remember."""
        return (await self._loaded(turn)).spec.memory_prompt

    async def ask(self, turn: TurnAccount, prompt: Prompt) -> str:
        """What the model of the turn's agent says to that, see `said_whole`. Its run has the turn's as parent, and its
        key.
        Raises NotFound, Conflict, BadRequest when the agent is no longer there; the model's own errors."""
        loaded = await self._loaded(turn)
        service, model = chosen(loaded, AgentAsk())
        targets = self._models.targets(turn.org, service, model, loaded.spec.keys, None)
        said: list[str] = []

        async def work(desk: Desk) -> None:
            completed = await desk.complete(asked(prompt, model, False), targets, quiet=True)
            said.append(said_whole(completed))

        act = Act(work, agent=turn.agent, version=turn.version, thread=turn.thread, parent=turn.run)
        order = Order(
            org=turn.org,
            key_id=turn.key,
            face=FACE,
            request_id=turn.request,
            turn=Turn(DIALECT, {}, lambda fields: prompt, model=model),
            targets=(),
            transactions=True,
            act=act,
        )
        await finished(self._runs, order)
        return "".join(said)

    async def _loaded(self, turn: TurnAccount) -> Loaded:
        return await self._loader.load(turn.org, AgentAsk(agent=turn.agent, version=turn.version))


def said_whole(completed: Completed) -> str:
    """The answer's words; "" where it was cut or filtered: half a memory, title or suggestion is worse than none, and
    who is asked the same again says the same."""
    for choice in completed.answer.choices[:1]:
        if choice.stop == "stop":
            return text_of(choice.parts)
        logger.warning("%s has said only a part (%s): it is not used", completed.target.model, choice.stop)
    return ""


async def finished(runs: Runs, order: Order) -> tuple[Attempted | None, Fold, Gave | None]:
    """What came of a run that nobody else follows. Raises TimedOut, and the error that it ended with."""
    follower = runs.start(order).log.follow()
    try:
        async with asyncio.timeout(PATIENCE):
            return await whole(follower)
    except TimeoutError:
        raise TimedOut(f"the model has not answered after {PATIENCE:g} seconds", phase="total") from None
    finally:
        follower.leave()


def dispensable(handle: Handle) -> Handle:
    """What may stay undone: given up when its agent is gone, and when its model has failed a few times."""

    async def handled(row: OutboxRow) -> Iterable[Statement]:
        try:
            return await handle(row)
        except (StoreDown, Busy):
            raise
        except MidstreamError as error:
            gone = isinstance(error, NotFound | Conflict | BadRequest | Forbidden)
            if not gone and row.failures + 1 < TRIES:
                raise
            logger.warning("%s of the outbox is given up: %s", row.id, error.message)
            return ()

    return handled
