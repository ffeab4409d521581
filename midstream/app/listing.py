"""Every model that can be asked: those that the configuration names, and those that the providers say they have."""

from __future__ import annotations

from ..core.errors import MidstreamError
from ..egress import Egress
from .catalog import Catalog
from .compose import served_by
from .config import Config
from .offered import offered


async def list_models(config: Config, *, ask: bool) -> tuple[list[str], list[str]]:
    """Names to ask by, and what went wrong with which provider. ask: providers that serve any model are asked."""
    egress = Egress(allow=config.egress.allow)
    try:
        served = served_by(config.providers, egress)
        catalog = Catalog(served, {name: alias.targets for name, alias in config.models.items()})
        names, problems = catalog.names(), []
        for name, answer in (await offered(served if ask else {})).items():
            if isinstance(answer, MidstreamError):
                problems.append(f"{name}: {answer.message}")
            else:
                names += [f"{name}/{model}" for model in answer]
        return list(dict.fromkeys(names)), problems
    finally:
        await egress.close()
