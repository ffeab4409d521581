"""`midstream rekey`: wherever it is cut short, the next start or the next try finds the database's key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from midstream.app.cli import main
from midstream.app.config import ServerConfig
from midstream.app.keyfiles import sealing_key
from midstream.core.errors import StoreDown
from midstream.core.secret import Secret
from midstream.store import Store, open_store
from midstream.store.orgs import DEFAULT_ORG

DATA = Path("midstream-data")
FILE = DATA / "secret.key"
URL = "sqlite:///midstream-data/midstream.db"
OLD, NEW = "ab" * 32, "cd" * 32


pytestmark = pytest.mark.usefixtures("in_an_empty_directory")


def rekey() -> Result:
    return CliRunner().invoke(main, ["rekey"])


def done() -> str:
    result = rekey()
    assert result.exit_code == 0, result.output
    return result.stdout


def refused() -> str:
    result = rekey()
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


def started(key: str = "", *, store_one: bool = False) -> str | None:
    """What a server finds stored that starts with the configured key, else with the file's."""

    async def run() -> str | None:
        store = await open_store(URL, worker="w")
        try:
            await sealing_key(ServerConfig(data=str(DATA), secret_key=Secret(key)), store)
            nouns = store.org(DEFAULT_ORG).nouns
            if store_one:
                await nouns.create("service_key", "team", b"{}", secret="sk-canary")
            [(_, secret)] = await nouns.sealed("service_key", 10)
            return secret.reveal() if secret is not None else None
        finally:
            await store.close()

    return asyncio.run(run())


def files() -> set[str]:
    return {path.name for path in DATA.glob("secret.key*")}


def test_a_key_in_a_file_is_replaced_by_one_that_only_its_owner_can_read() -> None:
    started(store_one=True)
    old = FILE.read_bytes()
    said = done()
    assert said == "The secret key in midstream-data/secret.key is replaced; sealed anew: 1.\n"
    new = FILE.read_bytes()
    assert new != old
    assert FILE.stat().st_mode & 0o777 == 0o600
    assert (started(), files()) == ("sk-canary", {"secret.key"})
    FILE.write_bytes(old)
    with pytest.raises(StoreDown, match=r"secret\.key is another one than the database is used with"):
        started()
    assert "is another one" in refused()


def test_the_new_key_of_a_file_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    started(store_one=True)
    monkeypatch.setenv("MIDSTREAM_NEW_SECRET_KEY", NEW)
    for said in ("sealed anew: 1", "is used with the new key already"):
        assert said in done()
        assert (FILE.read_bytes().hex(), started(), files()) == (NEW, "sk-canary", {"secret.key"})


def test_a_configured_key_is_replaced_by_the_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started(OLD, store_one=True)
    monkeypatch.setenv("MIDSTREAM_SECRET_KEY", OLD)
    assert "MIDSTREAM_NEW_SECRET_KEY" in refused()
    monkeypatch.setenv("MIDSTREAM_NEW_SECRET_KEY", NEW)
    for said in ("sealed anew: 1.", "is used with the new key already."):
        told = done()
        assert f"{said} Put it where the old one stood: MIDSTREAM_SECRET_KEY, or " in told
        assert not {OLD, NEW} & {*told.split()}
        assert (started(NEW), files()) == ("sk-canary", set())
    with pytest.raises(StoreDown):
        started(OLD)


def test_a_new_key_that_is_none_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    started(store_one=True)
    monkeypatch.setenv("MIDSTREAM_NEW_SECRET_KEY", "abc")
    result = rekey()
    expected = "expected 32 bytes as 64 hexadecimal digits or as base64"
    assert (result.exit_code, result.stderr) == (2, f"MIDSTREAM_NEW_SECRET_KEY: {expected}\n")


def test_where_no_server_has_been_there_is_no_key_to_replace() -> None:
    assert "there is no database in " in refused()
    assert not DATA.exists()
    assert CliRunner().invoke(main, ["migrate"]).exit_code == 0
    assert "no secret key yet" in refused()
    assert files() == set()


def test_under_a_running_server_no_key_is_replaced() -> None:
    async def run() -> str:
        store = await open_store(URL, worker="w")
        try:
            await sealing_key(ServerConfig(data=str(DATA)), store)
            return await asyncio.to_thread(refused)
        finally:
            await store.close()

    said = asyncio.run(run())
    assert "midstream-data is in use by another midstream server" in said
    assert said.endswith(": stop it first\n")
    assert files() == {"secret.key"}


def test_cut_short_before_anything_is_sealed_anew_the_old_key_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    started(store_one=True)
    old = FILE.read_bytes()

    async def struck(store: Store, old: bytes, new: bytes) -> None:
        raise StoreDown("struck")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "replace_key", struck)
        assert "struck" in refused()
    assert len(files()) == 2  # the new key is on the disk before anything else
    assert all((DATA / name).stat().st_mode & 0o777 == 0o600 for name in files())
    assert (FILE.read_bytes(), started()) == (old, "sk-canary")
    assert "sealed anew: 1" in done()
    assert started() == "sk-canary"


def test_cut_short_before_the_file_is_replaced_the_start_says_so_and_the_next_try_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started(store_one=True)
    old = FILE.read_bytes()

    def struck(path: Path, to: Path) -> None:
        raise OSError(5, "struck", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", struck)
        assert "struck" in refused()
    assert (FILE.read_bytes(), len(files())) == (old, 2)
    with pytest.raises(
        StoreDown, match=r"stands in midstream-data/secret\.key\.\w+ still: run `midstream rekey` again"
    ):
        started()
    doctor = CliRunner().invoke(main, ["doctor"]).stdout
    assert "BAD  secret key: the key of the database stands in midstream-data/secret.key." in doctor
    monkeypatch.setenv("MIDSTREAM_NEW_SECRET_KEY", NEW)  # for the next one: this one has its key
    assert "had been cut short" in done()
    assert (started(), files()) == ("sk-canary", {"secret.key"})
    assert FILE.read_bytes() not in {old, bytes.fromhex(NEW)}
