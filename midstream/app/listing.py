"""Every model that can be asked: those that the configuration names, and those that the providers say they have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ..core.errors import MidstreamError
from ..egress import Egress
from .catalog import Catalog, Served
from .compose import served_by
from .config import Config


async def list_models(config: Config, *, ask: bool) -> tuple[list[str], list[str]]:
    """Names to ask by, and what went wrong with which provider. ask: providers that serve any model are asked."""
    egress = Egress(allow=config.egress.allow)
    try:
        served = served_by(config.providers, egress)
        catalog = Catalog(served, {name: alias.targets for name, alias in config.models.items()})
        more, problems = await _offered(served if ask else {})
        return list(dict.fromkeys([*catalog.names(), *more])), problems
    finally:
        await egress.close()


async def _offered(served: Mapping[str, Served]) -> tuple[list[str], list[str]]:
    open_ended = {name: one for name, one in served.items() if "*" in one.models and not one.provider.service.builtin}
    asked = (one.provider.models() for one in open_ended.values())
    answers = await asyncio.gather(*asked, return_exceptions=True)
    names, problems = [], []
    for name, answer in zip(open_ended, answers, strict=True):
        if isinstance(answer, MidstreamError):
            problems.append(f"{name}: {answer.message}")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            names += [f"{name}/{model}" for model in sorted(answer)]
    return names, problems
