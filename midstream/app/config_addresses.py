"""Addresses of providers that are well-formed and probably lead nowhere: what each call adds to them is there already,
or what none adds is missing. A warning, since a proxy may have any paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from .config_providers import Kind
from .config_read import Reader
from .config_schema import Config

#: What calls put behind an address.
_OPERATION = re.compile(r"/(?:chat/completions|completions|responses|messages|embeddings|models)$")
_VERSION = re.compile(r"/v\d+(?:alpha|beta)?\d*$")


def check_addresses(config: Config, kinds: Mapping[str, Kind], reader: Reader) -> None:
    for name, provider in config.providers.items():
        usual = urlsplit(kinds[provider.kind or name].base_url)
        said = _odd(urlsplit(provider.base_url).path.rstrip("/"), usual.path, bool(usual.netloc))
        if provider.base_url and said:
            reader.warn(("providers", name, "base_url"), said)


def _odd(path: str, usual: str, known: bool) -> str:
    """known: the kind has an address of its own, with this usual path."""
    ending = _OPERATION.search(path) or (_VERSION.search(path) if known and not usual else None)
    if ending is not None:
        return f"ends in {ending[0]}, which every call puts behind it again: leave that out"
    if usual and not path:
        return f"has no path, and no call adds one: {usual} is usual"
    return ""
