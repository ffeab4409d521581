"""The key that secrets are sealed with belongs to its database: a backup with it can be restored, a server with another
one does not start."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ..postgres import postgres
from .serving import START, Serving
from .upstream import Asked, Said, Upstream, whole

SERVICE_KEY = {"name": "team", "service": "openai", "key": "sk-test-0123456789"}
UPSTREAM = """
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
api_key = "sk-operators-0123456789"
models = ["y"]
"""


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


def rekey(serving: Serving, **environ: str) -> tuple[int, str]:
    """Its status, and what it says."""
    where = ["--config", str(serving.folder / "midstream.toml"), "--data", str(serving.data)]
    done = subprocess.run(
        [sys.executable, "-c", START, "rekey", *where], env={**os.environ, **serving.environ, **environ}, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


def live_token(serving: Serving) -> str:
    return str(serving.ask("POST", "/v1/live/tokens", {"channel": "news"}).json["token"])


def opens(serving: Serving, token: str) -> bool:
    """Whether the token opens its channel."""
    with contextlib.suppress(InvalidStatus), connect(f"ws://127.0.0.1:{serving.port}/v1/live?token={token}"):
        return True
    return False


def completion(asked: Asked) -> Said:
    message = {"role": "assistant", "content": "Hello!"}
    return whole({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def used(serving: Serving, upstream: Upstream) -> str:
    """The stored key that a turn's provider is asked with."""
    asked = {"service": "up", "model": "y", "user": "Hello."}
    assert serving.ask("POST", "/api/v2/model/chat/completion", asked).status == 200
    return upstream.asked[-1].headers["authorization"].removeprefix("Bearer ")


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


def test_a_leaked_key_is_replaced_and_opens_nothing_any_more(tmp_path: Path) -> None:
    with Upstream(completion) as upstream:
        serving = Serving(tmp_path, UPSTREAM.format(url=upstream.url))
        with serving:
            assert serving.ask("POST", "/v1/admin/service_keys", {**SERVICE_KEY, "service": "up"}).status == 201
            signed, token = hook_secret(serving), live_token(serving)
            assert (used(serving, upstream), opens(serving, token)) == (SERVICE_KEY["key"], True)
            status, said = rekey(serving)
            assert (status, "is in use by another midstream server" in said) == (1, True)
        leaked = (serving.data / "secret.key").read_bytes()
        assert rekey(serving)[0] == 0
        with serving:
            assert used(serving, upstream) == SERVICE_KEY["key"]
            assert hook_secret(serving) != signed
            assert [opens(serving, one) for one in (token, live_token(serving))] == [False, True]
        (serving.data / "secret.key").write_bytes(leaked)
        assert "secret.key is another one than the database is used with" in refused(serving)


def test_servers_on_one_postgres_are_given_the_new_key(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with Upstream(completion) as upstream, postgres() as server, server.database() as url:
        where = {"MIDSTREAM_DATABASE_URL": url, "MIDSTREAM_SECRET_KEY": "ab" * 32}
        first, second = [Serving(folder, UPSTREAM.format(url=upstream.url), **where) for folder in folders]
        new = "cd" * 32
        with first:
            assert first.ask("POST", "/v1/admin/service_keys", {**SERVICE_KEY, "service": "up"}).status == 201
            status, said = rekey(second, MIDSTREAM_NEW_SECRET_KEY=new)
            assert (status, "stop every server first" in said) == (1, True)
        status, said = rekey(second, MIDSTREAM_NEW_SECRET_KEY=new)
        assert (status, "Every server on this database needs the new key" in said) == (0, True)
        assert "the key in MIDSTREAM_SECRET_KEY ([server] secret_key) is another one" in refused(first)
        second.environ["MIDSTREAM_SECRET_KEY"] = new
        with second:
            assert used(second, upstream) == SERVICE_KEY["key"]
