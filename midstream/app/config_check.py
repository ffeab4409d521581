"""What types cannot say: addresses that are none, keys that need or exclude each other."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ..core.errors import BadRequest
from ..core.http import OWN_HEADERS
from ..core.secret import Secret
from ..egress.addresses import allowance
from ..egress.proxies import Proxies
from ..egress.targets import parse_target
from .config_lines import KeyPath
from .config_read import ConfigError, Reader, near_miss
from .config_schema import (
    PRICE_WORDS,
    Config,
    EgressConfig,
    IssuerConfig,
    McpServerConfig,
    ProviderConfig,
    ServerConfig,
)

#: Of the key that secrets are sealed with.
SECRET_BYTES = 32
NO_SECRET_KEY = f"expected {SECRET_BYTES} bytes as {2 * SECRET_BYTES} hexadecimal digits or as base64"
NO_KEY = "a key is ASCII text without blanks"


def check(config: Config, environ: Mapping[str, str], reader: Reader) -> None:
    """environ: where proxies and authorities are read. Raises ConfigError."""
    _server(config.server, reader)
    _way_out(config.egress, environ, reader)
    for name, provider in config.providers.items():
        _provider(provider, ("providers", name), reader)
    for alias in config.models:
        if alias.partition("/")[0] in config.providers and "/" in alias:
            reader.refuse(("models", alias), "an alias may not look like a model of a configured provider")
    for name, server in config.mcp.servers.items():
        _mcp_server(server, ("mcp", "servers", name), reader)
    for name, issuer in config.auth.issuers.items():
        _issuer(issuer, ("auth", "issuers", name), reader)
    _key(config.search.serper_api_key, ("search", "serper_api_key"), reader)
    _address(config.search.searxng_url, ("search", "searxng_url"), reader)
    _address(config.telemetry.otlp_endpoint, ("telemetry", "otlp_endpoint"), reader)
    _address(config.sandbox.url, ("sandbox", "url"), reader)
    _address(config.s3.endpoint, ("s3", "endpoint"), reader)
    if config.sandbox.backend == "sandboxfusion" and not config.sandbox.url:
        reader.refuse(("sandbox", "backend"), "sandboxfusion needs its address: url")


def _server(server: ServerConfig, reader: Reader) -> None:
    _address(server.public_url, ("server", "public_url"), reader)
    _key(server.admin_key, ("server", "admin_key"), reader)
    for place, origin in enumerate(server.cors_origins):
        path: KeyPath = ("server", "cors_origins", place)
        if origin != "*":
            _address(origin, path, reader)
            if urlsplit(origin).path:
                reader.refuse(path, "an origin is scheme, host and port, without a path")
            if not origin.isascii():
                reader.refuse(path, "browsers say an origin in ASCII: write the host's xn-- form")
    schemes = {"database_url": ("postgresql", "postgres", "sqlite"), "redis_url": ("redis", "rediss", "unix"),
               "rabbitmq_url": ("amqp", "amqps")}  # fmt: skip
    for key, allowed in schemes.items():
        text = getattr(server, key).reveal()
        if text and text.partition("://")[0] not in allowed:
            begins = " or ".join(f"{scheme}://" for scheme in allowed)
            reader.refuse(("server", key), f"expected an address that begins with {begins}")
    if server.secret_key and len(secret_bytes(server.secret_key.reveal())) != SECRET_BYTES:
        reader.refuse(("server", "secret_key"), NO_SECRET_KEY)
    for key, only in (("workers", 1), ("role", "all")):
        if getattr(server, key) != only:
            reader.refuse(("server", key), f"this version runs one process that does all: leave it at {only}")


def _way_out(egress: EgressConfig, environ: Mapping[str, str], reader: Reader) -> None:
    for place, text in enumerate(egress.allow):
        try:
            allowance(text)
        except ValueError as error:
            reader.refuse(("egress", "allow", place), str(error))
    try:
        Proxies(environ)
    except ValueError as error:
        raise ConfigError("", (), str(error)) from None
    file = environ.get("SSL_CERT_FILE")
    if file and not Path(file).is_file():
        raise ConfigError("SSL_CERT_FILE", (), f"there is no file {file}")
    if file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        except OSError as error:
            why = "it holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError("SSL_CERT_FILE", (), f"{file} cannot be used: {why}") from None


def secret_bytes(text: str) -> bytes:
    """Of hexadecimal digits or base64; b"" when it is neither."""
    for decode in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
        try:
            return decode(text)
        except ValueError:
            continue
    return b""


def _provider(provider: ProviderConfig, path: KeyPath, reader: Reader) -> None:
    _address(provider.base_url, (*path, "base_url"), reader)
    for key in provider.api_key:
        _key(key, (*path, "api_key"), reader)
    for phase, seconds in msgspec.structs.asdict(provider.timeouts).items():
        if seconds <= 0:
            reader.refuse((*path, "timeouts", phase), f"expected a number above 0, found {seconds:g}")
    for model, words in provider.prices.items():
        for word in words:
            if word not in PRICE_WORDS:
                near = near_miss(word, list(PRICE_WORDS)) or f": expected one of {', '.join(PRICE_WORDS)}"
                reader.refuse((*path, "prices", model, word), f"unknown key{near}")
    _headers(provider.headers, (*path, "headers"), reader)


def _headers(headers: Mapping[str, str], path: KeyPath, reader: Reader) -> None:
    for name, value in headers.items():
        if not name.isascii() or not name or any(sign <= " " or sign in ':()<>@,;"/[]?={}\\' for sign in name):
            reader.refuse((*path, name), "is not a header's name")
        if name.lower() in OWN_HEADERS:
            reader.refuse((*path, name), "the server itself writes this header")
        if not value.isascii() or not value.isprintable():
            reader.refuse((*path, name), "a header's value is one line of ASCII text")


def _key(key: Secret, path: KeyPath, reader: Reader) -> None:
    if not can_be_sent(key.reveal()):
        reader.refuse(path, NO_KEY)


def can_be_sent(key: str) -> bool:
    return all("!" <= sign <= "~" for sign in key)


def _mcp_server(server: McpServerConfig, path: KeyPath, reader: Reader) -> None:
    if bool(server.url) == bool(server.command):
        reader.refuse(path, "needs either url or command")
    _address(server.url, (*path, "url"), reader)
    _headers(server.headers, (*path, "headers"), reader)


def _issuer(issuer: IssuerConfig, path: KeyPath, reader: Reader) -> None:
    _address(issuer.jwks_url, (*path, "jwks_url"), reader)
    if ("HS256" in issuer.algorithms) != bool(issuer.secret):
        reader.refuse(path, "HS256 needs secret, and secret is for HS256 only")
    if "HS256" in issuer.algorithms and len(issuer.algorithms) > 1:
        reader.refuse((*path, "algorithms"), "HS256 does not go together with public-key algorithms")


def _address(url: str, path: KeyPath, reader: Reader) -> None:
    """Empty, or http(s)://host without credentials, as the egress reads it: what it refuses would be told to those who
    ask for a model. The address is not repeated: it may hold some."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        reader.refuse(path, "expected an address that begins with http:// or https://")
    if parts.username is not None or parts.query or parts.fragment:
        reader.refuse(path, "an address here has no credentials, query or fragment")
    try:
        parse_target(url)
    except BadRequest as error:
        reader.refuse(path, error.message.rpartition(": ")[2])
