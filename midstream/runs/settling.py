"""What runs have come to, on its way into the ledger: before the caller sees the end or, where the store does not take
it then, behind that."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Sequence
from typing import TypeAlias

from ..core.errors import MidstreamError, StoreDown, forget_frames
from ..core.ids import new_id
from ..store.database import Statement
from ..store.ledger import AttemptSettled, CallsLeft, DeliveryAdded, JobEnded, Ledger, OutboxAdded, Record, RunEnded

logger = logging.getLogger("midstream.runs")

Records: TypeAlias = Sequence[Record | Statement]

#: Seconds between tries to settle while the store is away; after bugs they are doubled each time, up to the latter.
SETTLE_AGAIN, LONGEST = 1.0, 60.0
#: Tries that a bug may end before the records themselves are taken for its cause.
TRIES = 5
#: What would stay open without it, or be known to nobody.
_ENDS = (AttemptSettled, RunEnded, CallsLeft, JobEnded, OutboxAdded, DeliveryAdded)


class Settling:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: What is tried again, each with its conversation.
        self._later: dict[asyncio.Task[None], str | None] = {}

    @property
    def waiting(self) -> list[asyncio.Task[None]]:
        return [*self._later]

    def unsettled(self, conversation: str) -> bool:
        """The end of one of its turns is still to be written, so what is stored of it is not all."""
        return conversation in self._later.values()

    async def settle(self, records: Records, conversation: str | None = None, *, now: bool = True) -> bool:
        """Durable on return, unless the store is away (now: it has not just said so): then it is tried again behind the
        answer (a process that dies meanwhile leaves the attempt to the next start: `unknown`), and this is False.
        Raises what only a bug can cause: then nothing is settled yet."""
        try:
            if now:
                await self._ledger.commit(*records)
                return True
        except StoreDown:
            pass
        except MidstreamError as error:  # waiting mends nothing, and the caller's answer does not depend on it
            if not isinstance(await self._ends_alone(records, error), StoreDown):
                return True
        logger.warning("the store is away: settling %d records later", len(records))
        self.later(records, conversation)
        return False

    def later(self, records: Records, conversation: str | None) -> None:
        """Until they are settled."""
        task = asyncio.get_running_loop().create_task(self._again(records))
        self._later[task] = conversation
        task.add_done_callback(self._later.pop)

    async def _again(self, records: Records) -> None:
        pause, bugs = SETTLE_AGAIN, 0
        while True:
            await asyncio.sleep(pause)
            error = await self._refusal(records)
            if error is None:
                return
            if isinstance(error, StoreDown):
                pause = SETTLE_AGAIN
                continue
            bugs, pause = bugs + 1, min(pause * 2, LONGEST)
            if bugs == 1:
                text = "".join(traceback.format_exception(error))
                logger.error("bug %s: settling %d records later\n%s", new_id("bug_"), len(records), text)
            if isinstance(error, MidstreamError) or bugs >= TRIES:
                refused = await self._ends_alone(records, error)
                if refused is None or (isinstance(refused, MidstreamError) and not isinstance(refused, StoreDown)):
                    return
            forget_frames(error)

    async def _ends_alone(self, records: Records, error: BaseException) -> BaseException | None:
        """The store refuses them together for that: then nothing is left open at least. Why it refuses this as well."""
        ends = [record for record in records if isinstance(record, _ENDS)]
        refused = await self._refusal(ends)
        written = "of which none is written" if refused is not None else f"of which {len(ends)} are written alone"
        logger.error("the store refuses %d records, %s: %s", len(records), written, error)
        return refused

    async def _refusal(self, records: Records) -> BaseException | None:
        """What settling them ends in. In a task of its own, so that whatever that is, it is seen here."""
        commit = asyncio.ensure_future(self._ledger.commit(*records))
        await asyncio.wait([commit])
        return asyncio.CancelledError() if commit.cancelled() else commit.exception()
