"""`midstream rekey`: another secret key in the place of one that has leaked. Killed anywhere, it leaves the database's
key where a server, or this command again, finds it or names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import Conflict, StoreDown
from ..store import Store, file_of
from ..store.secrets import SealingKey
from .cli_options import at_hand
from .config import ConfigError, ServerConfig
from .config_check import NO_SECRET_KEY, SECRET_BYTES, secret_bytes
from .keyfiles import SECRET_FILE, kept, key_problem, next_file, secret_key

#: Where the new key is given. (Of a file it is made.)
GIVEN = "MIDSTREAM_NEW_SECRET_KEY"
_NONE_GIVEN = (
    "the secret key stands in MIDSTREAM_SECRET_KEY ([server] secret_key): say the new one in "
    f"{GIVEN} (`openssl rand -hex 32` makes one)"
)
_IN_USE = "a server uses the database, or was killed less than a minute ago: stop every server first"


async def replaced(server: ServerConfig, environ: Mapping[str, str]) -> str:
    """What has been done, in words without the key. Raises MidstreamError, ConfigError."""
    new = _given(environ)
    try:
        async with at_hand(server, full_sync=True) as store:  # the old key is gone afterwards, whatever comes
            done = await _replace(server, store, new)
    except StoreDown as error:
        if "in use" not in error.message:
            raise
        raise StoreDown(f"{error.message.partition(': ')[0]}: stop it first") from None
    if server.secret_key:
        done += " Put it where the old one stood: MIDSTREAM_SECRET_KEY, or secret_key of [server]."
    if file_of(server.store_url) is None:
        done += " Every server on this database needs the new key: with the old one none starts."
    return done


def _given(environ: Mapping[str, str]) -> bytes | None:
    text = environ.get(GIVEN)
    if text and len(secret_bytes(text)) != SECRET_BYTES:
        raise ConfigError(GIVEN, (), NO_SECRET_KEY)
    return secret_bytes(text) if text else None


async def _replace(server: ServerConfig, store: Store, new: bytes | None) -> str:
    settled = await store.key_id()
    if settled is None:
        raise StoreDown("the database is used with no secret key yet: there is none to replace")
    file = None if server.secret_key else Path(server.data) / SECRET_FILE
    if file and next_file(server, settled).exists():
        next_file(server, settled).replace(file)
        return f"The secret key in {file} is the database's again: replacing it had been cut short."
    if new and SealingKey(new).id == settled:
        if file:
            _written(server, new).replace(file)
        return "The database is used with the new key already."
    if problem := await key_problem(server, store):
        raise StoreDown(problem)
    if new is None and file is None:
        raise StoreDown(_NONE_GIVEN)
    if await store.in_use():
        raise StoreDown(_IN_USE)
    return await _sealed_anew(server, store, file, new or os.urandom(SECRET_BYTES))


async def _sealed_anew(server: ServerConfig, store: Store, file: Path | None, new: bytes) -> str:
    """The new key is on the disk before anything is sealed with it, and the old one until nothing is any more."""
    written = _written(server, new) if file else None
    try:
        done = await store.replace_key(secret_key(server), new)
    except Conflict:  # nothing is sealed with it
        if written:
            written.unlink()
        raise StoreDown(_IN_USE) from None
    if file and written:
        written.replace(file)
    said = f"The secret key{f' in {file}' if file else ''} is replaced; sealed anew: {done.count}."
    lost = f" What the old key did not open is as it was: {done.lost}." if done.lost else ""
    return said + lost


def _written(server: ServerConfig, new: bytes) -> Path:
    path = next_file(server, SealingKey(new).id)
    kept(path, new)
    return path
