"""The key that secrets are sealed with belongs to its database: a backup with it can be restored, a server with another
one does not start."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ..postgres import postgres
from .serving import Serving

SERVICE_KEY = {"name": "team", "service": "openai", "key": "sk-test-0123456789"}


def refused(serving: Serving) -> str:
    """What a server says that does not start."""
    before = len(serving.log()) if serving.process is not None else 0
    try:
        with pytest.raises(AssertionError):
            serving.start()
    finally:
        status = serving.stop()
    assert status == 1
    return serving.log()[before:]


def backed_up(serving: Serving, to: Path) -> None:
    to.mkdir(mode=0o700, exist_ok=True)
    with (
        contextlib.closing(sqlite3.connect(serving.data / "midstream.db")) as live,
        contextlib.closing(sqlite3.connect(to / "midstream.db")) as copy,
    ):
        live.backup(copy)


def keys(serving: Serving) -> Any:
    return serving.ask("GET", "/v1/admin/service_keys").json["data"]


def hook_secret(serving: Serving) -> Any:
    return serving.ask("GET", "/v1/admin/webhook_secret").json["secret"]


@pytest.mark.parametrize("stored", [True, False], ids=["with a secret", "without any"])
def test_a_backup_is_restored_with_its_secret_key_and_refused_without(tmp_path: Path, stored: bool) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    restored = Serving(folders[1])
    with Serving(folders[0]) as first:
        if stored:
            assert first.ask("POST", "/v1/admin/service_keys", SERVICE_KEY).status == 201
        signed, known = hook_secret(first), keys(first)
        backed_up(first, restored.data)
    said = refused(restored)
    assert f"{restored.data}/secret.key does not exist" in said
    assert "MIDSTREAM_SECRET_KEY" in said
    assert said.count("\n") == 1, "nothing is announced before"
    assert not (restored.data / "secret.key").exists()
    shutil.copy(first.data / "secret.key", restored.data)
    with restored:
        assert keys(restored) == known
        assert hook_secret(restored) == signed


def test_servers_on_one_postgres_have_one_key(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    with postgres() as server, server.database() as url:
        first, second, third = (Serving(folder, MIDSTREAM_DATABASE_URL=url) for folder in folders)
        with first:
            said = refused(second)
            assert f"{second.data}/secret.key does not exist" in said
            assert not (second.data / "secret.key").exists()
            second.data.mkdir(exist_ok=True)
            (second.data / "secret.key").write_bytes(b"k" * 32)
            assert f"the key in {second.data}/secret.key is another one" in refused(second)
            third.environ["MIDSTREAM_SECRET_KEY"] = (first.data / "secret.key").read_bytes().hex()
            with third:
                assert first.ask("POST", "/v1/admin/service_keys", SERVICE_KEY).status == 201
                assert keys(third) == keys(first) != []
                assert hook_secret(third) == hook_secret(first)


def test_a_lost_key_is_given_up_with_what_it_sealed(tmp_path: Path) -> None:
    with Serving(tmp_path) as serving:
        assert serving.ask("POST", "/v1/admin/service_keys", SERVICE_KEY).status == 201
    (serving.data / "secret.key").unlink()
    with contextlib.closing(sqlite3.connect(serving.data / "midstream.db")) as database:
        database.executescript("DELETE FROM secrets; DELETE FROM sealing_key")
    with serving:
        assert serving.ask("GET", "/readyz").status == 200
        [lost] = keys(serving)
        assert serving.ask("DELETE", f"/v1/admin/service_keys/{lost['id']}").status == 200
        assert serving.ask("POST", "/v1/admin/service_keys", SERVICE_KEY).status == 201
