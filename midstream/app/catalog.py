"""From a model's name to the targets that may answer: aliases, `provider/model`, bare names, near misses."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from ..core.errors import NotFound
from ..core.serving import Target
from ..faces import completions_v1, openai_chat
from ..providers._service import Provider

#: May whoever asks use this target? None: there is nothing that not everybody may use.
Usable: TypeAlias = Callable[[Target], bool] | None

#: What model calls of an agent's turn are written in.
AGENT = "agent"
#: Formats that no provider speaks: the model's name alone says whose it is, and for the rest they are as OpenAI's.
OWN = frozenset({AGENT, completions_v1.NAME})


class Served(Struct, frozen=True):
    """A configured provider and the names or patterns of the models that it serves ("*" = any)."""

    provider: Provider
    models: tuple[str, ...] = ("*",)


class Catalog:
    """served: by configured name, in the file's order. aliases: name -> `provider/model` targets in order."""

    def __init__(self, served: Mapping[str, Served], aliases: Mapping[str, Sequence[str]]) -> None:
        self._served = served
        self._aliases = aliases
        self._cache: dict[tuple[str, str], tuple[Target, ...]] = {}

    def targets(self, model: str, dialect: str, usable: Usable = None) -> tuple[Target, ...]:
        """Raises NotFound naming near misses, or saying how to add a provider when there is none. What may not be used
        is as unknown as what does not exist."""
        found = self._cache.get((model, dialect))
        if found is None:
            found = self._resolve(model, dialect, usable)
            if len(self._cache) > 10_000:
                self._cache.clear()
            self._cache[(model, dialect)] = found
        if usable is not None and not all(map(usable, found)):
            raise self._unknown(model, dialect, usable)
        return found

    def _resolve(self, model: str, dialect: str, usable: Usable) -> tuple[Target, ...]:
        """Of an alias: the targets that somebody serves. That others are not is told at the start (config_aliases)."""
        names = self._aliases.get(model, (model,))
        found = tuple(target for name in names if (target := self._one(name, dialect)) is not None)
        if not found:
            raise self._unserved(model) if model in self._aliases else self._unknown(model, dialect, usable)
        return found

    def _one(self, model: str, dialect: str) -> Target | None:
        left, slash, right = model.partition("/")
        if slash and left in self._served:
            served = self._served[left]
            return self._target(served, right) if right and _serves(served, right) else None
        for served in self._served.values():
            if any(pattern != "*" and fnmatch.fnmatchcase(model, pattern) for pattern in served.models):
                return self._target(served, model)
        if dialect in OWN:
            for served in self._served.values():
                claims = served.provider.service.claims
                if claims is not None and claims.match(model) is not None and "*" in served.models:
                    return self._target(served, model)
            dialect = openai_chat.NAME
        for served in self._served.values():
            service = served.provider.service
            if dialect == service.dialect.NAME and not service.builtin and "*" in served.models:
                return self._target(served, model)
        return None

    def _target(self, served: Served, model: str) -> Target:
        provider = served.provider
        return Target(
            provider.name, model, provider.service.vendor, provider.keys, provider.timeouts, provider.max_tokens
        )

    def _unserved(self, alias: str) -> NotFound:
        said = f"stands for {' and '.join(self._aliases[alias])}, and no provider here serves any of these"
        hint = self._none_at_all() or "add one to midstream.toml, or set its key"
        return NotFound(f"the model {alias!r} {said}; {hint}", code="model_not_found", param="model")

    def _unknown(self, model: str, dialect: str, usable: Usable) -> NotFound:
        names = self.shown(self.names(), dialect, usable)
        near = difflib.get_close_matches(model, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names[:20])}"
        if none := self._none_at_all():
            hint = f"{hint} {none}" if near else none
        return NotFound(f"the model {model!r} does not exist here; {hint}", code="model_not_found", param="model")

    def _none_at_all(self) -> str:
        """What to do when there is no provider but those that are part of the server."""
        if not all(served.provider.service.builtin for served in self._served.values()):
            return ""
        return (
            "no provider is configured: set OPENAI_API_KEY, ANTHROPIC_API_KEY or another provider's key, or add "
            "[providers.NAME] to midstream.toml; `midstream/rehearsal` answers without any"
        )

    def names(self) -> list[str]:
        """Every name that can be listed: aliases that lead somewhere, then `provider/model` of models without a
        pattern."""
        dialects = {AGENT, *(one.provider.service.dialect.NAME for one in self._served.values())}
        aliases = [
            alias
            for alias, targets in self._aliases.items()
            if any(self._one(target, dialect) is not None for target in targets for dialect in dialects)
        ]
        return [*aliases, *_listed(self._served.values())]

    def shown(self, names: list[str], dialect: str, usable: Usable) -> list[str]:
        """Without those that lead to what may not be used."""
        if usable is None:
            return names
        leads = {name: [self._one(one, dialect) for one in self._aliases.get(name, (name,))] for name in names}
        return [name for name, targets in leads.items() if all(one is None or usable(one) for one in targets)]


def _listed(served: Iterable[Served]) -> list[str]:
    return [
        f"{one.provider.name}/{model}"
        for one in served
        for model in one.models
        if not any(sign in model for sign in "*?[")
    ]


def _serves(served: Served, model: str) -> bool:
    return any(fnmatch.fnmatchcase(model, pattern) for pattern in served.models)
