"""Letting go of what was said long ago, from time to time, where the operator wants that."""

from __future__ import annotations

import logging

from ..store import Store, retention
from .clock import Clock
from .supervisor import Round

logger = logging.getLogger("midstream.retention")
#: Seconds between looks, and until the first: a server that starts has other things to do; that a look may take.
EVERY, FIRST, LONG = 3600.0, 5.0, 3600.0
DAY = 86_400.0


def forgetting(store: Store, clock: Clock, days: float) -> Round:
    """May be ended at any moment. Of several servers each may do it."""

    async def forget() -> float:
        gone = await retention.forget(store.db, clock.wall() - days * DAY)
        if gone:
            logger.info("let go of %d conversations and messages older than %g days", gone, days)
        return EVERY

    return forget
