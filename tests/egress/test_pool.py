import asyncio
import os
import socket
import threading

import pytest

from midstream.core.errors import Cut, Unreachable


async def answering(exchange):
    await exchange.request()
    await exchange.reply(b"hello")


def test_a_kept_connection_serves_the_next_exchange(run, serve, door, ask):
    async def go():
        async with serve(answering) as upstream, door() as egress:
            for _ in range(5):
                answer = await egress.send(ask(upstream.url + "/v1/x?y=1", body=b"abc"))
                assert (answer.status, await answer.read()) == (200, b"hello")
                answer.close()
            assert upstream.connections == 1
            assert (egress.dialled, egress.reused, egress.open, egress.idle) == (1, 4, 1, 1)
            assert upstream.heads[0].startswith("POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:")
            assert "accept-encoding: identity\r\n" in upstream.heads[0]
            assert upstream.bodies == [b"abc"] * 5

    run(go)


def test_the_newest_kept_connection_is_taken_first(run, serve, door, ask):
    async def go():
        async with serve(answering) as upstream, door() as egress:
            answers = await asyncio.gather(*(egress.send(ask(upstream.url)) for _ in range(3)))
            for answer in answers:
                await answer.read()
            assert egress.idle == 3
            await asyncio.sleep(0.01)
            for _ in range(4):
                await (await egress.send(ask(upstream.url))).read()
            assert upstream.connections == 3
            idle_since = sorted(connection.idle_since for connection in egress._pool.live)
            assert idle_since[-1] > idle_since[1] >= idle_since[0]

    run(go)


