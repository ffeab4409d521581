"""The sink: order, backpressure, errors, limits, cancelling."""

import asyncio
import contextlib
import os
import tracemalloc

import pytest

from midstream.core.errors import Cut, Garbled

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def scripted(*pieces, then="hang", pause=0.0):
    async def script(exchange):
        await exchange.request()
        for piece in pieces:
            await exchange.send(piece)
            if pause:
                await asyncio.sleep(pause)
        if then == "end":
            exchange.end()
        elif then == "reset":
            exchange.reset()
        elif then == "hang":
            await exchange.hang()

    return script


def test_each_chunk_reaches_the_sink_in_order_and_as_it_arrives(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.send(CHUNKED)
        for number in range(200):
            await exchange.send(chunk(b"data: %d\n\n" % number))
            # The next one is sent only when the sink has seen this one: nothing is held back.
            while number >= len(exchange.upstream.seen):
                await asyncio.sleep(0)
        await exchange.send(b"0\r\n\r\n")

    async def go():
        async with serve(script) as upstream, door() as egress:
            upstream.seen = []
            for _ in range(2):
                upstream.seen.clear()
                answer = await egress.send(ask(upstream.url))
                await answer.pump(upstream.seen.append)
                answer.close()
                assert upstream.seen == [b"data: %d\n\n" % number for number in range(200)]
            assert upstream.connections == 1

    run(go)


def test_a_sink_that_says_stop_gets_nothing_until_resume_and_then_everything(run, serve, door, ask):
    body = os.urandom(3_000_000)

    async def go():
        async with serve(scripted(CHUNKED, chunk(body), b"0\r\n\r\n", then="again")) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            loop = asyncio.get_running_loop()
            got, stopped = [], False

            def sink(piece):
                nonlocal stopped
                assert not stopped
                got.append(piece)
                if len(got) % 3 == 0:
                    stopped = True
                    loop.call_later(0.001, go_on)
                    return False
                return None

            def go_on():
                nonlocal stopped
                stopped = False
                answer.resume()

            await answer.pump(sink)
            assert b"".join(got) == body
            assert egress.idle == 1

    run(go)


@pytest.mark.parametrize("reader", ["nobody pumps", "the sink says stop"])
def test_an_answer_nobody_takes_fills_the_socket_and_not_our_memory(run, serve, door, ask, reader):
    sent = 0

    async def script(exchange):
        nonlocal sent
        await exchange.request()
        await exchange.send(CHUNKED)
        piece = chunk(bytes(65536))
        while True:
            await exchange.send(piece)
            sent += 65536

    async def go():
        async with serve(script) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url, between=0.05))
            pumping = None
            if reader == "the sink says stop":
                pumping = asyncio.create_task(answer.pump(lambda piece: False))
            tracemalloc.start()
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.1)
            assert answer._held_size <= 64 * 1024 + 256 * 1024
            assert tracemalloc.get_traced_memory()[0] < 4_000_000
            tracemalloc.stop()
            assert egress.open == 1  # our own slowness is not the upstream's silence
            answer.close()
            assert egress.open == 0
            if pumping:
                with pytest.raises(Cut):
                    await pumping

    run(go)


@pytest.mark.parametrize("error", [Garbled("mine"), LookupError("mine")])
def test_an_error_of_the_sink_comes_out_of_pump_and_closes_the_connection(run, serve, door, ask, error):
    told = []

    async def go():
        async with serve(scripted(CHUNKED, chunk(b"a"), chunk(b"b"), pause=0.02)) as upstream, door() as egress:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
            answer = await egress.send(ask(upstream.url))

            def sink(piece):
                raise error

            with pytest.raises(type(error), match="mine"):
                await answer.pump(sink)
            assert egress.open == 0

    run(go)
    assert told == ([] if isinstance(error, Garbled) else [error])  # a bug is the loop's to tell of as well


def test_an_error_of_the_sink_comes_out_of_pump_also_at_the_last_piece(run, serve, door, ask):
    async def go():
        pieces = (CHUNKED, chunk(b"a") + b"0\r\n\r\n")  # piece and end in one read
        async with serve(scripted(*pieces, then="again", pause=0.02)) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))

            def sink(piece):
                raise Garbled("mine")

            with pytest.raises(Garbled, match="mine"):
                await answer.pump(sink)

    run(go)


def test_what_one_read_of_the_socket_brings_reaches_the_sink_in_one_piece(run, serve, door, ask):
    parts = [b"data: %d\n\n" % number for number in range(50)]

    async def go():
        pieces = (CHUNKED, b"".join(map(chunk, parts)) + b"0\r\n\r\n")
        async with serve(scripted(*pieces, then="again", pause=0.02)) as upstream, door() as egress:
            got = []
            answer = await egress.send(ask(upstream.url))
            await answer.pump(got.append)
            assert got == [b"".join(parts)]
            assert egress.idle == 1

    run(go)


@pytest.mark.parametrize("behind", [b"no chunk at all\r\n", b"5\r\nabcdefgh"])
def test_what_came_before_an_error_in_the_same_packet_is_delivered(run, serve, door, ask, behind):
    async def go():
        pieces = (CHUNKED, chunk(b"one") + chunk(b"two") + behind)
        async with serve(scripted(*pieces, pause=0.02)) as upstream, door() as egress:
            got = []
            answer = await egress.send(ask(upstream.url))
            with pytest.raises(Garbled):
                await answer.pump(got.append)
            assert b"".join(got).startswith(b"onetwo")
            assert egress.open == 0

    run(go)


def test_read_refuses_a_body_over_its_limit(run, serve, door, ask):
    async def go():
        raw = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + bytes(1000)
        async with serve(scripted(raw, then="again")) as upstream, door() as egress:
            with pytest.raises(Garbled):
                await (await egress.send(ask(upstream.url))).read(999)
            assert len(await (await egress.send(ask(upstream.url))).read(1000)) == 1000

    run(go)


def test_an_endless_body_is_cut_at_the_limit(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.send(CHUNKED)
        while True:
            await exchange.send(chunk(bytes(65536)))

    async def go():
        async with serve(script) as upstream, door() as egress:
            with pytest.raises(Garbled):
                await (await egress.send(ask(upstream.url))).read(1_000_000)
            await asyncio.wait_for(upstream.hung_up.wait(), 1)
            assert egress.open == 0

    run(go)


@pytest.mark.parametrize("phase", ["head", "pump", "read", "close"])
def test_a_cancelled_exchange_closes_the_socket_at_once(run, serve, door, ask, phase):
    async def go():
        pieces = () if phase == "head" else (CHUNKED, chunk(b"data: 1\n\n"))
        async with serve(scripted(*pieces)) as upstream, door() as egress:

            async def work():
                answer = await egress.send(ask(upstream.url))
                if phase == "close":
                    answer.close()
                    answer.close()
                    await asyncio.sleep(9)
                await (answer.read() if phase == "read" else answer.pump(lambda piece: None))

            task = asyncio.create_task(work())
            while not upstream.heads:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            began = asyncio.get_running_loop().time()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.wait_for(upstream.hung_up.wait(), 1)
            assert asyncio.get_running_loop().time() - began < 0.25
            assert egress.open == 0

    run(go)
