"""What the environment says: `${NAME}` in texts, and the variables that stand for keys of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .config_lines import KeyPath
from .config_read import Reader

#: variable -> the key that it sets. An empty variable counts as unset.
VARIABLES: Mapping[str, KeyPath] = {
    "MIDSTREAM_HOST": ("server", "host"),
    "MIDSTREAM_PORT": ("server", "port"),
    "MIDSTREAM_DATA": ("server", "data"),
    "MIDSTREAM_WORKERS": ("server", "workers"),
    "MIDSTREAM_ROLE": ("server", "role"),
    "MIDSTREAM_LOG": ("server", "log"),
    "MIDSTREAM_PUBLIC_URL": ("server", "public_url"),
    "MIDSTREAM_DATABASE_URL": ("server", "database_url"),
    "MIDSTREAM_REDIS_URL": ("server", "redis_url"),
    "MIDSTREAM_RABBITMQ_URL": ("server", "rabbitmq_url"),
    "MIDSTREAM_ADMIN_KEY": ("server", "admin_key"),
    "MIDSTREAM_SECRET_KEY": ("server", "secret_key"),
    "MIDSTREAM_S3_ENDPOINT": ("s3", "endpoint"),
    "MIDSTREAM_S3_BUCKET": ("s3", "bucket"),
    "MIDSTREAM_S3_REGION": ("s3", "region"),
    "MIDSTREAM_S3_PREFIX": ("s3", "prefix"),
    "MIDSTREAM_S3_ACCESS_KEY": ("s3", "access_key"),
    "MIDSTREAM_S3_SECRET_KEY": ("s3", "secret_key"),
    "MAX_TOOL_EXECUTION_DEPTH": ("tools", "max_depth"),
    "TOOL_EXECUTION_TIMEOUT": ("tools", "timeout_seconds"),
}

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\}|\$\{")


class Expansion:
    """Texts with their variables put in. `touched` are the paths where one was."""

    def __init__(self, environ: Mapping[str, str], reader: Reader) -> None:
        self._environ = environ
        self._reader = reader
        self.touched: set[KeyPath] = set()

    def expanded(self, value: Any, path: KeyPath = ()) -> Any:
        """`${NAME}` and `${NAME:-default}` (when unset or empty); `$${` writes `${`. Raises ConfigError naming a
        variable that is not set."""
        if isinstance(value, dict):
            return {key: self.expanded(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expanded(item, (*path, place)) for place, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            self.touched.add(path)
            return _VARIABLE.sub(lambda match: self._one(match, path), value)
        return value

    def _one(self, match: re.Match[str], path: KeyPath) -> str:
        name, default = match[1], match[2]
        if match[0] == "$${":
            return "${"
        if name is None:
            self._reader.refuse(path, "${ begins no variable: write ${NAME}, ${NAME:-default}, or $${ for the signs")
        if default is not None:
            return self._environ.get(name) or default
        if name not in self._environ:
            self._reader.refuse(path, f"the environment variable {name} is not set")
        return self._environ[name]


def overlay(tables: dict[str, Any], values: Mapping[KeyPath, object]) -> None:
    """Puts values over those of the file, in place. What is not a table there is left to be refused by name."""
    for path, value in values.items():
        table: Any = tables
        for key in path[:-1]:
            table = table.setdefault(key, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[path[-1]] = value


def from_variables(environ: Mapping[str, str]) -> dict[KeyPath, str]:
    return {path: environ[name] for name, path in VARIABLES.items() if environ.get(name)}
