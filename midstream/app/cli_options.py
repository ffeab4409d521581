"""What the commands share: the options that say which server is meant, reading its file, opening its store beside it,
and saying errors in one line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import click

from .. import providers
from ..core.errors import MidstreamError, StoreDown
from ..core.registry import modules_of
from ..store import Store, file_of, visited
from .config import Config, ConfigError, ServerConfig, load

Command = TypeVar("Command", bound=Callable[..., Any])

_CONFIG = click.option(
    "--config", "config_file", metavar="FILE", help="Configuration file (MIDSTREAM_CONFIG).  [./midstream.toml]"
)
_DATA = click.option("--data", metavar="DIR", help="Where everything is kept (MIDSTREAM_DATA).  [./midstream-data]")

_ELSEWHERE = (
    "the first `midstream serve` makes it; say where the server keeps its own (--data or MIDSTREAM_DATA, --config or "
    "MIDSTREAM_CONFIG, MIDSTREAM_DATABASE_URL)"
)


def configured(command: Command) -> Command:
    """A command that is told which server is meant: config_file and data."""
    return _CONFIG(_DATA(command))


class Says(click.Group):
    """A group whose commands end with one line on stderr, not with a traceback, when they cannot do their work."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _open_standard_streams()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            ctx.exit(2)
        except MidstreamError as error:
            raise click.ClickException(error.message) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename or ctx.invoked_subcommand}: {error.strerror}") from None
        except UnicodeEncodeError as error:  # the system's bytes that are no text come as halves of characters
            wrong = error.object[error.start : error.end]
            said = f"{wrong!a} cannot be written as {error.encoding}: is it text in this encoding?"
            raise click.ClickException(said) from None


def _open_standard_streams() -> None:
    """Those that whoever started us has closed lead to nothing. Else what is opened next has their numbers: a socket,
    which libuv refuses to close then, or the database, which whoever writes to standard error writes into."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def read_config(file: str | None, options: Mapping[str, object], warn: Callable[[str], object] | None = None) -> Config:
    """Options that were not given are None. warn: as of `config.load`. Raises ConfigError."""
    given = {name: value for name, value in options.items() if value is not None}
    return load(file, os.environ, provider_kinds(), given, warn)


def provider_kinds() -> dict[str, Any]:
    return {name: module.SERVICE for name, module in modules_of(providers).items()}


@contextlib.asynccontextmanager
async def at_hand(server: ServerConfig, *, full_sync: bool = False) -> AsyncIterator[Store]:
    """The store beside its servers. Raises StoreDown when there is no database (what is made for a server had better be
    found by it), one of another version, or one that its only server uses. full_sync: as of `store.open_store`."""
    file = file_of(server.store_url)
    if file is not None and not file.exists():
        raise StoreDown(f"there is no database in {file}: {_ELSEWHERE}")
    async with visited(server.store_url, looks=True) as store:  # to open it for more would change the file
        behind = await store.behind()
    if behind:
        raise StoreDown(behind)
    async with visited(server.store_url, full_sync=full_sync) as store:
        yield store
