"""The commands. Each reads the configuration, says one line when something is wrong, and hands over to its module.

What a command alone needs is imported inside it: `midstream version` is not to wait for a web server."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from functools import partial
from pathlib import Path

import click

from .. import __version__
from ..store import migrated
from .cli_keys import keys
from .cli_options import Says, configured, read_config
from .keyfiles import admin_key
from .local_server import base_url, key_for
from .logs import start_logging
from .rekey import replaced

logger = logging.getLogger("midstream.configuration")


@click.group(cls=Says, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """One self-hosted server between your applications and every model."""


@main.command()
@configured
@click.option("--host", help="Address to listen on (MIDSTREAM_HOST).  [127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on, 0 for any free one (MIDSTREAM_PORT).  [8080]")
@click.option("--workers", type=int, help="Processes: 1 in this version (MIDSTREAM_WORKERS).  [1]")
@click.option("--role", help="all in this version (MIDSTREAM_ROLE).  [all]")
@click.option("--log", help="debug | info | warning | error (MIDSTREAM_LOG).  [info]")
def serve(config_file: str | None, **options: object) -> None:
    """Start the server."""
    warnings: list[str] = []
    config = read_config(config_file, options, warnings.append)
    start_logging(config.server.log)
    for warning in warnings:
        logger.warning(warning)
    key, file = admin_key(config.server)
    from .server import run

    run(config, key.reveal(), partial(_greet, file))


def _greet(key_file: Path | None, host: str, port: int) -> None:
    """For the person who started it: where it answers and where its key is. Never the key."""
    at = f"[{host}]" if ":" in host else host
    place = f"in {key_file}" if key_file else "the one that was configured"
    click.echo(f"midstream {__version__} on http://{at}:{port} (API reference: /docs)", err=True)
    click.echo(f"The admin key is {place}.", err=True)


@main.command()
@configured
def check(config_file: str | None, data: str | None) -> None:
    """Read the configuration and say what it means."""
    warnings: list[str] = []
    config = read_config(config_file, {"data": data}, warnings.append)
    enabled = [name for name, provider in config.providers.items() if provider.enabled]
    store = "PostgreSQL" if config.server.database_url.reveal().startswith("postgres") else "SQLite"
    click.echo("The configuration is good.")
    click.echo(f"providers: {', '.join(enabled) or 'none (only midstream/rehearsal answers)'}")
    click.echo(f"aliases:   {', '.join(config.models) or 'none'}")
    click.echo(f"store:     {store}, data in {Path(config.server.data).absolute()}")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


@main.command()
@configured
def migrate(config_file: str | None, data: str | None) -> None:
    """Bring the database to this version's form."""
    config = read_config(config_file, {"data": data})
    asyncio.run(migrated(config.server.store_url))
    click.echo("The database is up to date.")


@main.command()
@configured
def rekey(config_file: str | None, data: str | None) -> None:
    """Replace the secret key, as when it has leaked, while no server runs."""
    config = read_config(config_file, {"data": data})
    click.echo(asyncio.run(replaced(config.server, os.environ)))


@main.command(name="providers")
@configured
def list_providers(config_file: str | None, data: str | None) -> None:
    """The configured providers."""
    config = read_config(config_file, {"data": data})
    for name, provider in config.providers.items():
        count = len(provider.api_key)
        state = f"{count} key{'' if count == 1 else 's'}" if provider.enabled else "disabled"
        click.echo(f"{name:20} {provider.kind or name:18} {state:9} {' '.join(provider.models)}")
    click.echo(f"{'midstream':20} {'(built in)':18} {'no key':9} rehearsal")


@main.command()
@configured
@click.option("--offline", is_flag=True, help="Only what the configuration names: ask no provider.")
def models(config_file: str | None, data: str | None, offline: bool) -> None:
    """Every model that can be asked, by the name to ask it by."""
    config = read_config(config_file, {"data": data})
    from .listing import list_models

    names, problems = asyncio.run(list_models(config, ask=not offline))
    click.echo("\n".join(names))
    for problem in problems:
        click.echo(problem, err=True)


@main.command()
@configured
@click.option("--model", default="midstream/rehearsal", show_default=True, help="Which model to talk to.")
@click.option("--url", help="Of the server.  [the configured host and port]")
@click.argument("message", required=False)
def chat(config_file: str | None, data: str | None, model: str, url: str | None, message: str | None) -> None:
    """Talk to a model through the running server; with MESSAGE, ask once."""
    config = read_config(config_file, {"data": data})
    from .chat import run

    at = (url or base_url(config.server)).rstrip("/")
    key = asyncio.run(key_for(at, config.server))
    sys.exit(asyncio.run(run(at, key, model, message)))


@main.command()
@configured
def doctor(config_file: str | None, data: str | None) -> None:
    """Look for what would keep the server from working."""
    from .doctor import examine

    findings = asyncio.run(examine(config_file, os.environ, data))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.what}: {finding.said}")
    sys.exit(0 if all(finding.good for finding in findings) else 1)


@main.command()
def version() -> None:
    """This program's version."""
    click.echo(f"midstream {__version__}")


main.add_command(keys)
