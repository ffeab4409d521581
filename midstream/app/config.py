"""The configuration: command line over environment over `midstream.toml` over defaults, checked whole at start.

Every mistake is one line: file, line, key, and what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from .config_addresses import check_addresses
from .config_aliases import check_aliases
from .config_check import check
from .config_environ import VARIABLES, Expansion, from_variables, overlay
from .config_lines import KeyPath, key_lines
from .config_providers import Kind, complete, variables
from .config_read import ConfigError, Reader
from .config_schema import Config, LimitsConfig, ProviderConfig, ServerConfig

__all__ = ["Config", "ConfigError", "LimitsConfig", "ProviderConfig", "ServerConfig", "load"]

DEFAULT_FILE = "midstream.toml"
FILE_VARIABLE = "MIDSTREAM_CONFIG"
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def load(
    path: str | None,
    environ: Mapping[str, str],
    kinds: Mapping[str, Kind],
    options: Mapping[str, object] | None = None,
    warn: Callable[[str], object] | None = None,
) -> Config:
    """path: of the file; None = MIDSTREAM_CONFIG, else `midstream.toml` in this directory when there is one.
    kinds: the services that may answer, by name. options: what the command line says, by key of `[server]`.
    warn: is told what can be used and is probably not meant, each in one line.
    Raises ConfigError, whose message is one line."""
    # A secret that comes from a file often ends with the line's end.
    environ = {name: text.strip() for name, text in environ.items()}
    file = path or environ.get(FILE_VARIABLE) or (DEFAULT_FILE if Path(DEFAULT_FILE).is_file() else None)
    text = _text(file) if file else ""
    tables = _tables(file or "", text)
    places = _Places(file or "", text)
    expansion = Expansion(environ, Reader(places.of))
    tables = expansion.expanded(tables)
    places.overlay(tables, from_variables(environ), {path: name for name, path in VARIABLES.items()})
    given: dict[KeyPath, object] = {("server", key): value for key, value in (options or {}).items()}
    from_text = frozenset(expansion.touched | set(places.named)) - given.keys()
    places.overlay(tables, given, {path: f"--{path[-1]}".replace("_", "-") for path in given})
    reader = Reader(places.of, from_text, warn)
    providers = tables.get("providers", {})
    if isinstance(providers, dict):
        tables["providers"] = complete(providers, environ, kinds, reader)
        places.named.update(variables(providers, environ, kinds))
    config: Config = reader.table(Config, tables, ())
    check(config, environ, reader)
    check_addresses(config, kinds, reader)
    check_aliases(config, kinds, reader)
    return config


class _Places:
    """Where each value came from: a line of the file, a variable, an option."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = key_lines(text)
        self.named: dict[KeyPath, str] = {}

    def overlay(self, tables: dict[str, Any], values: Mapping[KeyPath, object], names: Mapping[KeyPath, str]) -> None:
        overlay(tables, values)
        self.named.update({path: names[path] for path in values})

    def of(self, path: KeyPath) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in self.named:
                return self.named[path[:length]]
            if path[:length] in self._lines:
                return f"{self._file}:{self._lines[path[:length]]}"
        return self._file


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")  # Notepad begins a file with a mark of its order of bytes
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}", (), "is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(file, (), f"cannot be read: {error.strerror}") from None


def _tables(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (ValueError, InvalidOperation, RecursionError) as error:
        message = str(error) if isinstance(error, ValueError) else "a number or a nesting beyond all bounds"
        place = _TOML_PLACE.search(message)
        line = (place[1] if place else None) or text.count("\n") + 1
        problem = message[: place.start()] if place else message
        raise ConfigError(f"{file}:{line}", (), f"is not valid TOML: {problem[:1].lower()}{problem[1:]}") from None
