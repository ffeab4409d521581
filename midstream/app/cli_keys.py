"""`midstream keys`: API keys made, listed and revoked from the command line, whether the server runs or not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import click
import msgspec

from ..access.scopes import SCOPES
from ..core.errors import StoreDown, Unreachable
from ..store import Store, file_of
from ..store.keys import ApiKey
from ..store.orgs import DEFAULT_ORG
from .cli_options import at_hand, configured, read_config
from .config import Config
from .keyfiles import known_admin_key
from .local_server import answers, ask, base_url

T = TypeVar("T")
DAY = 86_400


def _one_line(context: click.Context, parameter: click.Parameter, name: str) -> str:
    if not name.isprintable():
        raise click.BadParameter("a name is one line of text")
    return name


def _not_empty(context: click.Context, parameter: click.Parameter, org: str | None) -> str | None:
    if org == "":  # of a variable that is not set, mostly
        raise click.BadParameter("an id cannot be empty")
    return org


@click.group()
def keys() -> None:
    """API keys."""


@keys.command()
@configured
@click.argument("name", callback=_one_line)
@click.option("--org", callback=_not_empty, help="Id of the org that the key belongs to.  [the first one]")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice([*SCOPES]), help="Repeat for several.  [chat, embeddings]"
)
@click.option("--per-minute", type=click.IntRange(1), help="Requests that it may make in a minute.  [any number]")
@click.option("--days", type=click.IntRange(1), help="How long it is valid.  [for ever]")
def create(
    config_file: str | None, data: str | None, name: str, org: str | None, scopes: tuple[str, ...],
    per_minute: int | None, days: int | None,
) -> None:  # fmt: skip
    """Make a key named NAME. It is shown this once."""
    expires = time.time() + days * DAY if days else None
    asked = {"expires_at": expires, "requests_per_minute": per_minute}
    new = {"name": name, "scopes": list(scopes), **asked, **({"org_id": org} if org else {})}

    async def here(store: Store) -> str:
        made = await store.keys.create(
            org or DEFAULT_ORG, name, scopes, expires_at=expires, requests_per_minute=per_minute
        )
        return made[1]

    async def there(config: Config) -> str:
        return str((await _ask(config, "POST", "", new))["key"])

    click.echo(asyncio.run(_either(read_config(config_file, {"data": data}), here, there)))


@keys.command(name="list")
@configured
@click.option("--org", callback=_not_empty, help="Id of the org.  [the first one]")
def list_keys(config_file: str | None, data: str | None, org: str | None) -> None:
    """The keys of an org, without their secrets."""

    async def here(store: Store) -> list[ApiKey]:
        return await store.keys.list((await store.all_orgs().org(org)).id if org else DEFAULT_ORG)

    async def there(config: Config) -> list[ApiKey]:
        return msgspec.convert((await _ask(config, "GET", _query(org), None))["data"], list[ApiKey])

    for key in asyncio.run(_either(read_config(config_file, {"data": data}), here, there)):
        made = datetime.fromtimestamp(key.created_at, UTC).date()
        state = "valid" if key.valid(time.time()) else "revoked" if key.revoked_at else "expired"
        limit = [f"{key.requests_per_minute}/min"] if key.requests_per_minute else []
        may = " ".join([*sorted(key.scopes), *limit])
        click.echo(f"{key.id}  {key.prefix}...  {state:8} {made}  {_shown(key.name)}  {may}".rstrip())


@keys.command()
@configured
@click.argument("key_id")
@click.option("--org", callback=_not_empty, help="Id of the org.  [the first one]")
def revoke(config_file: str | None, data: str | None, key_id: str, org: str | None) -> None:
    """Make a key invalid."""

    async def here(store: Store) -> None:
        await store.keys.revoke(org or DEFAULT_ORG, key_id)

    async def there(config: Config) -> None:
        await _ask(config, "DELETE", f"/{quote(key_id, safe='')}{_query(org)}", None)

    asyncio.run(_either(read_config(config_file, {"data": data}), here, there))
    click.echo(f"{key_id} is revoked.")


def _shown(name: str) -> str:
    """On one line, whatever it was made with."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in name)


def _query(org: str | None) -> str:
    return f"?org_id={quote(org, safe='')}" if org else ""


async def _ask(config: Config, method: str, rest: str, body: object) -> Any:
    return await ask(base_url(config.server), known_admin_key(config.server), method, f"/v1/admin/keys{rest}", body)


async def _at_the_server(config: Config, there: Callable[[Config], Awaitable[T]]) -> T:
    try:
        return await there(config)
    except Unreachable:
        at = base_url(config.server)
        problem = f"a server uses this data directory, but none answers at {at}: say where it listens"
        raise Unreachable(f"{problem} (MIDSTREAM_PORT, MIDSTREAM_HOST)") from None


async def _either(config: Config, here: Callable[[Store], Awaitable[T]], there: Callable[[Config], Awaitable[T]]) -> T:
    """In the store itself; through the running server when that one holds the data directory."""
    file = file_of(config.server.store_url)
    async with contextlib.AsyncExitStack() as opened:
        try:
            store = await opened.enter_async_context(at_hand(config.server))
        except StoreDown as error:
            if file is None or "in use" not in error.message:
                raise
            return await _at_the_server(config, there)
        if file is not None and await answers(base_url(config.server)):
            at = base_url(config.server)
            click.echo(f"The server that answers at {at} does not use this database: {file.parent}", err=True)
        return await here(store)
