"""A store that really fails under a server that serves: a disk that is full, a file that another process has locked,
PostgreSQL whose sessions are ended, that is stopped and started, that stands still. Every request is answered rightly
or by a clear error, and afterwards the rows are exact: nobody had to start the server anew for that."""

from __future__ import annotations

import contextlib
import itertools
import resource
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..postgres import REFUSALS, PrivateServer, owned_by_a_role, private_postgres
from .crashing import Acked, Kind, request
from .serving import Reply, Serving
from .test_crash import TOML, Recording, Seen, answer, check, name_of
from .upstream import Asked, Said
from .waiting import until

KINDS: list[Kind] = ["whole", "stream", "fallback", "first_turn"]
CLIENTS = 8
#: Seconds: for anything that is to happen soon on a busy machine; that the store is away; that an answer may take then;
#: from its return to full service.
SOON, AWAY, PROMPT, RECOVERY = 30.0, 2.0, 6.0, 10.0
#: A call with this in its name begins before the trouble and ends in it.
SLOW = "slow"
RUNS = "/v1/admin/runs?limit=1000"
Trouble = Callable[[Serving], AbstractContextManager[None]]


def held_until(away: threading.Event) -> Callable[[Asked], Said]:
    """Slow calls begin and end only when the store is away: their rows have to wait for it."""

    def pieces(said: Said) -> Iterator[bytes | float]:
        first, *rest = said.pieces
        yield first
        while not away.is_set():
            yield 0.01
        yield from rest

    def slowly(asked: Asked) -> Said:
        said = answer(asked)
        if asked.method == "POST" and SLOW in name_of(asked):
            return Said(pieces(said), content_type=said.content_type)
        return said

    return slowly


class Load:
    """Clients that go on asking, whatever they are told. answered, refused: how often. slowest: seconds.
    later: how often the server said that rows must wait for the store."""

    def __init__(self, serving: Serving) -> None:
        self.acked: dict[str, Acked] = {}
        self.slowest = 0.0
        self.answered = 0
        self.refused = 0
        self.later = self.why = 0
        self.unready = ""
        self._serving = serving
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(client,)) for client in range(CLIENTS)]
        self._slow = [threading.Thread(target=self._ask, args=("stream", f"stream-{SLOW}-{n}")) for n in range(3)]

    def start(self, upstream: Recording) -> None:
        for thread in [*self._slow, *self._threads]:
            thread.start()
        until(lambda: len([one for one in list(upstream.asked) if SLOW in name_of(one)]) == len(self._slow), SOON)
        until(lambda: len(self.acked) >= CLIENTS, SOON)

    def stop(self) -> None:
        self._over.set()
        for thread in [*self._threads, *self._slow]:
            thread.join()

    def _ask_on(self, client: int) -> None:
        for count in itertools.count():
            if self._over.wait(0.1):
                return
            kind = KINDS[client % len(KINDS)]
            self._ask(kind, f"{kind}-{client}-{count}")

    def _ask(self, kind: Kind, name: str) -> None:
        path, body = request(kind, name, "")
        began = time.monotonic()
        reply = self._serving.ask("POST", path, body, x_request_id=name)
        if SLOW not in name:
            self.slowest = max(self.slowest, time.monotonic() - began)
        self.acked[name] = Acked(name, reply.status, reply.body.decode(), True)
        if reply.status == 200:
            self.answered += 1
        else:
            self.refused += 1
            _refused_well(reply)


def _refused_well(reply: Reply) -> None:
    assert reply.status == 503, (reply.status, reply.body)
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json["error"]["code"] == "store_unavailable"


def survived(url: str, folder: Path, trouble: Trouble, seconds: float = AWAY) -> Load:
    """The load of a server through that trouble; everything that must hold for every trouble has been checked."""
    away = threading.Event()
    with Recording() as upstream:
        upstream.answer = held_until(away)
        config = TOML.format(data=folder / "data", url=url, upstream=upstream.url)
        with Serving(folder, config) as serving:
            load = Load(serving)
            load.start(upstream)
            with trouble(serving):
                away.set()
                time.sleep(seconds)
                load.unready = serving.ask("GET", "/readyz", key="").json.get("reason", "")
            answered = load.answered
            until(lambda: load.answered > answered + CLIENTS, RECOVERY)
            load.stop()
            until(lambda: not any(row["status"] == "started" for row in serving.attempts()), SOON)
            until(lambda: all(run["status"] != "running" for run in serving.ask("GET", RUNS).json["data"]), SOON)
            log = serving.log()
            load.later = log.count("the store is away: settling")
            load.why = log.count("the database does not take what is written: ")
        _check(Seen(url, upstream, load.acked), load, log)
    return load


def _check(seen: Seen, load: Load, log: str) -> None:
    check(seen, "before")
    slow = [one for name, one in load.acked.items() if SLOW in name]
    assert all(one.status == 200 and one.body.endswith("data: [DONE]\n\n") for one in slow), slow
    assert "Traceback" not in log
    assert "bug_" not in log


def told(load: Load) -> None:
    """The store took nothing: new requests are refused soon, and what had been called is settled when it is back."""
    assert load.refused, "nobody was told"
    assert load.slowest < PROMPT
    assert load.later >= 1, "nothing had to wait for the store"


def file_of(serving: Serving, end: str = "") -> Path:
    return serving.data / f"midstream.db{end}"


