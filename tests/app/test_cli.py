"""The commands as a person types them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from midstream import __version__
from midstream.app.cli import main
from midstream.store import open_store, visited
from midstream.store.ledger import AttemptStarted, RunStarted

HERE = str(Path(__file__).resolve().parents[2])


pytestmark = pytest.mark.usefixtures("in_an_empty_directory")


def run(*words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=input)


def good(*words: str, input: str | None = None) -> str:
    result = run(*words, input=input)
    assert result.exit_code == 0, result.output
    return result.stdout


class Serving:
    """A server in a process of its own. log: its first line on stdout."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-c", "from midstream.app.cli import main; main()", "serve", "--port", "0", *options]
        environ = {**os.environ, "PYTHONPATH": HERE}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
        assert self.process.stdout is not None
        self.log = self.process.stdout.readline()
        assert self.log, self.process.communicate()[1]
        self.port = json.loads(self.log)["message"].rpartition(":")[2]

    def end(self) -> str:
        """What it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)[1]


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    server = Serving()
    monkeypatch.setenv("MIDSTREAM_PORT", server.port)
    yield server
    if server.process.poll() is None:
        server.end()


def test_the_command_takes_nothing_from_the_directory_in_which_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit(3)")
    command = Path(sys.executable).parent / "midstream"
    told = subprocess.run([command, "version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, f"midstream {__version__}\n")


def test_version_is_the_packages() -> None:
    assert good("version") == f"midstream {__version__}\n"


def test_every_command_explains_itself() -> None:
    for name in ("serve", "check", "migrate", "keys", "models", "providers", "chat", "doctor", "rekey", "version"):
        assert name in good("--help")
        assert good(name, "--help")


def test_a_mistake_in_the_file_is_one_line_and_status_2() -> None:
    Path("midstream.toml").write_text("[server]\nprot = 1\n")
    for command in (["check"], ["serve"], ["migrate"], ["models"], ["rekey"], ["keys", "list"]):
        result = run(*command)
        assert result.exit_code == 2
        assert result.stderr == "midstream.toml:2: server.prot: unknown key (did you mean port?)\n"


def test_a_secret_key_that_is_none_is_told_alike_by_every_command_and_nothing_is_announced() -> None:
    Path("midstream.toml").write_text('[server]\nsecret_key = "abc"\n')
    said = "midstream.toml:2: server.secret_key: expected 32 bytes as 64 hexadecimal digits or as base64\n"
    for command in ("check", "serve"):
        result = run(command)
        assert (result.exit_code, result.stderr, result.stdout) == (2, said, "")
    assert f"BAD  configuration: {said}" in run("doctor").stdout
    assert not Path("midstream-data").exists()


def test_check_says_what_the_configuration_means() -> None:
    Path("c.toml").write_text(
        "[providers.x]\nkind='openai_compatible'\nbase_url='http://127.0.0.1:1'\n[models.fast]\ntargets=['x/y']"
    )
    said = good("check", "--config", "c.toml")
    assert "providers: x\n" in said
    assert "aliases:   fast\n" in said


def test_a_target_whose_provider_is_missing_is_warned_of_and_the_rest_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("midstream.toml").write_text("[models.fast]\ntargets = ['midstream/rehearsal', 'openai/gpt-4o-mini']")
    said = "midstream.toml:2: models.fast.targets[1]: no provider openai is configured: set OPENAI_API_KEY"
    result = run("check")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "The configuration is good.")
    assert result.stderr.startswith(f"warning: {said}")
    assert f"ok   configuration: can be read, but {said}" in good("doctor")
    server = Serving()
    assert server.process.stdout is not None
    first, ready = json.loads(server.log), json.loads(server.process.stdout.readline())
    assert (first["level"], first["message"][: len(said)]) == ("warning", said)
    monkeypatch.setenv("MIDSTREAM_PORT", ready["message"].rpartition(":")[2])
    assert "You said (2 words)" in good("chat", "--model", "fast", "hello there")
    server.end()


def test_an_unusable_option_is_refused_before_anything_starts() -> None:
    result = run("serve", "--role", "boss")
    assert result.exit_code == 2
    assert result.stderr.startswith("--role: server.role: expected one of all, api, worker")
    assert not Path("midstream-data").exists()


@pytest.mark.parametrize("command", ["serve", "check", "migrate", "models", "providers", "chat", "doctor", "rekey"])
def test_every_command_can_be_told_where_the_server_has_its_data_and_its_file(command: str) -> None:
    for said in (good(command, "--help"), good("keys", "create", "--help")):
        assert "--config FILE" in said
        assert "--data DIR" in said


def test_keys_are_made_listed_and_revoked_without_a_server() -> None:
    good("migrate")
    key = good("keys", "create", "mine", "--scope", "chat").strip()
    assert key.startswith("ms-")
    listed = good("keys", "list")
    assert "valid" in listed
    assert key not in listed
    good("keys", "revoke", listed.split()[0])
    assert "revoked" in good("keys", "list")
    assert run("keys", "revoke", "key_none").stderr.startswith("Error: ")


@pytest.mark.parametrize("words", [("create", "mine"), ("list",), ("revoke", "key_1")])
def test_keys_of_a_database_that_is_not_there_are_refused_and_none_is_made(words: tuple[str, ...]) -> None:
    result = run("keys", *words)
    assert result.exit_code == 1
    assert f"there is no database in {Path('midstream-data/midstream.db').absolute()}: " in result.stderr
    for way in ("--data", "MIDSTREAM_DATA", "--config", "MIDSTREAM_DATABASE_URL", "midstream serve"):
        assert way in result.stderr
    assert not Path("midstream-data").exists()


def test_keys_go_to_the_data_directory_that_is_named() -> None:
    good("migrate", "--data", "var")
    good("keys", "create", "theirs", "--data", "var")
    Path("c.toml").write_text("[server]\ndata = 'var'")
    assert "theirs" in good("keys", "list", "--config", "c.toml")
    assert [*Path().glob("*/midstream.db")] == [Path("var/midstream.db")]


def test_a_key_for_another_data_directory_than_the_running_servers_is_made_with_a_word_of_it(serving: Serving) -> None:
    good("migrate", "--data", "var")
    made = run("keys", "create", "theirs", "--data", "var")
    assert made.stdout.startswith("ms-")
    at = f"http://127.0.0.1:{serving.port}"
    assert made.stderr == f"The server that answers at {at} does not use this database: {Path('var').absolute()}\n"
    assert run("keys", "create", "ours").stderr == ""


def test_a_key_can_be_limited_and_a_scope_that_does_not_exist_is_refused_with_those_that_do() -> None:
    good("migrate")
    assert good("keys", "create", "slow", "--per-minute", "30").startswith("ms-")
    assert "30/min" in good("keys", "list")
    refused = run("keys", "create", "mine", "--scope", "everything")
    assert refused.exit_code == 2
    assert "'chat', 'embeddings', 'read', 'admin'" in refused.stderr


def test_a_key_has_one_line_in_the_list_whatever_its_name(serving: Serving) -> None:
    refused = run("keys", "create", "a\nb")
    assert refused.exit_code == 2
    assert "one line" in refused.stderr
    key = Path("midstream-data/admin.key").read_text().strip()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{serving.port}/v1/admin/keys", json.dumps({"name": "a\nb\x1b[31m"}).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )  # fmt: skip
    urllib.request.urlopen(asked).close()
    assert [line.split()[4] for line in good("keys", "list").splitlines()] == [r"a\nb\x1b[31m"]


@pytest.mark.parametrize("command", [("create", "x"), ("list",), ("revoke", "key_1")])
def test_an_empty_name_of_an_org_is_not_the_first_ones(command: tuple[str, ...]) -> None:
    good("migrate")
    refused = run("keys", *command, "--org", "")
    assert refused.exit_code == 2
    assert "--org" in refused.stderr


def test_keys_of_an_org_that_is_not_there_are_not_an_empty_list() -> None:
    good("migrate")
    assert run("keys", "list", "--org", "org_nope").stderr.startswith("Error: ")


def test_keys_are_made_listed_and_revoked_through_the_running_server(serving: Serving) -> None:
    key = good("keys", "create", "mine", "--days", "2").strip()
    listed = good("keys", "list")
    assert key[:9] in listed
    good("keys", "revoke", listed.split()[0])
    assert "revoked" in good("keys", "list")
    assert run("keys", "revoke", "key_none").stderr.startswith("Error: ")


def test_a_server_that_is_ready_can_be_ended_in_order_at_once() -> None:
    for _ in range(4):
        server = Serving()
        server.end()
        assert server.process.returncode == 0


def test_a_server_that_listens_elsewhere_is_not_said_to_be_none(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSTREAM_PORT", "1")
    result = run("keys", "create", "app")
    assert result.exit_code == 1
    assert "a server uses this data directory, but none answers at http://127.0.0.1:1" in result.stderr
    assert "MIDSTREAM_PORT" in result.stderr
    assert "serve" not in result.stderr.replace("server", "")


def test_the_first_start_makes_a_key_that_only_the_owner_can_read(serving: Serving) -> None:
    file = Path("midstream-data/admin.key")
    key = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    line = json.loads(serving.log)
    assert (line["level"], line["logger"]) == ("info", "midstream.server")
    said = serving.end()
    assert str(file) in said
    assert key not in said
    assert Serving().end()
    assert file.read_text().strip() == key


def test_chat_takes_an_address_that_ends_in_a_slash(serving: Serving) -> None:
    assert "You said" in good("chat", "--url", f"http://127.0.0.1:{serving.port}/", "hello there")


def test_chat_prints_the_answer(serving: Serving) -> None:
    assert "You said (2 words): hello there" in good("chat", "hello there")
    assert "word1 word2 word3" in good("chat", input="say 3 words\n/bye\n")


def test_chat_tells_after_each_answer_its_tokens_and_what_it_has_cost(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("chat", "say 3 words").stderr == "[3 tokens in, 3 out, no price is known]\n"
    Path("second.toml").write_text(f"""