def test_a_connection_the_server_closed_while_idle_is_not_used(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.reply(b"once")
        exchange.end()

    async def go():
        async with serve(script) as upstream, door() as egress:
            for _ in range(3):
                assert await (await egress.send(ask(upstream.url))).read() == b"once"
                await asyncio.sleep(0.02)
                assert egress.idle == 0
            assert upstream.connections == 3

    run(go)


@pytest.mark.parametrize("idle", [0.0, 5.0])
def test_a_close_the_loop_has_not_seen_yet_costs_a_new_dial_and_no_error(run, door, ask, idle):
    """The server closes while our loop is busy: only the socket knows. A POST would be handed over whole to nobody."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(2)
    closed = threading.Event()
    served = []

    def serve_twice():
        for number in range(2):
            connection, _ = server.accept()
            served.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number)
            if number == 0:
                threading.Event().wait(0.05)
            connection.close()
            closed.set()

    async def go():
        thread = threading.Thread(target=serve_twice, daemon=True)
        thread.start()
        async with door() as egress:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            assert await (await egress.send(ask(url))).read() == b"0"
            next(iter(egress._pool.live)).idle_since -= idle
            closed.wait(5)  # blocks the loop on purpose
            assert await (await egress.send(ask(url))).read() == b"1"
            assert egress.dialled == 2
        thread.join()

    run(go)
    server.close()
    assert len(served) == 2


def close_after_second_request(exchange_log):
    async def script(exchange):
        await exchange.request()
        exchange_log.append(exchange.connection)
        if len(exchange_log) == 2:
            exchange.end()
        await exchange.reply(b"ok")

    return script


def test_a_post_that_was_handed_over_whole_is_never_repeated(run, serve, door, ask):
    async def go():
        log = []
        async with serve(close_after_second_request(log)) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url))).read()
            with pytest.raises(Cut) as caught:
                await egress.send(ask(upstream.url))
            assert caught.value.retryable
            assert log == [1, 1]

    run(go)


def test_a_get_on_a_dead_kept_connection_is_repeated_once(run, serve, door, ask):
    async def go():
        log = []
        async with serve(close_after_second_request(log)) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url, "GET", b""))).read()
            assert await (await egress.send(ask(upstream.url, "GET", b""))).read() == b"ok"
            assert log == [1, 1, 2]

    run(go)


def test_a_get_is_repeated_only_once(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        if len(exchange.upstream.heads) > 1:
            exchange.end()
        await exchange.reply()

    async def go():
        async with serve(script) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url, "GET", b""))).read()
            with pytest.raises(Cut):
                await egress.send(ask(upstream.url, "GET", b""))
            assert len(upstream.heads) == 3

    run(go)


def test_a_post_that_did_not_leave_us_whole_is_dialled_again(run, serve, door, ask):
    """The kept connection dies while most of the body is still in our buffer: nobody can have acted on it."""

    async def script(exchange):
        if exchange.connection == 1 and exchange.upstream.heads:
            await exchange.reader.read(10)
            exchange.reset()
        await exchange.request()
        await exchange.reply(b"done")

    async def go():
        async with serve(script) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url))).read()
            big = bytes(30_000_000)
            assert await (await egress.send(ask(upstream.url, body=big))).read() == b"done"
            assert upstream.connections == 2
            assert [len(body) for body in upstream.bodies] == [2, len(big)]

    run(go)


def test_too_old_a_connection_is_not_used_and_the_sweep_closes_it(run, serve, door, ask):
    async def go():
        async with serve(answering) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url))).read()
            next(iter(egress._pool.live)).idle_since -= 60
            await (await egress.send(ask(upstream.url))).read()
            assert (egress.dialled, egress.open) == (2, 1)
            next(iter(egress._pool.live)).idle_since -= 60
            egress._pool._sweep(asyncio.get_running_loop())
            assert (egress.idle, egress.open) == (0, 0)

    run(go)


def test_bytes_nobody_asked_for_end_an_idle_connection(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.reply(b"ok")
        await asyncio.sleep(0.01)
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")

    async def go():
        async with serve(script) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url))).read()
            await asyncio.sleep(0.05)
            assert egress.open == 0
            assert await (await egress.send(ask(upstream.url))).read() == b"ok"

    run(go)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokXX",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nX",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_an_answer_with_bytes_behind_it_or_a_goodbye_ends_the_connection(run, serve, door, ask, raw):
    async def script(exchange):
        await exchange.request()
        await exchange.send(raw)

    async def go():
        async with serve(script) as upstream, door() as egress:
            for _ in range(2):
                answer = await egress.send(ask(upstream.url))
                assert await answer.read() == b"ok"
                answer.close()
            assert egress.idle == 0
            assert upstream.connections == 2

    run(go)


def test_trusted_connections_never_serve_untrusted_exchanges(run, serve, door, ask):
    async def go():
        async with serve(answering) as upstream, door(allow=[f"127.0.0.1:{upstream_port(upstream)}"]) as egress:
            await (await egress.send(ask(upstream.url))).read()
            await (await egress.send(ask(upstream.url, trusted=False))).read()
            assert egress.dialled == 2

    def upstream_port(upstream):
        return upstream.port

    run(go)


def test_close_is_idempotent_and_cuts_what_is_in_flight(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.hang()

    async def go():
        async with serve(script) as upstream, door() as egress:
            waiting = asyncio.create_task(egress.send(ask(upstream.url)))
            await asyncio.sleep(0.02)
            await egress.close()
            await egress.close()
            with pytest.raises(Cut):
                await waiting
            with pytest.raises(Unreachable):
                await egress.send(ask(upstream.url))

    run(go)


def test_closing_the_door_is_not_the_clean_end_of_a_body_without_a_length(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await exchange.hang()

    async def go():
        async with serve(script) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            reading = asyncio.create_task(answer.read())
            await asyncio.sleep(0.02)
            await egress.close()
            with pytest.raises(Cut):
                await reading

    run(go)


def test_a_body_behind_a_head_answer_ends_the_connection(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def go():
        async with serve(script) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url, "HEAD", b""))
            assert await answer.read() == b""
            assert egress.open == 0

    run(go)


def test_an_answer_to_half_a_request_ends_the_connection(run, serve, door, ask):
    async def script(exchange):
        await exchange.reader.readuntil(b"\r\n\r\n")
        await exchange.reply(b"enough", "413 Too Large")
        await asyncio.sleep(0.1)
        exchange.end()

    async def go():
        async with serve(script) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url, body=bytes(40_000_000)))
            assert await answer.read() == b"enough"
            assert egress.idle == 0

    run(go)


def test_a_write_that_fails_at_once_has_not_sent_the_request(run, serve, door, ask):
    """The kept connection's socket is dead before the loop or the pool could know."""

    async def go():
        async with serve(answering) as upstream, door() as egress:
            await (await egress.send(ask(upstream.url))).read()
            kept = next(iter(egress._pool.live))
            with socket.socket(fileno=os.dup(kept.transport.get_extra_info("socket").fileno())) as same:
                same.shutdown(socket.SHUT_WR)
            assert await (await egress.send(ask(upstream.url))).read() == b"hello"
            assert len(upstream.heads) == 2
            assert egress.dialled == 2

    run(go)
