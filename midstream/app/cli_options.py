"""What the commands share: the options that say which server is meant, reading its file, and saying errors in one
line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from .. import providers
from ..core.errors import MidstreamError
from ..core.registry import modules_of
from .config import Config, ConfigError, load

Command = TypeVar("Command", bound=Callable[..., Any])

_CONFIG = click.option(
    "--config", "config_file", metavar="FILE", help="Configuration file (MIDSTREAM_CONFIG).  [./midstream.toml]"
)
_DATA = click.option("--data", metavar="DIR", help="Where everything is kept (MIDSTREAM_DATA).  [./midstream-data]")


def configured(command: Command) -> Command:
    """A command that is told which server is meant: config_file and data."""
    return _CONFIG(_DATA(command))


class Says(click.Group):
    """A group whose commands end with one line on stderr, not with a traceback, when they cannot do their work."""

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


def read_config(file: str | None, options: Mapping[str, object], warn: Callable[[str], object] | None = None) -> Config:
    """Options that were not given are None. warn: as of `config.load`. Raises ConfigError."""
    given = {name: value for name, value in options.items() if value is not None}
    return load(file, os.environ, provider_kinds(), given, warn)


def provider_kinds() -> dict[str, Any]:
    return {name: module.SERVICE for name, module in modules_of(providers).items()}
