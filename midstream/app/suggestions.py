"""What a user may want to ask next, as the turn's own model sees it: asked within the turn, read by nobody else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from ..agent.naming import suggested, suggesting
from ..core.errors import UpstreamError
from ..core.http import Timeouts
from ..core.serving import Completed, Target
from ..core.turn import Prompt
from .asides import said_whole

#: The turn's answer waits for no longer.
QUICK = Timeouts(connect=5.0, first_byte=10.0, between=5.0, total=15.0)


def hurried(targets: Sequence[Target]) -> list[Target]:
    return [replace(target, timeouts=QUICK) for target in targets]


async def suggestions(asked: str, answered: str, ask: Callable[[Prompt], Awaitable[Completed]]) -> tuple[str, ...]:
    """None when the model fails: the turn's answer is there without them."""
    if not answered.strip():
        return ()
    try:
        completed = await ask(suggesting(asked, answered))
    except UpstreamError:
        return ()
    return suggested(said_whole(completed))
