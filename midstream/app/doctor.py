"""`midstream doctor`: everything that would keep the server from starting or from answering, looked at one by one."""

from __future__ import annotations

import errno
import os
import platform
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ..core.errors import MidstreamError
from ..store import Store, file_of, visited
from .cli_options import provider_kinds
from .config import Config, ConfigError, ServerConfig, load
from .keyfiles import key_problem, known_admin_key
from .local_server import answers, ask, base_url
from .server import listen


class Finding(Struct, frozen=True):
    what: str
    good: bool
    said: str


async def examine(config_file: str | None, environ: Mapping[str, str], data: str | None = None) -> list[Finding]:
    """Never raises: what is wrong is a finding. data: the directory that the command line names. Nothing is made that
    the first start makes."""
    versions = f"{platform.python_version()}, {ssl.OPENSSL_VERSION}"
    findings = [Finding("python", True, versions)]
    warnings: list[str] = []
    try:
        config = load(config_file, environ, provider_kinds(), {"data": data} if data else None, warnings.append)
    except ConfigError as error:
        return [*findings, Finding("configuration", False, str(error))]
    server = config.server
    findings.append(Finding("configuration", True, ", but ".join(["can be read", *warnings])))
    return [*findings, _data(server), *await _database(server), await _port(server), _providers(config)]


def _data(server: ServerConfig) -> Finding:
    directory = Path(server.data).absolute()
    try:
        made = next(one for one in (directory, *directory.parents) if one.exists())
        with tempfile.TemporaryFile(dir=made) as file:
            file.write(b"x")
    except OSError as error:
        return Finding("data directory", False, f"{directory}: {error.strerror}")
    free = os.statvfs(made)
    later = "" if made == directory else ", made at the first start"
    return Finding("data directory", True, f"{directory}, {free.f_bavail * free.f_frsize >> 20} MiB free{later}")


async def _database(server: ServerConfig) -> list[Finding]:
    file = file_of(server.store_url)
    kind = "SQLite" if server.store_url.startswith("sqlite") else "PostgreSQL"
    try:
        if file is not None and not file.exists():
            return [Finding("database", True, f"{kind}: {file}, made at the first start")]
        async with visited(server.store_url, looks=True) as store:
            if behind := await store.behind():
                return [Finding("database", True, f"{kind}: {behind}")]
            return [Finding("database", True, kind), await _secret_key(server, store)]
    except MidstreamError as error:
        running = file is not None and "in use" in error.message
        said = error.message.partition(": ")[0] if running else error.message  # it is no other server's trouble
        return [Finding("database", running, f"{kind}: {said}")]
    except OSError as error:
        return [Finding("database", False, f"{kind}: {error.filename}: {error.strerror}")]


async def _secret_key(server: ServerConfig, store: Store) -> Finding:
    try:
        problem = await key_problem(server, store)
        settled = await store.key_id()
    except MidstreamError as error:
        return Finding("secret key", False, error.message)
    except OSError as error:
        return Finding("secret key", False, f"{error.filename}: {error.strerror}")
    good = "the one that the database is used with" if settled else "the database is used with none yet"
    return Finding("secret key", problem is None, problem or good)


async def _port(server: ServerConfig) -> Finding:
    place = f"{server.host}:{server.port}"
    try:
        listen(server.host, server.port).close()
    except OSError as error:
        return await _taken(server, place, error)
    return Finding("port", True, f"{place} is free")


async def _taken(server: ServerConfig, place: str, error: OSError) -> Finding:
    """By the very server that this configuration is of, perhaps."""
    url = base_url(server)
    if error.errno != errno.EADDRINUSE or not await answers(url):
        return Finding("port", False, f"{place}: {error.strerror}")
    try:
        await ask(url, known_admin_key(server), "GET", "/v1/admin/orgs", None)
    except MidstreamError as refusal:
        whose = "a midstream server answers there, but not to this configuration's admin key"
        return Finding("port", False, f"{place}: {whose}: {refusal.message}")
    return Finding("port", True, f"{place}: the server is running")


def _providers(config: Config) -> Finding:
    names = [name for name, provider in config.providers.items() if provider.enabled]
    said = ", ".join(names) or "none: only midstream/rehearsal answers; set OPENAI_API_KEY or another provider's key"
    return Finding("providers", True, said)
