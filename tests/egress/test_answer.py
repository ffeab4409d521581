import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core.errors import Cut, Garbled, MidstreamError, TimedOut, Unreachable
from midstream.core.http import Outgoing
from midstream.egress.answer import Answer

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


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (CHUNKED + chunk(b"hel") + chunk(b"lo") + b"0\r\n\r\n", b"hello"),
        (CHUNKED + b"5;name=value\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
         b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", b""),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", b"busy"),
        (b"HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 1\r\n\r\nx", b"x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cut_every", [None, 1])
def test_every_framing_gives_the_body_and_the_connection_back(run, serve, door, ask, raw, body, cut_every):
    pieces = [raw] if cut_every is None else [raw[i : i + 1] for i in range(len(raw))]

    async def go():
        async with serve(scripted(*pieces, then="again")) as upstream, door() as egress:
            for _ in range(2):
                answer = await egress.send(ask(upstream.url))
                assert answer.status == int(raw.rpartition(b"HTTP/1.1 ")[2][:3])
                assert await answer.read() == body
                assert "link" not in answer.headers
                answer.close()
            assert egress.idle == 1
            assert upstream.connections == 1

    run(go)


@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 500 X\r\nx-a: b\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 103 X\r\nx-a: b\r\n\r\n"]
)
def test_what_follows_an_answer_in_its_last_packet_changes_nothing_of_it(run, serve, door, ask, more):
    async def go():
        raw = b"HTTP/1.1 200 OK\r\nx-own: 1\r\ncontent-length: 5\r\n\r\nhello"
        async with serve(scripted(raw + more)) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            assert (answer.status, await answer.read()) == (200, b"hello")
            assert answer.headers == {"x-own": "1", "content-length": "5"}
            assert egress.idle == 0

    run(go)


@pytest.mark.parametrize("raw", [b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_the_end_of_a_body_without_a_length_is_the_end_of_the_connection(run, serve, door, ask, raw):
    async def go():
        async with serve(scripted(raw, then="end")) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            assert await answer.read() == b"hello"
            assert egress.open == 0

    run(go)


def test_a_head_answer_has_no_body_whatever_its_length_says(run, serve, door, ask):
    async def go():
        raw = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\ncontent-encoding: gzip\r\n\r\n"
        async with serve(scripted(raw, then="again")) as upstream, door() as egress:
            for _ in range(2):
                answer = await egress.send(ask(upstream.url, "HEAD", b""))
                assert await answer.read() == b""
                assert answer.headers["content-length"] == "500"
            assert upstream.connections == 1

    run(go)


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\ncontent-le",),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",),
        (CHUNKED,),
        (CHUNKED + chunk(b"data: 1\n\n"),),
        (CHUNKED + chunk(b"data: 1\n\n") + b"9\r\ndata:",),
        (CHUNKED + chunk(b"data: 1\n\n"), b"0\r\n"),
    ],
)
def test_a_cut_answer_is_an_error_never_an_end(run, serve, door, ask, pieces, how):
    async def go():
        async with serve(scripted(*pieces, then=how)) as upstream, door() as egress:
            with pytest.raises(Cut) as caught:
                await (await egress.send(ask(upstream.url))).read()
            assert caught.value.retryable
            assert egress.open == 0

    run(go)


def test_a_reset_is_not_the_end_of_a_body_without_a_length(run, serve, door, ask):
    async def go():
        async with serve(scripted(b"HTTP/1.0 200 OK\r\n\r\nhel", then="reset")) as upstream, door() as egress:
            with pytest.raises(Cut):
                await (await egress.send(ask(upstream.url))).read()

    run(go)


def test_what_arrived_before_a_cut_is_given_to_the_sink(run, serve, door, ask):
    async def go():
        got = []
        async with serve(scripted(CHUNKED + chunk(b"one") + chunk(b"two"), then="end")) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            await asyncio.sleep(0.02)
            with pytest.raises(Cut):
                await answer.pump(got.append)
            assert b"".join(got) == b"onetwo"

    run(go)


MANY = b"".join(b"x-%d: 1\r\n" % number for number in range(101))
SAME = b"x: 1\r\n" * 5000


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>I am no HTTP</html>",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx",
        CHUNKED + b"zz\r\nhello\r\n",
        CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + MANY + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + SAME + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 33_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000,
    ],
)
def test_garbage_is_an_error_of_its_own(run, serve, door, ask, raw):
    async def go():
        async with serve(scripted(raw)) as upstream, door() as egress:
            with pytest.raises(Garbled) as caught:
                await (await egress.send(ask(upstream.url))).read()
            assert len(str(caught.value)) < 200
            assert egress.open == 0

    run(go)


def test_a_flood_of_interim_answers_ends(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        while True:
            await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)

    async def go():
        async with serve(script) as upstream, door() as egress:
            with pytest.raises(Garbled):
                await egress.send(ask(upstream.url))

    run(go)


def test_a_coding_the_caller_asked_for_passes_untouched(run, serve, door, ask):
    async def go():
        raw = b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\nxyz"
        async with serve(scripted(raw)) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url, headers=[("accept-encoding", "br")]))
            assert await answer.read() == b"xyz"
            assert answer.headers["content-encoding"] == "br"

    run(go)


