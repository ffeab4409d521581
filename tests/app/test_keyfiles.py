"""Keys are made once, kept for the owner's eyes, and taken from the configuration when it gives them."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from midstream.app.config import ConfigError, ServerConfig
from midstream.app.keyfiles import admin_key, secret_key
from midstream.core.errors import StoreDown
from midstream.core.secret import Secret


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


@pytest.mark.parametrize("text", ["ab" * 32, base64.b64encode(b"\xab" * 32).decode()])
def test_a_secret_key_is_hexadecimal_or_base64(tmp_path: Path, text: str) -> None:
    assert secret_key(ServerConfig(data=str(tmp_path), secret_key=Secret(text))) == b"\xab" * 32


@pytest.mark.parametrize("text", ["short", "ab" * 31, "é" * 32])
def test_a_wrong_secret_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        secret_key(ServerConfig(data=str(tmp_path), secret_key=Secret(text)))
    assert text not in str(caught.value)


def test_a_data_directory_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreDown, match="cannot be used"):
        admin_key(ServerConfig(data=str(tmp_path / "file")))
