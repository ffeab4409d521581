import asyncio
import contextlib
import gzip
import os
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Cut, Garbled
from midstream.egress.decoding import Decoder

TEXT = b"data: hello\n\n" * 1000


def bare(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def unpack(coding, pieces):
    decoder, out = Decoder(coding), []
    for piece in pieces:
        decoder.feed(piece)
        while made := decoder.next():
            assert len(made) <= 65536
            out.append(made)
    decoder.finish()
    return b"".join(out)


PACKED = [
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("x-gzip", gzip.compress(TEXT, mtime=0)),
    ("gzip", gzip.compress(TEXT[:500], mtime=0) + gzip.compress(TEXT[500:], mtime=0)),
    ("gzip", gzip.compress(TEXT, mtime=0) + b"\0" * 20),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", bare(TEXT)),
]


@pytest.mark.parametrize(("coding", "packed"), PACKED)
def test_each_coding_whole_and_byte_by_byte(coding, packed):
    assert unpack(coding, [packed]) == TEXT
    assert unpack(coding, [packed[i : i + 1] for i in range(len(packed))]) == TEXT


@pytest.mark.parametrize(("coding", "packed"), [PACKED[0], PACKED[4], PACKED[5]])
def test_a_body_that_ends_too_early_is_cut(coding, packed):
    for length in (1, 2, len(packed) // 2, len(packed) - 1):
        with pytest.raises(Cut):
            unpack(coding, [packed[:length]])


def test_an_empty_body_is_empty():
    assert unpack("gzip", []) == b""


@given(st.sampled_from(["gzip", "deflate"]), st.lists(st.binary(max_size=50), max_size=5))
def test_any_bytes_are_read_or_refused(coding, pieces):
    with contextlib.suppress(Cut, Garbled):
        unpack(coding, pieces)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_split_gives_the_whole(data, cuts):
    packed = gzip.compress(data, mtime=0)
    cuts = sorted(min(cut, len(packed)) for cut in cuts)
    assert unpack("gzip", [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)]) == data


def test_a_bomb_is_refused_in_little_memory():
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(80)) + packer.flush()
    tracemalloc.start()
    decoder = Decoder("gzip")
    decoder.feed(bomb)
    with pytest.raises(Garbled):
        while decoder.next():
            pass
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_members_that_hold_next_to_nothing_are_refused_before_they_take_their_time():
    for member in (gzip.compress(b"", mtime=0), gzip.compress(b"x", mtime=0)):
        decoder, made = Decoder("gzip"), 0
        decoder.feed(member * 10_000)
        with pytest.raises(Garbled):
            while decoder.next():
                made += 1
        assert made <= 1001
    empty = gzip.compress(b"", mtime=0)
    with pytest.raises(Garbled):
        unpack("gzip", [empty * 500] * 3)


def test_members_that_come_one_by_one_or_hold_something_are_read_however_many():
    event = b"data: hello\n\n"
    assert unpack("gzip", [gzip.compress(event, mtime=0)] * 3000) == event * 3000
    assert unpack("gzip", [gzip.compress(bytes(4096), mtime=0) * 3000]) == bytes(4096 * 3000)


def replying(packed, coding="gzip", length=None):
    async def script(exchange):
        await exchange.request()
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {length or len(packed)}\r\n\r\n"
        await exchange.send(head.encode() + packed)

    return script


@pytest.mark.parametrize(("coding", "packed"), PACKED)
def test_a_packed_answer_is_read_unpacked(run, serve, door, ask, coding, packed):
    async def go():
        async with serve(replying(packed, coding)) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            assert await answer.read() == TEXT
            assert "content-encoding" not in answer.headers
            assert "content-length" not in answer.headers
            got = []
            await (await egress.send(ask(upstream.url))).pump(got.append)
            assert b"".join(got) == TEXT
            assert egress.idle == 1

    run(go)


def test_gzip_cut_inside_a_whole_message_is_cut(run, serve, door, ask):
    async def go():
        async with serve(replying(gzip.compress(TEXT, mtime=0)[:-9])) as upstream, door() as egress:
            with pytest.raises(Cut):
                await (await egress.send(ask(upstream.url))).read()

    run(go)


def test_what_is_no_gzip_is_garbled(run, serve, door, ask):
    async def go():
        async with serve(replying(b"<html>not gzip</html>")) as upstream, door() as egress:
            with pytest.raises(Garbled):
                await (await egress.send(ask(upstream.url))).read()

    run(go)


def test_the_limit_of_read_counts_unpacked_bytes(run, serve, door, ask):
    async def go():
        async with serve(replying(gzip.compress(bytes(5_000_000), mtime=0))) as upstream, door() as egress:
            with pytest.raises(Garbled):
                await (await egress.send(ask(upstream.url))).read(4_999_999)
            assert len(await (await egress.send(ask(upstream.url))).read(5_000_000)) == 5_000_000

    run(go)


def test_a_sink_that_says_stop_is_not_given_the_rest_of_what_was_unpacked(run, serve, door, ask):
    body = os.urandom(500_000) + bytes(1_000_000)

    async def go():
        async with serve(replying(gzip.compress(body, mtime=0))) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            loop, got, stopped = asyncio.get_running_loop(), [], False

            def sink(piece):
                nonlocal stopped
                assert not stopped
                got.append(piece)
                stopped = True
                loop.call_soon(go_on)
                return False

            def go_on():
                nonlocal stopped
                stopped = False
                answer.resume()

            await answer.pump(sink)
            assert b"".join(got) == body

    run(go)
