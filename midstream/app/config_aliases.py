"""Targets of aliases that nobody can be asked for: by a slip of the pen, which is refused, or because their provider is
not switched on here, which is told. By the rules of `catalog`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase

from .config_lines import KeyPath
from .config_providers import Kind
from .config_read import Reader, near_miss
from .config_schema import Config

#: How much alike a name that is none and a provider's have to be to be taken for the same: names of models begin with
#: their makers', which providers may be called after.
ALIKE = 0.75


def check_aliases(config: Config, kinds: Mapping[str, Kind], reader: Reader) -> None:
    """Raises ConfigError."""
    serving = {name: one.models for name, one in config.providers.items() if one.enabled}
    serving |= {name: kind.models for name, kind in kinds.items() if kind.builtin}
    names = [*dict.fromkeys((*serving, *config.providers, *kinds))]
    for alias, said in config.models.items():
        for place, target in enumerate(said.targets):
            path: KeyPath = ("models", alias, "targets", place)
            provider, slash, model = target.partition("/")
            if slash and provider in serving:
                _check_served(provider, model, serving[provider], path, reader)
            elif not any(_fits(target, models) for models in serving.values()):
                if slash and (near := _meant(provider, names)):
                    reader.refuse(path, f"no provider is called {provider} (did you mean {near}?)")
                _warn(config, kinds, target, path, reader)


def _check_served(provider: str, model: str, models: tuple[str, ...], path: KeyPath, reader: Reader) -> None:
    if "*" not in models and not _fits(model, models):
        near = near_miss(model, [one for one in models if not any(sign in one for sign in "*?[")])
        more = near or f": its models are {', '.join(models)}"
        reader.refuse(path, f"the provider {provider} does not serve {model}{more}")


def _warn(config: Config, kinds: Mapping[str, Kind], target: str, path: KeyPath, reader: Reader) -> None:
    provider, slash, _ = target.partition("/")
    open_to_any = any(one.enabled and "*" in one.models for one in config.providers.values())
    if slash and provider in config.providers:
        problem = f"the provider {provider} is not enabled"
    elif slash and provider in kinds:
        variable = kinds[provider].key_env or kinds[provider].url_env
        ways = [*([f"set {variable}"] if variable else []), f"add [providers.{provider}]"]
        problem = f"no provider {provider} is configured: {', or '.join(ways)}"
    elif open_to_any:
        return
    else:
        problem = f"no provider serves {target}"
    after = f"until then another one is asked for {target}" if open_to_any else "it is left out"
    reader.warn(path, f"{problem}; {after}")


def _fits(model: str, models: tuple[str, ...]) -> bool:
    """By a name or a pattern that is said."""
    return any(pattern != "*" and fnmatchcase(model, pattern) for pattern in models)


def _meant(word: str, names: list[str]) -> str:
    """The name that was meant by one that is none, "" = no such. `mistralai/...` is a model's name."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=ALIKE)
    return near[0] if near and word not in names and not word.startswith(near[0]) else ""