@contextlib.contextmanager
def no_larger_file(serving: Serving) -> Iterator[None]:
    """The log of the database may not grow any more."""
    assert serving.process is not None
    pid, (_, hard) = serving.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_of(serving, "-wal").stat().st_size, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def full_disk(serving: Serving) -> Iterator[None]:
    """Every block of it is taken by something else."""
    ballast = serving.data / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    yield
    ballast.unlink()


@contextlib.contextmanager
def locked_file(serving: Serving) -> Iterator[None]:
    """By another process, for longer than anybody waits."""
    other = sqlite3.connect(file_of(serving), isolation_level=None, timeout=SOON)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, which the server's data lies on."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "midstream-test", str(data)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(data)], check=True)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/data/midstream.db"


@pytest.mark.parametrize("trouble", [no_larger_file, locked_file])
def test_a_file_that_cannot_be_written_for_a_while_is_told_and_loses_nothing(tmp_path: Path, trouble: Trouble) -> None:
    load = survived(sqlite_url(tmp_path), tmp_path, trouble)
    told(load)
    assert load.unready
    assert load.why == 1  # not with every request


@pytest.mark.long
def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    load = survived(sqlite_url(small_disk), small_disk, full_disk)
    told(load)
    assert "is full" in load.unready
    assert load.why == 1


def test_a_disk_that_may_only_be_read_is_refused_in_one_line_at_the_start(small_disk: Path) -> None:
    with Serving(small_disk) as serving:
        assert serving.ask("GET", "/readyz").status == 200
    remount = ["mount", "-o", "remount,ro", str(serving.data)]
    subprocess.run(remount, check=True)
    with pytest.raises(AssertionError, match="the server has ended"):
        serving.start()
    assert "Traceback" not in serving.log()
    assert "Read-only file system" in serving.log()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivateServer]:
    with private_postgres() as server:
        yield server


def test_sessions_of_postgres_that_are_ended_again_and_again_cost_no_row(
    postgres: PrivateServer, tmp_path: Path
) -> None:
    url = postgres.create()
    name = urlsplit(url).path.removeprefix("/")
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"

    @contextlib.contextmanager
    def storm(serving: Serving) -> Iterator[None]:
        over = threading.Event()

        def end_them() -> None:
            while not over.wait(0.02):
                postgres.sql(ended)

        ending = threading.Thread(target=end_them)
        ending.start()
        yield
        over.set()
        ending.join()

    survived(url, tmp_path, storm)
    postgres.drop(url)


def test_a_postgres_that_is_stopped_and_started_again_costs_no_row(postgres: PrivateServer, tmp_path: Path) -> None:
    @contextlib.contextmanager
    def restarted(serving: Serving) -> Iterator[None]:
        postgres.stop()
        try:
            yield
        finally:
            postgres.start()

    told(survived(postgres.create(), tmp_path, restarted))


@pytest.mark.long
def test_a_postgres_that_stands_still_for_longer_than_anybody_waits_costs_no_row(
    postgres: PrivateServer, tmp_path: Path
) -> None:
    @contextlib.contextmanager
    def frozen(serving: Serving) -> Iterator[None]:
        postgres.freeze()
        try:
            yield
        finally:
            postgres.freeze(signal.SIGCONT)

    told(survived(postgres.create(), tmp_path, frozen, PROMPT))


@contextlib.contextmanager
def letting_nobody_in(postgres: PrivateServer, name: str, role: str, how: str) -> Iterator[None]:
    off, on = (sql.format(name, role) for sql in REFUSALS[how])
    postgres.sql(off)
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        yield
    finally:
        postgres.sql(on)


@pytest.mark.parametrize("how", ["revoked", "no connections"])
def test_a_postgres_that_lets_nobody_in_for_a_while_costs_no_row(
    postgres: PrivateServer, tmp_path: Path, how: str
) -> None:
    with owned_by_a_role(postgres, postgres.create()) as (url, name, role):
        told(survived(url, tmp_path, lambda serving: letting_nobody_in(postgres, name, role, how)))


def test_what_goes_on_beside_the_requests_goes_on_after_a_postgres_that_let_nobody_in(
    postgres: PrivateServer, tmp_path: Path
) -> None:
    with (
        owned_by_a_role(postgres, postgres.create()) as (url, name, role),
        Serving(tmp_path, MIDSTREAM_DATABASE_URL=url) as serving,
    ):
        with letting_nobody_in(postgres, name, role, "revoked"):
            time.sleep(11)  # a heartbeat, too, finds nobody
            assert serving.ask("GET", "/readyz").status == 503
            refused = later(serving)
            assert (refused.status, refused.json["code"]) == (503, "store_unavailable")
        until(lambda: serving.ask("GET", "/readyz").status == 200, RECOVERY)
        id = later(serving).json["message_id"]
        until(lambda: serving.ask("GET", f"/v1/admin/jobs/{id}").json["status"] == "done", RECOVERY)
        until(lambda: len(serving.ask("GET", "/v1/admin/transactions").json["data"]) == 1, RECOVERY)
        until(lambda: len(serving.ask("GET", "/v1/admin/metrics?bucket=raw").json["data"]) == 1, RECOVERY)
        until(lambda: "heartbeat: goes on" in serving.log(), RECOVERY)
        assert "bug_" not in serving.log()


def later(serving: Serving) -> Reply:
    form = {"type": "queue", "cred": {"name": "q"}}
    asked = {"user": "say 2 words", "service": "midstream", "model": "rehearsal", "response_format": form}
    return serving.ask("POST", "/api/v2/model/chat/completion", asked)
