"""Asking the server that runs on this machine, for the commands."""

from __future__ import annotations

from typing import Any

import msgspec

from ..core.errors import BadRequest, MidstreamError, NotFound, StoreDown, Unreachable
from ..core.http import Incoming, Outgoing, Timeouts
from ..core.secret import Secret
from ..egress import Egress
from .config import ServerConfig
from .keyfiles import known_admin_key
from .operations import NAME

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (what a server listens on, and where to find it then)

#: On this machine: who has not answered by then does not.
SOON = Timeouts(connect=2, write=2, first_byte=2, between=2, total=2)


def base_url(server: ServerConfig) -> str:
    host = ANYWHERE.get(server.host, server.host)
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


async def key_for(url: str, server: ServerConfig) -> Secret:
    """The admin key to ask it with. Raises StoreDown when it is not where it should be, Unreachable when the reason is
    that no server has been started yet."""
    try:
        return known_admin_key(server)
    except StoreDown:
        if not await answers(url):
            raise _nobody(url) from None
        raise


async def answers(url: str) -> bool:
    """Is it a server of ours? It is told no key for that."""
    egress = Egress(environ={})
    try:
        incoming = await egress.send(Outgoing("GET", f"{url}/v1/version", trusted=True, timeouts=SOON))
        try:
            answer = msgspec.json.decode(await incoming.read())
        finally:
            incoming.close()
    except (MidstreamError, msgspec.DecodeError):
        return False
    finally:
        await egress.close()
    return isinstance(answer, dict) and answer.get("name") == NAME


async def ask(url: str, key: Secret, method: str, path: str, body: object) -> Any:
    """The JSON of its answer. Raises errors.Unreachable, NotFound, BadRequest with the server's own words."""
    egress = Egress(environ={})
    try:
        incoming = await send(egress, url, key, method, path, body)
        try:
            return _good(incoming, await incoming.read())
        finally:
            incoming.close()
    finally:
        await egress.close()


async def send(egress: Egress, url: str, key: Secret, method: str, path: str, body: object) -> Incoming:
    headers = (("authorization", f"Bearer {key.reveal()}"), ("content-type", "application/json"))
    content = b"" if body is None else msgspec.json.encode(body)
    try:
        return await egress.send(Outgoing(method, url + path, headers, content, trusted=True))
    except Unreachable:
        raise _nobody(url) from None


def _nobody(url: str) -> Unreachable:
    return Unreachable(
        f"no server answers at {url}: start it with `midstream serve`, or say where it is (MIDSTREAM_PORT)"
    )


def _good(incoming: Incoming, body: bytes) -> Any:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise BadRequest(f"what answers there is not midstream (HTTP {incoming.status})") from None
    if incoming.status < 400:
        return answer
    raise refusal(incoming.status, answer)


def refusal(status: int, answer: Any) -> MidstreamError:
    error = answer.get("error") if isinstance(answer, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    kind = NotFound if status == NotFound.status else BadRequest
    return kind(str(said or f"the server refused with HTTP {status}"))