@pytest.mark.parametrize(
    ("phase", "pieces"),
    [
        ("first_byte", ()),
        ("first_byte", (b"HTTP/1.1 200 OK\r\ncontent-",)),
        ("first_byte", (b"HTTP/1.1 100 Continue\r\n\r\n",)),
        ("between", (CHUNKED,)),
        ("between", (CHUNKED, chunk(b"data: 1\n\n"))),
        ("between", (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",)),
    ],
)
def test_silence_is_a_timeout_of_its_phase(run, serve, door, ask, phase, pieces):
    async def go():
        async with serve(scripted(*pieces)) as upstream, door() as egress:
            limits = {"first_byte": 5.0, "between": 5.0, "total": 5.0, phase: 0.06}
            with pytest.raises(TimedOut) as caught:
                await (await egress.send(ask(upstream.url, **limits))).read()
            assert caught.value.phase == phase
            assert egress.open == 0
            await asyncio.wait_for(upstream.hung_up.wait(), 1)

    run(go)


def test_a_body_that_drips_is_ended_by_the_total(run, serve, door, ask):
    async def go():
        async with serve(scripted(CHUNKED, *[chunk(b".")] * 200, pause=0.01)) as upstream, door() as egress:
            with pytest.raises(TimedOut) as caught:
                await (await egress.send(ask(upstream.url, between=0.5, total=0.1))).read()
            assert caught.value.phase == "total"
            assert not caught.value.retryable

    run(go)


def test_a_head_that_drips_is_ended_by_first_byte(run, serve, door, ask):
    async def go():
        drip = [b"H", b"T", b"T", b"P", *[b"/"] * 0, b"/1.1 200 OK\r\n", *[b"x: y\r\n"] * 50]
        async with serve(scripted(*drip, pause=0.01)) as upstream, door() as egress:
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask(upstream.url, first_byte=0.1, total=9))
            assert caught.value.phase == "first_byte"

    run(go)


def test_a_stream_may_last_longer_than_any_silence(run, serve, door, ask):
    async def go():
        async with (
            serve(scripted(CHUNKED, *[chunk(b".")] * 20, b"0\r\n\r\n", pause=0.01)) as upstream,
            door() as egress,
        ):
            answer = await egress.send(ask(upstream.url, first_byte=0.1, between=0.1))
            assert await answer.read() == b"." * 20

    run(go)


def test_a_request_nobody_reads_is_a_write_timeout(run, serve, door, ask):
    async def script(exchange):
        await asyncio.sleep(30)

    async def go():
        async with serve(script) as upstream, door() as egress:
            upstream._server.sockets[0].setsockopt(1, 8, 4096)
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask(upstream.url, body=bytes(40_000_000), write=0.1))
            assert caught.value.phase == "write"

    run(go)


def test_an_answer_before_the_request_is_all_written_is_an_answer(run, serve, door, ask):
    async def script(exchange):
        await exchange.reader.readuntil(b"\r\n\r\n")
        await exchange.reply(b"too large", "413 Too Large")
        await asyncio.sleep(0.2)
        exchange.end()

    async def go():
        async with serve(script) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url, body=bytes(40_000_000)))
            assert answer.status == 413
            assert await answer.read() == b"too large"
            assert egress.idle == 0  # the rest of the request can never be taken back

    run(go)


def test_repeated_headers_are_joined_and_names_are_lower_case(run, serve, door, ask):
    async def go():
        raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 \r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
        async with serve(scripted(raw)) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url))
            assert answer.headers == {"x-a": "1, 2", "retry-after": "3", "content-length": "0"}

    run(go)


def test_a_refused_connection_is_unreachable(run, serve, door, ask):
    async def go():
        async with serve(scripted()) as upstream:
            url = upstream.url
        async with door() as egress:
            with pytest.raises(Unreachable, match="no connection"):
                await egress.send(ask(url + "/?key=secret"))

    run(go)


class _Connection:
    """Stands where the socket is, so that a million splits cost no system call."""

    paused = unflushed = False

    def __init__(self):
        self.ended = False
        self.loop = self

    def time(self):
        return 0.0

    def arm(self, when):
        pass

    def finish(self, reusable):
        self.ended = True

    def abort(self):
        self.ended = True

    def pause_reading(self):
        pass


def _outcome(pieces, end):
    connection = _Connection()
    answer = Answer(connection, Outgoing("POST", "http://x/"), 0.0, 9.0)
    for piece in pieces:
        if not connection.ended:
            answer.on_bytes(piece)
    if not connection.ended:
        answer.on_lost(None, end)
    error = type(answer._error) if answer._error else None
    return answer.status, answer.headers, b"".join(answer._held), answer.complete, error


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n" + tail),
        st.lists(st.binary(min_size=1, max_size=20), max_size=5).map(
            lambda parts: CHUNKED + b"".join(map(chunk, parts)) + b"0\r\n\r\n"
        ),
        st.binary(max_size=40).map(lambda tail: CHUNKED + b"3\r\nabc\r\n" + tail),
    ),
    st.data(),
)
def test_any_split_of_any_bytes_has_the_outcome_of_the_whole(raw, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True) if a != b]
    whole = _outcome([raw] if raw else [], True)
    split = _outcome(pieces, True)
    assert whole[4] is None or issubclass(whole[4], MidstreamError)
    assert (whole[0], whole[1], whole[3], whole[4]) == (split[0], split[1], split[3], split[4])
    if whole[3]:
        assert whole[2] == split[2]
