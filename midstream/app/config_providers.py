"""Providers that the environment switches on, and what it completes in those of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from .config_lines import KeyPath
from .config_read import Reader, near_miss


class Kind(Protocol):
    """What the configuration needs to know of a service (`providers._service.Service` is one). key_env, url_env: the
    variables that switch it on. keyless: may be used without a key. builtin: always there, not configured, with these
    models."""

    @property
    def base_url(self) -> str: ...
    @property
    def key_env(self) -> str: ...
    @property
    def url_env(self) -> str: ...
    @property
    def keyless(self) -> bool: ...
    @property
    def builtin(self) -> bool: ...
    @property
    def models(self) -> tuple[str, ...]: ...


def complete(
    written: Mapping[str, Any], environ: Mapping[str, str], kinds: Mapping[str, Kind], reader: Reader
) -> dict[str, Any]:
    """The file's providers, checked for their kind and key, then those that only the environment names.
    Raises ConfigError."""
    providers = {name: _completed(name, table, environ, kinds, reader) for name, table in written.items()}
    for name, kind in kinds.items():
        switched_on = environ.get(kind.key_env) or (kind.keyless and environ.get(kind.url_env))
        if name not in providers and not kind.builtin and switched_on:
            providers[name] = _from_environment({}, kind, environ)
    return providers


def variables(written: Mapping[str, Any], environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[KeyPath, str]:
    """Which of the providers' values `complete` takes from the environment, and from which variable."""
    found: dict[KeyPath, str] = {}
    for name, kind in kinds.items():
        table = written.get(name, {})
        if not isinstance(table, dict) or table.get("kind", name) != name or _says_where(table):
            continue
        if environ.get(kind.key_env) and "api_key" not in table:
            found["providers", name, "api_key"] = kind.key_env
        if environ.get(kind.url_env):
            found["providers", name, "base_url"] = kind.url_env
    return found


def _completed(
    name: str, table: Any, environ: Mapping[str, str], kinds: Mapping[str, Kind], reader: Reader
) -> dict[str, Any]:
    path: KeyPath = ("providers", name)
    if not isinstance(table, dict):
        reader.refuse(path, "expected a table")
    if not name or "/" in name:
        reader.refuse(path, "a provider's name is not empty and has no `/`")
    if name in kinds and kinds[name].builtin:
        reader.refuse(path, "is the name of the built-in provider: choose another one, and say its kind")
    word = table.get("kind", name)
    known = [kind for kind in kinds if not kinds[kind].builtin]
    if word not in known:
        at = (*path, "kind") if "kind" in table else path
        more = near_miss(word, known) if isinstance(word, str) else ""
        missing = "" if "kind" in table else "kind is missing, and the name is none: "
        reader.refuse(at, f"{missing}expected one of {', '.join(known)}{more}")
    kind = kinds[word]
    if _says_where(table):
        return dict(table)
    found = _from_environment(table, kind, environ) if name == word else dict(table)
    if not found.get("base_url") and not kind.base_url:
        reader.refuse(path, "base_url is missing")
    if found.get("api_key", []) == [] and not kind.keyless and found.get("enabled", True):
        hint = f", or set the environment variable {kind.key_env}" if kind.key_env and name == word else ""
        reader.refuse((*path, "api_key"), f"no key: write it here{hint}")
    return found


def _says_where(table: Mapping[str, Any]) -> bool:
    """Also by what is no text, as whoever reads it says then."""
    said: object = table.get("base_url", "")
    return said != ""


def _from_environment(table: Mapping[str, Any], kind: Kind, environ: Mapping[str, str]) -> dict[str, Any]:
    """A key from the environment goes to the service's own address, or to the one that the environment names."""
    found = dict(table)
    if kind.key_env and environ.get(kind.key_env):
        found.setdefault("api_key", environ[kind.key_env])
    if kind.url_env and environ.get(kind.url_env):
        url = environ[kind.url_env]
        at_home = kind.keyless and kind.base_url  # where a host alone says enough
        found["base_url"] = full_url(url, kind.base_url) if at_home or "://" in url else url
    return found


def full_url(given: str, usual: str) -> str:
    """An address as variables hold it (`host`, `host:port`, with or without path), completed by the usual one."""
    pattern = urlsplit(usual)
    parts = urlsplit(given if "://" in given else f"//{given}", scheme=pattern.scheme or "http")
    netloc = parts.netloc
    if "://" not in given and pattern.port and not netloc.rpartition("]")[2].partition(":")[2]:
        netloc = f"{netloc}:{pattern.port}"
    path = parts.path.rstrip("/") or pattern.path
    return f"{parts.scheme}://{netloc}{path}"