[providers.first]
kind = "openai_compatible"
base_url = "http://127.0.0.1:{serving.port}/v1"
api_key = "{Path("midstream-data/admin.key").read_text().strip()}"
models = ["midstream/*"]
prices = {{ "*" = {{ input = "1000", output = "2000" }} }}
""")
    server = Serving("--config", "second.toml", "--data", "second")
    monkeypatch.setenv("MIDSTREAM_PORT", server.port)
    ask = ("chat", "--config", "second.toml", "--data", "second", "--model", "first/midstream/rehearsal")
    try:
        told = run(*ask, "say 3 words")
        assert (told.stdout, told.stderr) == ("word1 word2 word3\n", "[3 tokens in, 3 out, 0.009 USD]\n")
        lines = run(*ask, input="say 2 words\nsay 1 words\n").stderr.splitlines()
        assert lines == ["[3 tokens in, 2 out, 0.007 USD]", "[8 tokens in, 1 out, 0.01 USD]"]
        key = good("keys", "create", "mine", "--scope", "chat", "--config", "second.toml", "--data", "second").strip()
        Path("second/admin.key").write_text(key)  # one that may not read accounts
        assert run(*ask, "say 3 words").stderr == "[3 tokens in, 3 out]\n"
    finally:
        server.end()


def test_chat_with_a_server_whose_data_are_elsewhere_says_so_and_makes_no_key(serving: Serving) -> None:
    result = run("chat", "--data", "elsewhere", "hi")
    assert result.exit_code == 1
    assert f"there is no admin key in {Path('elsewhere/admin.key').absolute()}" in result.stderr
    assert not Path("elsewhere").exists()
    assert "You said" in good("chat", "--data", "midstream-data", "hi")


def test_chat_says_why_there_is_no_answer(serving: Serving) -> None:
    result = run("chat", "--model", "nobody/knows", "hi")
    assert result.exit_code == 1
    assert "does not exist here" in result.stderr
    result = run("chat", "cut")
    assert result.exit_code == 1
    assert "cut off" in result.stderr


def test_chat_without_a_server_says_so() -> None:
    result = run("chat", "--url", "http://127.0.0.1:1", "hi")
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:1" in result.stderr


def test_models_and_providers_name_what_can_be_asked() -> None:
    Path("midstream.toml").write_text(
        "[providers.x]\nkind='openai_compatible'\nbase_url='http://127.0.0.1:1'\nmodels=['a', 'b*']\n"
        "[providers.y]\nkind='openai_compatible'\nbase_url='http://127.0.0.1:1'\n[models.fast]\ntargets=['x/a']"
    )
    assert good("models", "--offline").split() == ["fast", "x/a", "midstream/rehearsal"]
    assert run("models").stderr.startswith("y: ")
    assert [line.split()[:2] for line in good("providers").splitlines()[:2]] == [
        ["x", "openai_compatible"],
        ["y", "openai_compatible"],
    ]


def test_migrate_makes_the_database() -> None:
    good("migrate")
    assert Path("midstream-data/midstream.db").exists()


def test_doctor_is_content_with_an_empty_directory_and_leaves_it_empty() -> None:
    said = good("doctor")
    assert "BAD" not in said
    assert "set OPENAI_API_KEY" in said
    assert [*Path().iterdir()] == []


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the listener that did not get its port
def test_doctor_is_content_with_the_server_that_runs(serving: Serving) -> None:
    said = good("doctor")
    assert f"ok   port: 127.0.0.1:{serving.port}: the server is running" in said
    assert "ok   database: SQLite: " in said
    assert f"(process {serving.process.pid})" in said
    assert "stop it" not in said


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_doctor_names_each_trouble(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    good("migrate", "--data", "var")
    Path("var/admin.key").write_text("ms-admin-another")
    result = run("doctor", "--data", "var")
    assert result.exit_code == 1
    assert f"BAD  port: 127.0.0.1:{serving.port}: a midstream server answers there, but not to " in result.stdout
    Path("var/admin.key").unlink()
    assert "BAD  port" in run("doctor", "--data", "var").stdout
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        Path("midstream.toml").write_text(f"[server]\nport = {port}\ndata = 'var'")
        monkeypatch.delenv("MIDSTREAM_PORT")
        said = run("doctor").stdout
        assert f"BAD  port: 127.0.0.1:{port}: Address already in use" in said
    Path("midstream.toml").write_text("[server]\nprot = 1")
    assert "BAD  configuration: midstream.toml:2:" in run("doctor").stdout
    Path("midstream.toml").write_text("[server]\ndata = 'midstream.toml'")
    assert "BAD  data directory" in run("doctor").stdout


LEFT = AttemptStarted("att_1", "run_1", "org_default", "k", 1, "p", "m", 1000, 1.0)


async def leave_behind(url: str) -> None:
    """What a server leaves that was killed in the middle of a call."""
    store = await open_store(url, worker="w")
    run = RunStarted("run_1", "org_default", "k", "chat", "openai_chat", "m", None, "req_1", 1.0)
    await store.ledger.commit(run, LEFT)
    await store.db.close()


async def read(url: str, sql: str) -> list[tuple[Any, ...]]:
    async with visited(url) as store:
        return await store.db.read(sql)


@pytest.mark.parametrize("words", [("doctor",), ("keys", "list"), ("keys", "create", "app"), ("migrate",)])
def test_what_a_crash_left_is_settled_by_the_server_who_knows_the_prices(words: tuple[str, ...]) -> None:
    url = "sqlite:///midstream-data/midstream.db"
    asyncio.run(leave_behind(url))
    good(*words)
    assert asyncio.run(read(url, "SELECT status FROM attempts")) == [("started",)]


def test_a_database_of_an_older_version_is_brought_up_to_date_by_migrate_and_the_start_alone() -> None:
    url = "sqlite:///midstream-data/midstream.db"
    good("migrate")

    async def age() -> None:
        async with visited(url) as store:
            await store.db.write([("DELETE FROM schema_version WHERE number > 14", ())])
            await store.db.alter([("DROP TABLE sealing_key", ())])

    asyncio.run(age())
    old = "the database is of an older version"
    assert f"ok   database: SQLite: {old}" in good("doctor")
    for words in (("keys", "list"), ("keys", "create", "app"), ("rekey",)):
        result = run(*words)
        assert result.exit_code == 1
        assert old in result.stderr
        assert "`midstream migrate`" in result.stderr
    assert asyncio.run(read(url, "SELECT max(number) FROM schema_version")) == [(14,)]


def files() -> dict[str, str]:
    """What stands in each file of the data directory."""
    found = Path("midstream-data").iterdir()
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("words", [("doctor",), ("keys", "list"), ("keys", "create", "app")])
def test_a_command_that_refuses_an_older_database_changes_no_file_and_makes_none(
    words: tuple[str, ...], journal: str
) -> None:
    good("migrate")
    with contextlib.closing(sqlite3.connect("midstream-data/midstream.db")) as connection:
        connection.execute("DELETE FROM schema_version WHERE number > 14")
        connection.commit()
        connection.execute(f"PRAGMA journal_mode = {journal}")
    Path("midstream-data/midstream.lock").unlink()
    before = files()
    result = run(*words)
    assert "the database is of an older version" in result.stdout + result.stderr
    assert files() == before
    assert [*before] == ["midstream.db"]


@pytest.mark.parametrize("words", [("doctor",), ("keys", "list")])
def test_a_command_that_finds_an_empty_file_leaves_it_empty(words: tuple[str, ...]) -> None:
    Path("midstream-data").mkdir()
    Path("midstream-data/midstream.db").touch()
    result = run(*words)
    assert "the database is empty" in result.stdout + result.stderr
    assert files() == {"midstream.db": hashlib.sha256(b"").hexdigest()}


def test_doctor_changes_no_file_of_a_database_that_is_up_to_date() -> None:
    good("migrate")
    Path("midstream-data/midstream.lock").unlink()
    before = files()
    assert "ok   database: SQLite\n" in good("doctor")
    assert files() == before


def test_doctor_reads_what_a_killed_server_has_left_in_the_log() -> None:
    async def leave() -> None:
        store = await open_store("sqlite:///midstream-data/midstream.db", worker="w")
        for path in Path("midstream-data").iterdir():  # as it stands while the server runs
            shutil.copy(path, Path("left") / path.name)
        await store.close()

    Path("left").mkdir()
    asyncio.run(leave())
    Path("left/midstream.lock").unlink()
    assert Path("left/midstream.db-wal").stat().st_size
    said = good("doctor", "--data", "left")
    assert "ok   database: SQLite\n" in said
    assert "midstream.lock" not in {path.name for path in Path("left").iterdir()}


def test_doctor_says_of_a_file_that_is_no_database_that_it_is_none() -> None:
    Path("midstream-data").mkdir()
    Path("midstream-data/midstream.db").write_bytes(b"no database" * 100)
    assert "cannot be opened: file is not a database" in run("doctor").stdout


def test_doctor_names_a_directory_that_it_may_not_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    home = tempfile.TemporaryDirectory()  # pytest's own is closed to others than its user
    monkeypatch.chdir(home.name)
    Path().chmod(0o755)
    good("migrate", "--data", "var/data")
    Path("var").chmod(0)
    mine = os.geteuid()
    try:
        if mine == 0:
            os.seteuid(65534)
        said = run("doctor", "--data", "var/data").stdout
    finally:
        os.seteuid(mine)
        Path("var").chmod(0o755)
    assert "BAD  data directory: " in said
    assert "BAD  database: SQLite: " in said
    assert said.count("Permission denied") == 2
    assert "providers: " in said
    home.cleanup()


def test_doctor_knows_a_secret_key_that_is_not_the_databases() -> None:
    server = Serving("--data", "var")
    server.end()
    assert "ok   secret key: " in good("doctor", "--data", "var")
    Path("var/secret.key").unlink()
    result = run("doctor", "--data", "var")
    assert result.exit_code == 1
    assert "BAD  secret key: the database is used with a secret key that is not here: var/secret.key" in result.stdout
    assert not Path("var/secret.key").exists()
    Path("var/secret.key").write_bytes(b"short")
    assert "BAD  secret key: var/secret.key does not hold 32 bytes" in run("doctor", "--data", "var").stdout


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", "from midstream.app.cli import main; main()", "serve", "--port", str(port)],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": HERE}, timeout=30, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: Address already in use" in done.stderr
