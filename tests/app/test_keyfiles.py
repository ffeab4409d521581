"""Keys are made once, kept for the owner's eyes, and taken from the configuration when it gives them."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from midstream.app.config import ServerConfig
from midstream.app.keyfiles import admin_key, known_admin_key, sealing_key, secret_key
from midstream.core.errors import StoreDown
from midstream.core.secret import Secret
from midstream.store import open_store


def test_the_configured_admin_key_is_taken_and_no_file_is_made(tmp_path: Path) -> None:
    server = ServerConfig(data=str(tmp_path / "data"), admin_key=Secret("given"))
    assert admin_key(server) == (Secret("given"), None)
    assert not (tmp_path / "data").exists()


def test_a_key_is_made_once_and_only_the_owner_can_read_it(tmp_path: Path) -> None:
    server = ServerConfig(data=str(tmp_path / "a" / "data"))
    key, path = admin_key(server)
    assert path is not None
    assert admin_key(server) == (key, path)
    assert key.reveal().startswith("ms-admin-")
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_key(server) == secret_key(server)
    assert (path.parent / "secret.key").stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in path.parent.iterdir()} == {"admin.key", "secret.key"}


def test_starting_at_the_same_time_gives_one_key(tmp_path: Path) -> None:
    server = ServerConfig(data=str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        made = {key.reveal() for key, _ in pool.map(admin_key, [server] * 32)}
    assert len(made) == 1


def test_a_key_file_that_was_emptied_is_not_a_key(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("\n")
    with pytest.raises(StoreDown, match="is empty"):
        admin_key(ServerConfig(data=str(tmp_path)))
    (tmp_path / "secret.key").write_bytes(b"short")
    with pytest.raises(StoreDown, match="does not hold 32 bytes"):
        secret_key(ServerConfig(data=str(tmp_path)))


@pytest.mark.parametrize("text", ["schlüssel", "two words", "two\nlines\n", "\x00"])
def test_a_key_that_nobody_could_send_is_not_a_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "admin.key").write_text(text)
    with pytest.raises(StoreDown, match=r"admin\.key holds no key: a key is ASCII text without blanks"):
        admin_key(ServerConfig(data=str(tmp_path)))


@pytest.mark.parametrize("text", ["ab" * 32, base64.b64encode(b"\xab" * 32).decode()])
def test_a_secret_key_is_hexadecimal_or_base64(tmp_path: Path, text: str) -> None:
    assert secret_key(ServerConfig(data=str(tmp_path), secret_key=Secret(text))) == b"\xab" * 32


def opened(server: ServerConfig, database: Path) -> bytes:
    """The key that a server starts with on a database."""

    async def run() -> bytes:
        store = await open_store(f"sqlite:///{database}", worker="test")
        try:
            return await sealing_key(server, store)
        finally:
            await store.close()

    return asyncio.run(run())


def test_a_database_that_another_key_was_used_with_gets_no_new_one(tmp_path: Path) -> None:
    database, here, other = tmp_path / "m.db", tmp_path / "here", tmp_path / "other"
    key = opened(ServerConfig(data=str(here)), database)
    assert key == (here / "secret.key").read_bytes()
    assert opened(ServerConfig(data=str(here)), database) == key
    with pytest.raises(StoreDown) as refused:
        opened(ServerConfig(data=str(other)), database)
    for word in (f"{other}/secret.key", "MIDSTREAM_SECRET_KEY", "does not exist"):
        assert word in refused.value.message
    assert not other.exists()
    assert opened(ServerConfig(data=str(other), secret_key=Secret(key.hex())), database) == key


def test_a_key_that_is_not_the_databases_is_refused_by_its_place(tmp_path: Path) -> None:
    database = tmp_path / "m.db"
    opened(ServerConfig(secret_key=Secret("ab" * 32)), database)
    (tmp_path / "secret.key").write_bytes(b"k" * 32)
    with pytest.raises(StoreDown, match=f"the key in {tmp_path}/secret.key is another one than the database is used"):
        opened(ServerConfig(data=str(tmp_path)), database)
    with pytest.raises(
        StoreDown, match=r"the key in MIDSTREAM_SECRET_KEY \(\[server\] secret_key\) is another one"
    ) as no:
        opened(ServerConfig(data=str(tmp_path), secret_key=Secret("cd" * 32)), database)
    assert "cdcd" not in no.value.message


def test_commands_take_the_admin_key_that_is_there_and_make_none(tmp_path: Path) -> None:
    server = ServerConfig(data=str(tmp_path / "data"))
    with pytest.raises(
        StoreDown, match=f"there is no admin key in {tmp_path}/data/admin.key: .*--data.*MIDSTREAM_ADMIN"
    ):
        known_admin_key(server)
    assert not (tmp_path / "data").exists()
    made, _ = admin_key(server)
    assert known_admin_key(server) == made
    assert known_admin_key(ServerConfig(admin_key=Secret("given"))) == Secret("given")


def test_a_data_directory_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreDown, match="cannot be used"):
        admin_key(ServerConfig(data=str(tmp_path / "file")))
