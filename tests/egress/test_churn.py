"""A client that hangs up is a gateway's normal load: cancelling anywhere must cost nothing but that exchange."""

import asyncio
import contextlib
import os
import random

import pytest


async def pacing(exchange):
    """Answers in small steps, so that a cancel falls into every phase."""
    await exchange.request()
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    await asyncio.sleep(0)
    await exchange.send(b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(5):
        await exchange.send(b"5\r\nhello\r\n")
        await asyncio.sleep(0.0005)
    await exchange.send(b"0\r\n\r\n")


async def churn(egress, ask, url, count, workers, seed):
    rng = random.Random(seed)
    cancelled = finished = 0

    async def one():
        answer = await egress.send(ask(url))
        try:
            if rng.random() < 0.5:
                got = []
                await answer.pump(got.append)
                body = b"".join(got)
            else:
                body = await answer.read()
            assert body == b"hello" * 5
        finally:
            answer.close()

    async def worker():
        nonlocal cancelled, finished
        for _ in range(count // workers):
            task = asyncio.create_task(one())
            chance = rng.random()
            if chance < 0.1:
                await task
            elif chance < 0.2:
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(rng.random() * 0.012)
            if task.cancel():
                cancelled += 1
            with contextlib.suppress(asyncio.CancelledError):
                await task
                finished += 1

    await asyncio.gather(*(worker() for _ in range(workers)))
    return cancelled, finished


@pytest.mark.parametrize("secure", [False, True])
def test_cancels_at_any_moment_leave_nothing_behind(run, serve, door, ask, authority, secure):
    async def go():
        tls = authority.server() if secure else None
        async with serve(pacing, tls=tls) as upstream, door(ca_file=authority.pem) as egress:
            files = len(os.listdir("/proc/self/fd"))
            count = 600 if secure else 2000
            cancelled, finished = await churn(egress, ask, upstream.url, count, 20, seed=1)
            assert cancelled > count / 10
            assert finished > count / 50
            for _ in range(10):
                assert await (await egress.send(ask(upstream.url))).read() == b"hello" * 5
            assert egress.open == egress.idle <= 20
            assert all(connection.exchange is None for connection in egress._pool.live)
            await egress.close()
            await asyncio.sleep(0.1)
            assert len(os.listdir("/proc/self/fd")) <= files + 2

    run(go)


@pytest.mark.long
def test_ten_thousand_cancels(run, serve, door, ask):
    async def go():
        async with serve(pacing) as upstream, door() as egress:
            for seed in range(5):
                await asyncio.wait_for(churn(egress, ask, upstream.url, 2000, 40, seed), 60)
            assert await (await egress.send(ask(upstream.url))).read() == b"hello" * 5
            assert egress.open == egress.idle

    run(go)
