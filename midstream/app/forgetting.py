"""Letting go of what was said long ago, from time to time, where the operator wants that."""

from __future__ import annotations

import asyncio
import logging

from ..core.errors import StoreDown
from ..store import Store
from .clock import Clock

logger = logging.getLogger("midstream.retention")
#: Seconds between looks, and until the first: a server that starts has other things to do.
EVERY, FIRST = 3600.0, 5.0
DAY = 86_400.0


async def forgetting(store: Store, clock: Clock, days: float) -> None:
    """Until it is cancelled, which may be at any moment. Of several servers each may do it."""
    pause = FIRST
    while True:
        await asyncio.sleep(pause)
        pause = EVERY
        try:
            gone = await store.all_orgs().forget(clock.wall() - days * DAY)
        except StoreDown:
            logger.warning("the store is away: what is old is let go of later")
            continue
        if gone:
            logger.info("let go of %d conversations and messages older than %g days", gone, days)
