"""The operator's admin key and the server's own secret: from the configuration, else kept in the data directory."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import StoreDown
from ..core.ids import secret
from ..core.secret import Secret
from ..store import Store
from ..store.secrets import SealingKey
from .config import ServerConfig
from .config_check import NO_KEY, SECRET_BYTES, can_be_sent, secret_bytes

ADMIN_FILE = "admin.key"
SECRET_FILE = "secret.key"  # noqa: S105 (the name of a file)
_CURE = (
    "put the secret.key there that stood beside the database or has come with its backup, or set MIDSTREAM_SECRET_KEY "
    "to the key of the other servers"
)


def admin_key(server: ServerConfig) -> tuple[Secret, Path | None]:
    """The key, and the file that it stands in: None when the configuration gives it. The file is made when it is
    missing. Raises StoreDown when the data directory cannot be used."""
    if server.admin_key:
        return server.admin_key, None
    path = Path(server.data) / ADMIN_FILE
    text = kept(path, secret("ms-admin-").encode() + b"\n").decode("ascii", "replace").strip()
    if not text:
        raise StoreDown(f"{path} is empty: write an admin key there, or delete it to have one made")
    if not can_be_sent(text):
        raise StoreDown(f"{path} holds no key: {NO_KEY}")
    return Secret(text), path


def known_admin_key(server: ServerConfig) -> Secret:
    """The key as the commands need it, who ask a server that has been started. Raises StoreDown: they make none."""
    path = Path(server.data) / ADMIN_FILE
    if not server.admin_key and not path.exists():
        where = "say where the server keeps its data (--data, MIDSTREAM_DATA), or set MIDSTREAM_ADMIN_KEY"
        raise StoreDown(f"there is no admin key in {path.absolute()}: {where}")
    return admin_key(server)[0]


async def sealing_key(server: ServerConfig, store: Store) -> bytes:
    """The secret key that the store seals with from now on: see `secret_key`. No file is made for a database that
    another key was used with. Raises StoreDown unless it is the database's own key."""
    if problem := await key_problem(server, store):
        raise StoreDown(problem)
    key = secret_key(server)
    store.seal_with(key)
    if await store.settle_key() != SealingKey(key).id:  # another server was first
        raise StoreDown(_another(server))
    return key


async def key_problem(server: ServerConfig, store: Store) -> str | None:
    """Why a server cannot start on this database with the secret key that it has: None when it can."""
    settled = await store.key_id()
    if settled is None:
        return None
    path = Path(server.data) / SECRET_FILE
    if not server.secret_key and not path.exists():
        return f"the database is used with a secret key that is not here: {path} does not exist; {_CURE}"
    if SealingKey(secret_key(server)).id == settled:
        return None
    if not server.secret_key and next_file(server, settled).exists():
        return f"the key of the database stands in {next_file(server, settled)} still: run `midstream rekey` again"
    return _another(server)


def next_file(server: ServerConfig, id: str) -> Path:
    """Where a key stands that is about to take the place of the file's. id: the key's, for no two to meet."""
    return Path(server.data) / f"{SECRET_FILE}.{id}"


def _another(server: ServerConfig) -> str:
    given = "MIDSTREAM_SECRET_KEY ([server] secret_key)"
    place = given if server.secret_key else str(Path(server.data) / SECRET_FILE)
    return f"the key in {place} is another one than the database is used with; {_CURE}"


def secret_key(server: ServerConfig) -> bytes:
    """32 bytes that encrypt stored credentials and sign addresses: the configured ones, else those of the file, which
    is made when it is missing. Raises StoreDown."""
    if server.secret_key:
        return secret_bytes(server.secret_key.reveal())
    path = Path(server.data) / SECRET_FILE
    key = kept(path, os.urandom(SECRET_BYTES))
    if len(key) != SECRET_BYTES:
        raise StoreDown(f"{path} does not hold {SECRET_BYTES} bytes")
    return key


def kept(path: Path, fresh: bytes) -> bytes:
    """What the file holds; `fresh`, which is put there, when there is no file. Nobody else may read it, and of two
    servers that start at once both use the key of the first: the whole file appears under its name, or nothing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _place(path, fresh)
        return path.read_bytes()
    except OSError as error:
        raise StoreDown(f"{path} cannot be used: {error.strerror}") from None


def _place(path: Path, content: bytes) -> None:
    draft = path.with_name(secret(f".{path.name}."))
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # it is to be there as long as what is sealed with it
    finally:
        os.close(directory)
