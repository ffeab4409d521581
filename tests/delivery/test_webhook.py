from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from midstream.core.errors import StoreDown
from midstream.delivery import webhook
from midstream.delivery.signing import org_secret, signed
from midstream.delivery.webhook import LADDER, Webhook, Webhooks
from midstream.egress import Egress
from midstream.store import Store
from midstream.store.database import Statement
from midstream.store.deliveries import Deliveries, OrgDeliveries
from midstream.store.ledger import DeliveryAdded
from midstream.store.secrets import SealingKey

from ..store.turns import ORG, with_store

KEY = b"s" * 32


class Receiver:
    """A real server that answers each POST with the next of its statuses; the last one repeats."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.at_once = self.most_at_once = 0
        self.slow = 0.0
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(self.slow)
                self.at_once -= 1
                self.got.append((headers, body))
                status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
                more = "location: http://127.0.0.1:9/\r\n" if 300 <= status < 400 else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: 0\r\n\r\n".encode())


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def sending(store: Store, clock: Clock, allow: tuple[str, ...] = ("127.0.0.1",)) -> AsyncIterator[Webhooks]:
    egress = Egress(allow=allow)
    webhooks = Webhooks(Deliveries(store.db, clock), egress.send, KEY, clock, lambda: 0.5)
    task = asyncio.create_task(_send_on(webhooks))
    try:
        yield webhooks
    finally:
        task.cancel()
        await asyncio.wait([task])
        webhooks.close()
        await egress.close()


async def _send_on(webhooks: Webhooks) -> None:
    while True:
        try:
            await webhooks.send()
        except StoreDown:
            await asyncio.sleep(0.01)


async def put(store: Store, webhooks: Webhooks, target: Webhook, *ids: str, at: float = 1.0) -> None:
    await store.ledger.commit(
        *(DeliveryAdded(id, ORG, "webhook", webhooks.sealed(target, ORG, id), b'{"a":1}', at, at) for id in ids)
    )
    webhooks.wake()


async def until(true: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(10):
        while not await true():
            await asyncio.sleep(0.01)


def test_a_message_arrives_signed_with_its_own_headers_and_is_done(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(204) as receiver, sending(store, clock) as webhooks:
            target = Webhook(receiver.url, {"Authorization": "Bearer x", "webhook-id": "mine"})
            await put(store, webhooks, target, "dlv_1")

            async def delivered() -> bool:
                return (await mine.one("dlv_1")).status == "delivered"

            await until(delivered)
            [(headers, body)] = receiver.got
            assert (headers["authorization"], headers["webhook-id"], body) == ("Bearer x", "dlv_1", b'{"a":1}')
            expected = dict(signed(org_secret(KEY, ORG), "dlv_1", int(clock.now), body))
            assert headers["webhook-signature"] == expected["webhook-signature"]
            stored = repr(await store.db.read("SELECT * FROM deliveries"))
            assert "Bearer x" not in stored

    with_store(sqlite_url, work)


def test_eight_tries_on_the_ladder_then_dead_then_sent_anew(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(*[500] * 8, 200) as receiver, sending(store, clock) as webhooks:
            await put(store, webhooks, Webhook(receiver.url), "dlv_1")
            waited = []
            for tries in range(1, 9):

                async def tried(tries: int = tries) -> bool:
                    row = await mine.one("dlv_1")
                    return row.tries == tries and (row.available_at - clock.now != webhook.HOLD or row.status == "dead")

                await until(tried)
                row = await mine.one("dlv_1")
                if row.status == "waiting":
                    waited.append(row.available_at - clock.now)
                    clock.now = row.available_at
                    webhooks.wake()
            assert [round(seconds) for seconds in waited] == [round(one) for one in LADDER]
            row = await mine.one("dlv_1")
            assert (row.status, row.last_error, len(receiver.got)) == ("dead", "it answered 500", 8)
            await mine.again("dlv_1")
            webhooks.wake()

            async def delivered() -> bool:
                return (await mine.one("dlv_1")).status == "delivered"

            await until(delivered)

    with_store(sqlite_url, work)


def test_gone_is_gone_and_a_redirect_is_a_failure(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(410) as gone, Receiver(307) as moved, sending(store, clock) as webhooks:
            await put(store, webhooks, Webhook(gone.url), "dlv_gone")
            await put(store, webhooks, Webhook(moved.url), "dlv_moved")

            async def both() -> bool:
                return bool((await mine.one("dlv_moved")).last_error) and (await mine.one("dlv_gone")).status == "dead"

            await until(both)
            row = await mine.one("dlv_moved")
            assert (row.status, row.last_error) == ("waiting", "it answered 307")

    with_store(sqlite_url, work)


def test_a_private_address_is_never_asked(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(200) as receiver, sending(store, clock, allow=()) as webhooks:
            await put(store, webhooks, Webhook(receiver.url), "dlv_1")

            async def dead() -> bool:
                return (await mine.one("dlv_1")).status == "dead"

            await until(dead)
            assert receiver.got == []

    with_store(sqlite_url, work)


@pytest.mark.parametrize("url", ["http://[::1", "http://a\u2100b.com/x", "http://[v1.x]/", "nowhere"])
def test_an_address_that_cannot_be_read_ends_its_own_message_and_no_others(sqlite_url: str, url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(204) as receiver, sending(store, clock) as webhooks:
            await put(store, webhooks, Webhook(url), "dlv_bad")
            await put(store, webhooks, Webhook(receiver.url), "dlv_good", at=2.0)

            async def both() -> bool:
                return [(await mine.one(id)).status for id in ("dlv_bad", "dlv_good")] == ["dead", "delivered"]

            await until(both)
            assert "url: this address may not be called" in str((await mine.one("dlv_bad")).last_error)

    with_store(sqlite_url, work)


@pytest.mark.parametrize("target", [b'{"url":"http://x/","of_a_newer_server":1}', b"[]", b"\xff"])
def test_a_target_that_cannot_be_read_is_tried_again_later_and_holds_up_no_other(
    sqlite_url: str, target: bytes
) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(204) as receiver, sending(store, clock) as webhooks:
            sealed = SealingKey(KEY).seal(target, ORG, "dlv_odd")
            await store.ledger.commit(DeliveryAdded("dlv_odd", ORG, "webhook", sealed, b"{}", 1.0, 1.0))
            await put(store, webhooks, Webhook(receiver.url), "dlv_good", at=2.0)

            async def good_arrived_and_odd_failed() -> bool:
                return (await mine.one("dlv_good")).status == "delivered" and bool(
                    (await mine.one("dlv_odd")).last_error
                )

            await until(good_arrived_and_odd_failed)
            row = await mine.one("dlv_odd")
            assert (row.status, row.last_error) == ("waiting", "where it goes cannot be read here")
            assert webhooks.opened(row) is None

    with_store(sqlite_url, work)


def test_a_slow_endpoint_gets_four_at_once_and_holds_up_nobody_else(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(200) as slow, Receiver(200) as quick, sending(store, clock) as webhooks:
            slow.slow = 0.1
            await put(store, webhooks, Webhook(slow.url), *(f"dlv_s{number}" for number in range(12)))
            await put(store, webhooks, Webhook(quick.url), "dlv_q", at=2.0)

            async def quickly() -> bool:
                return (await mine.one("dlv_q")).status == "delivered"

            await until(quickly)
            assert len(slow.got) < 12

            async def all_of_them() -> bool:
                clock.now += 0.2
                webhooks.wake()
                return all(row.status == "delivered" for row in await mine.list())

            await until(all_of_them)
            assert slow.most_at_once == webhook.PER_ENDPOINT
            assert len(slow.got) == 12

    with_store(sqlite_url, work)


def test_a_store_that_is_away_is_no_try_of_a_message_that_waits_for_its_host(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(200) as slow, sending(store, clock) as webhooks:
            slow.slow = 0.3
            write, refused = store.db.write, 0

            async def away(statements: Sequence[Statement]) -> None:
                nonlocal refused
                if any("tries - 1" in sql for sql, _ in statements):
                    refused += 1
                    raise StoreDown
                await write(statements)

            monkeypatch.setattr(store.db, "write", away)
            await put(store, webhooks, Webhook(slow.url), *(f"dlv_{number}" for number in range(5)))
            await store.db.write([("UPDATE deliveries SET tries = 7 WHERE id = 'dlv_4'", ())])  # one more is its last
            webhooks.wake()

            async def was_refused() -> bool:
                return refused > 0

            await until(was_refused)
            monkeypatch.setattr(store.db, "write", write)

            async def four_arrived() -> bool:
                return sum(row.status == "delivered" for row in await mine.list()) >= 4

            await until(four_arrived)
            assert (await mine.one("dlv_4")).last_error is None

            async def delivered() -> bool:
                return (await mine.one("dlv_4")).status == "delivered"

            await until(delivered)
            assert ((await mine.one("dlv_4")).tries, len(slow.got)) == (8, 5)

    with_store(sqlite_url, work)


def test_a_backlog_for_a_slow_host_is_not_taken_up_again_and_again(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        mine = OrgDeliveries(store.db, ORG, clock)
        async with Receiver(200) as slow, Receiver(200) as quick, sending(store, clock) as webhooks:
            slow.slow = 3600.0
            await put(store, webhooks, Webhook(slow.url), *(f"dlv_{number:03}" for number in range(300)))

            async def all_known() -> bool:
                return await store.db.read("SELECT count(*) FROM deliveries WHERE endpoint <> ''") == [(296,)]

            await until(all_known)
            writes, write = 0, store.db.write

            async def counted(statements: Sequence[Statement]) -> None:
                nonlocal writes
                writes += len(statements)
                await write(statements)

            monkeypatch.setattr(store.db, "write", counted)
            for _ in range(20):
                clock.now += 1.0
                webhooks.wake()
                await asyncio.sleep(0.01)
            assert writes == 0
            await put(store, webhooks, Webhook(quick.url), "dlv_quick", at=clock.now)

            async def quickly() -> bool:
                return (await mine.one("dlv_quick")).status == "delivered"

            await until(quickly)
            assert {row.tries for row in await mine.list(status="waiting", limit=500)} == {0, 1}

    with_store(sqlite_url, work)
