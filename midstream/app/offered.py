"""The models that providers say they have, for those that serve any model: asked all at once, remembered a while.

A provider that is away hides nobody else's models: it is left out and asked again soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ..core.errors import MidstreamError
from .catalog import Served

FRESH, AGAIN = 300.0, 30.0
#: Seconds that a list of models waits for its slowest provider.
PATIENCE = 3.0


async def offered(served: Mapping[str, Served]) -> dict[str, list[str] | MidstreamError]:
    """By provider: the upstream's own names, sorted, or why they are not known."""
    open_ended = {name: one for name, one in served.items() if "*" in one.models and not one.provider.service.builtin}
    answers = await asyncio.gather(*map(_models, open_ended.values()))
    return dict(zip(open_ended, answers, strict=True))


async def _models(served: Served) -> list[str] | MidstreamError:
    try:
        async with asyncio.timeout(PATIENCE):
            return sorted(await served.provider.models())
    except MidstreamError as error:
        return error
    except TimeoutError:
        return MidstreamError(f"no list of models within {PATIENCE:g} s", code="upstream_timeout")


class Offered:
    """names(): `provider/model` of everything that is offered now. steady: seconds that never jump."""

    def __init__(self, served: Mapping[str, Served], steady: Callable[[], float]) -> None:
        self._served = served
        self._steady = steady
        self._known: dict[str, list[str]] = {}
        self._ask_at: dict[str, float] = {}
        self._asking: asyncio.Task[None] | None = None

    async def names(self) -> list[str]:
        due = {name: one for name, one in self._served.items() if self._ask_at.get(name, 0.0) <= self._steady()}
        if due:
            if self._asking is None:  # whoever comes meanwhile waits for the same answers
                self._asking = asyncio.get_running_loop().create_task(self._ask(due))
            await asyncio.shield(self._asking)
        return [f"{name}/{model}" for name, models in self._known.items() for model in models]

    async def _ask(self, due: Mapping[str, Served]) -> None:
        try:
            answers = await offered(due)
            for name in due:
                answer = answers.get(name, [])
                if isinstance(answer, list):
                    self._known[name] = answer
                wait = FRESH if isinstance(answer, list) else AGAIN
                self._ask_at[name] = self._steady() + wait
        finally:
            self._asking = None
