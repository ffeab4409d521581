"""`midstream doctor`: everything that would keep the server from starting or from answering, looked at one by one."""

from __future__ import annotations

import os
import platform
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ..core.errors import MidstreamError
from ..store import open_store
from .cli_options import provider_kinds
from .config import Config, ConfigError, ServerConfig, load
from .server import listen


class Finding(Struct, frozen=True):
    what: str
    good: bool
    said: str


async def examine(config_file: str | None, environ: Mapping[str, str]) -> list[Finding]:
    """Never raises: what is wrong is a finding."""
    versions = f"{platform.python_version()}, {ssl.OPENSSL_VERSION}"
    findings = [Finding("python", True, versions)]
    try:
        config = load(config_file, environ, provider_kinds())
    except ConfigError as error:
        return [*findings, Finding("configuration", False, str(error))]
    findings.append(Finding("configuration", True, "can be read"))
    findings += [_data(config.server), await _database(config.server), _port(config.server), _providers(config)]
    return findings


def _data(server: ServerConfig) -> Finding:
    directory = Path(server.data).absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
    except OSError as error:
        return Finding("data directory", False, f"{directory}: {error.strerror}")
    free = os.statvfs(directory)
    return Finding("data directory", True, f"{directory}, {free.f_bavail * free.f_frsize >> 20} MiB free")


async def _database(server: ServerConfig) -> Finding:
    sqlite = server.store_url.startswith("sqlite")
    kind = "SQLite" if sqlite else "PostgreSQL"
    try:
        store = await open_store(server.store_url, worker="doctor")
    except MidstreamError as error:
        running = sqlite and "in use" in error.message
        return Finding("database", running, f"{kind}: {error.message}")
    except OSError as error:
        return Finding("database", False, f"{kind}: {error.filename}: {error.strerror}")
    try:
        await store.ping()
    except MidstreamError as error:
        return Finding("database", False, f"{kind}: {error.message}")
    finally:
        await store.close()
    return Finding("database", True, kind)


def _port(server: ServerConfig) -> Finding:
    place = f"{server.host}:{server.port}"
    try:
        listen(server.host, server.port).close()
    except OSError as error:
        return Finding("port", False, f"{place}: {error.strerror} (is the server running already?)")
    return Finding("port", True, f"{place} is free")


def _providers(config: Config) -> Finding:
    names = [name for name, provider in config.providers.items() if provider.enabled]
    said = ", ".join(names) or "none: only midstream/rehearsal answers; set OPENAI_API_KEY or another provider's key"
    return Finding("providers", True, said)
