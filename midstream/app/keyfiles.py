"""The operator's admin key and the server's own secret: from the configuration, else kept in the data directory."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from ..core.errors import StoreDown
from ..core.ids import secret
from ..core.secret import Secret
from .config import ConfigError, ServerConfig

ADMIN_FILE = "admin.key"
SECRET_FILE = "secret.key"  # noqa: S105 (the name of a file)
SECRET_BYTES = 32


def admin_key(server: ServerConfig) -> tuple[Secret, Path | None]:
    """The key, and the file that it stands in: None when the configuration gives it. The file is made when it is
    missing. Raises StoreDown when the data directory cannot be used."""
    if server.admin_key:
        return server.admin_key, None
    path = Path(server.data) / ADMIN_FILE
    text = _kept(path, secret("ms-admin-").encode() + b"\n").decode("ascii", "replace").strip()
    if not text:
        raise StoreDown(f"{path} is empty: write an admin key there, or delete it to have one made")
    return Secret(text), path


def secret_key(server: ServerConfig) -> bytes:
    """32 bytes that encrypt stored credentials and sign addresses. Raises ConfigError, StoreDown."""
    if not server.secret_key:
        key = _kept(Path(server.data) / SECRET_FILE, os.urandom(SECRET_BYTES))
        if len(key) != SECRET_BYTES:
            raise StoreDown(f"{Path(server.data) / SECRET_FILE} does not hold {SECRET_BYTES} bytes")
        return key
    key = _decoded(server.secret_key.reveal())
    if len(key) != SECRET_BYTES:
        problem = f"expected {SECRET_BYTES} bytes as 64 hexadecimal digits or as base64"
        raise ConfigError("MIDSTREAM_SECRET_KEY", ("server", "secret_key"), problem)
    return key


def _decoded(text: str) -> bytes:
    for decode in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
        try:
            return decode(text)
        except ValueError:
            continue
    return b""


def _kept(path: Path, fresh: bytes) -> bytes:
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
