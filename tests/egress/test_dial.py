import asyncio
import contextlib
import errno
import ssl

import pytest

from midstream.core.errors import BadRequest, Cut, TimedOut, Unreachable
from midstream.egress import Egress
from midstream.egress.proxies import Proxies
from midstream.egress.targets import parse_target


async def answering(exchange):
    await exchange.request()
    tls = exchange.writer.get_extra_info("ssl_object")
    await exchange.reply(b"hello", x_alpn=(tls.selected_alpn_protocol() if tls else "-") or "-")


async def to_loopback(host, port):
    return ["127.0.0.1"]


async def silent(exchange):
    await exchange.hang()


def test_tls_is_verified_and_kept(run, serve, door, ask, authority):
    async def go():
        context = authority.server()
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with serve(answering, tls=context) as upstream, door(ca_file=authority.pem) as egress:
            for _ in range(3):
                answer = await egress.send(ask(upstream.url))
                assert await answer.read() == b"hello"
                assert answer.headers["x-alpn"] == "http/1.1"
            assert (upstream.connections, egress.reused) == (1, 2)

    run(go)


@pytest.mark.parametrize("around", ["{}", "{}\n", " {}\r\n"])
def test_ssl_cert_file_names_the_authorities(run, serve, door, ask, authority, around):
    async def go():
        environ = {"SSL_CERT_FILE": around.format(authority.pem)}
        async with serve(answering, tls=authority.server()) as upstream, door(environ=environ) as egress:
            assert await (await egress.send(ask(upstream.url))).read() == b"hello"

    run(go)


def test_a_variable_of_the_servers_own_may_end_with_a_lines_end(run, serve, ask, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", f"{authority.pem}\n")
    monkeypatch.setenv("http_proxy", "\n")

    async def go():
        async with serve(answering, tls=authority.server()) as upstream:
            egress = Egress()
            assert await (await egress.send(ask(upstream.url))).read() == b"hello"
            await egress.close()

    run(go)


@pytest.mark.parametrize(
    ("name", "days", "known", "words"),
    [
        ("127.0.0.1", 1, False, "unable to get local issuer certificate"),
        ("other.example", 1, True, "IP address mismatch"),
        ("127.0.0.1", -1, True, "expired"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_unreachable_and_says_why(
    run, serve, door, ask, authority, name, days, known, words
):
    async def go():
        options = {"ca_file": authority.pem} if known else {}
        async with serve(answering, tls=authority.server(name, days)) as upstream, door(**options) as egress:
            with pytest.raises(Unreachable, match=words):
                await egress.send(ask(upstream.url + "/?key=secret"))
            assert upstream.heads == []
            assert egress.open == 0

    run(go)


def test_plain_text_behind_https_is_unreachable(run, serve, door, ask):
    async def script(exchange):
        await exchange.reader.read(10)
        await exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        exchange.end()

    async def go():
        async with serve(script) as upstream, door() as egress:
            with pytest.raises(Unreachable, match="TLS"):
                await egress.send(ask(upstream.url.replace("http:", "https:")))

    run(go)


def test_the_name_stays_in_sni_and_host_while_the_checked_address_is_dialled(run, serve, door, ask, authority):
    async def go():
        seen = []
        context = authority.server("inner.example")
        context.sni_callback = lambda _, name, __: seen.append(name)
        async with serve(answering, tls=context) as upstream:
            options = {"ca_file": authority.pem, "resolver": to_loopback, "allow": ["inner.example"]}
            async with door(**options) as egress:
                url = f"https://inner.example:{upstream.port}/"
                assert await (await egress.send(ask(url, trusted=False))).read() == b"hello"
            assert seen == ["inner.example"]
            assert f"host: inner.example:{upstream.port}\r\n" in upstream.heads[0]

    run(go)


@pytest.mark.parametrize("secure", [False, True])
def test_a_stream_over_tls_cut_in_the_middle_is_cut(run, serve, door, ask, authority, secure):
    async def script(exchange):
        await exchange.request()
        await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        exchange.end()

    async def go():
        tls = authority.server() if secure else None
        async with serve(script, tls=tls) as upstream, door(ca_file=authority.pem) as egress:
            answer = await egress.send(ask(upstream.url))
            got = []
            with pytest.raises(Cut):
                await answer.pump(got.append)
            assert got == [b"abc"]

    run(go)


def test_a_large_body_goes_through_tls_both_ways(run, serve, door, ask, authority):
    async def echo(exchange):
        await exchange.request()
        await exchange.reply(exchange.upstream.bodies[-1])

    async def go():
        body = bytes(range(256)) * 8000
        async with serve(echo, tls=authority.server()) as upstream, door(ca_file=authority.pem) as egress:
            assert await (await egress.send(ask(upstream.url, body=body))).read() == body
            assert egress.idle == 1

    run(go)


def test_a_slow_resolver_and_a_silent_handshake_are_connect_timeouts(run, serve, door, ask):
    async def slow(host, port):
        await asyncio.sleep(9)

    async def go():
        async with door(resolver=slow) as egress:
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask("http://slow.example/", connect=0.05))
            assert caught.value.phase == "connect"
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask("http://slow.example/", connect=5, total=0.05))
            assert caught.value.phase == "total"
        async with serve(silent) as upstream, door() as egress:
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask(upstream.url.replace("http:", "https:"), connect=0.1))
            assert caught.value.phase == "connect"
            await asyncio.wait_for(upstream.hung_up.wait(), 1)

    run(go)


def test_a_cancelled_handshake_closes_the_socket(run, serve, door, ask):
    async def go():
        async with serve(silent) as upstream, door() as egress:
            task = asyncio.create_task(egress.send(ask(upstream.url.replace("http:", "https:"))))
            while not upstream.connections:
                await asyncio.sleep(0.001)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.wait_for(upstream.hung_up.wait(), 0.25)
            assert egress.open == 0

    run(go)


def test_the_next_address_is_tried_when_one_refuses(run, serve, door, ask):
    async def two(host, port):
        return ["127.0.0.3", "127.0.0.1"]

    async def go():
        async with serve(answering) as upstream, door(resolver=two) as egress:
            assert await (await egress.send(ask(f"http://two.example:{upstream.port}/"))).read() == b"hello"

    run(go)


def test_a_family_without_a_way_out_leaves_the_other_its_chance_and_what_answered_is_tried_first(
    run, serve, door, ask, monkeypatch
):
    dead = [f"::2:{n}" for n in range(1, 6)]

    async def many(host, port):
        return [*dead, "127.0.0.1"]

    async def go():
        loop, tried = asyncio.get_running_loop(), []
        plain = loop.create_connection

        async def watched(make, address, *rest, **named):
            tried.append(address)
            if address in dead:
                raise OSError("no route to host")
            return await plain(make, address, *rest, **named)

        monkeypatch.setattr(loop, "create_connection", watched)
        async with serve(answering) as upstream, door(resolver=many) as egress:
            for expected in ([dead[0], "127.0.0.1"], ["127.0.0.1"]):
                url = f"http://two.example:{upstream.port}/"
                assert await (await egress.send(ask(url))).read() == b"hello"
                egress._pool.close_idle()
                assert tried == expected
                tried.clear()

    run(go)


def test_running_out_of_descriptors_is_unreachable_and_gives_up_the_idle_ones(run, serve, door, ask, monkeypatch):
    async def go():
        async with serve(answering) as upstream, door(resolver=to_loopback) as egress:
            await (await egress.send(ask(upstream.url))).read()
            assert egress.idle == 1

            async def exhausted(*_):
                raise OSError(errno.EMFILE, "Too many open files")

            monkeypatch.setattr(egress._dialler, "_open", exhausted)
            with pytest.raises(Unreachable, match="Too many open files"):
                await egress.send(ask("http://other.example/"))
            assert egress.idle == 0

    run(go)


def proxying(port, seen, status=b"200 Connection established"):
    """A proxy: CONNECT to anywhere leads to our own port; an absolute target is answered by the proxy itself."""

    async def script(exchange):
        head = await exchange.request()
        seen.append(head)
        if not head.startswith("CONNECT "):
            return await exchange.reply(b"from the proxy")
        if not status.startswith(b"200"):
            await exchange.send(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)
            return exchange.end()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await exchange.send(b"HTTP/1.1 %b\r\n\r\n" % status)

        async def copy(source, sink):
            while data := await source.read(65536):
                sink.write(data)

        back = asyncio.create_task(copy(reader, exchange.writer))
        try:
            await copy(exchange.reader, writer)
        finally:
            back.cancel()
            writer.transport.abort()
        raise ConnectionResetError

    return script


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_https_goes_through_a_tunnel_of_the_proxy(run, serve, door, ask, authority, proxy_tls):
    async def go():
        seen = []
        async with (
            serve(answering, tls=authority.server("inner.example")) as upstream,
            serve(proxying(upstream.port, seen), tls=authority.server() if proxy_tls else None) as proxy,
        ):
            environ = {"HTTPS_PROXY": proxy.url.replace("://", "://us%65r:pass@")}
            async with door(environ=environ, ca_file=authority.pem) as egress:
                for _ in range(2):
                    answer = await egress.send(ask("https://inner.example/v1", headers=[("authorization", "Bearer k")]))
                    assert await answer.read() == b"hello"
            assert len(seen) == 1
            assert seen[0].startswith("CONNECT inner.example:443 HTTP/1.1\r\n")
            assert "proxy-authorization: Basic dXNlcjpwYXNz\r\n" in seen[0]
            assert "Bearer" not in seen[0]
            assert "proxy-authorization" not in upstream.heads[0]

    run(go)


def test_http_is_given_to_the_proxy_with_its_whole_address(run, serve, door, ask):
    async def go():
        seen = []
        async with serve(proxying(0, seen)) as proxy:
            async with door(environ={"http_proxy": proxy.url.replace("://", "://u:p@")}) as egress:
                answer = await egress.send(ask("http://inner.example:81/v1?x"))
                assert await answer.read() == b"from the proxy"
            assert seen[0].startswith("POST http://inner.example:81/v1?x HTTP/1.1\r\nhost: inner.example:81\r\n")
            assert "proxy-authorization: Basic dTpw\r\n" in seen[0]

    run(go)


def test_behind_a_proxy_untrusted_targets_are_checked_and_tunnelled_to_the_checked_address(run, serve, door, ask):
    async def resolver(host, port):
        return {"good.example": ["8.8.4.4"], "bad.example": ["10.0.0.1"]}[host]

    async def go():
        seen = []
        async with serve(answering) as upstream, serve(proxying(upstream.port, seen)) as proxy:
            async with door(environ={"ALL_PROXY": proxy.url}, resolver=resolver) as egress:
                for url in ("http://bad.example/", "https://bad.example/", "http://169.254.169.254/"):
                    with pytest.raises(BadRequest):
                        await egress.send(ask(url, trusted=False))
                assert proxy.connections == 0
                answer = await egress.send(ask("http://good.example/x", trusted=False))
                assert await answer.read() == b"hello"
            assert seen[0].startswith("CONNECT 8.8.4.4:80 HTTP/1.1\r\n")
            assert upstream.heads[0].startswith("POST /x HTTP/1.1\r\nhost: good.example\r\n")

    run(go)


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway", b"garbage"])
def test_a_proxy_that_refuses_is_unreachable(run, serve, door, ask, status):
    async def go():
        async with serve(proxying(0, [], status)) as proxy, door(environ={"HTTPS_PROXY": proxy.url}) as egress:
            with pytest.raises(Unreachable, match="proxy"):
                await egress.send(ask("https://inner.example/"))
            assert egress.open == 0

    run(go)


def test_a_proxys_refusal_is_told_with_its_status_also_when_a_page_comes_with_it(run, serve, door, ask):
    status = b"407 Proxy Authentication Required\r\ncontent-length: 4\r\n\r\npage"

    async def go():
        async with serve(proxying(0, [], status)) as proxy, door(environ={"HTTPS_PROXY": proxy.url}) as egress:
            with pytest.raises(Unreachable, match="with status 407"):
                await egress.send(ask("https://inner.example/"))

    run(go)


def test_a_silent_proxy_is_a_connect_timeout_and_is_hung_up_on(run, serve, door, ask):
    async def go():
        async with serve(silent) as proxy, door(environ={"HTTPS_PROXY": proxy.url}) as egress:
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask("https://inner.example/", connect=0.05))
            assert caught.value.phase == "connect"
            await asyncio.wait_for(proxy.hung_up.wait(), 1)

    run(go)


def test_a_bad_certificate_behind_a_proxy_is_unreachable(run, serve, door, ask, authority):
    async def go():
        async with (
            serve(answering, tls=authority.server("other.example")) as upstream,
            serve(proxying(upstream.port, [])) as proxy,
            door(environ={"HTTPS_PROXY": proxy.url}, ca_file=authority.pem) as egress,
        ):
            with pytest.raises(Unreachable, match="certificate"):
                await egress.send(ask("https://inner.example/"))
            assert egress.open == 0

    run(go)


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("", "https://api.example.com", True),
        ("*", "https://api.example.com", False),
        ("example.com", "https://api.example.com", False),
        (".example.com", "https://api.example.com", False),
        ("*.example.com", "https://api.example.com", False),
        ("ample.com", "https://api.example.com", True),
        ("api.example.com:443", "https://api.example.com", False),
        ("api.example.com:444", "https://api.example.com", True),
        ("other.org, 10.0.0.0/8", "http://10.1.2.3:8000", False),
        ("10.1.2.3", "http://10.1.2.3", False),
        ("10.1.2.3", "http://10.1.2.4", True),
        ("", "http://127.0.0.1:8000", False),
        ("", "http://[::1]:8000", False),
        ("", "http://localhost:11434", False),
    ],
)
def test_no_proxy(no_proxy, url, proxied):
    proxies = Proxies({"ALL_PROXY": "http://proxy.example:3128", "NO_PROXY": no_proxy})
    assert (proxies.pick(parse_target(url)) is not None) == proxied


def test_a_proxy_password_is_in_no_repr():
    proxy = Proxies({"HTTPS_PROXY": "http://user:hunter2@proxy.example:3128"}).pick(parse_target("https://x.example"))
    assert "hunter2" not in repr(proxy)
    assert "aHVudGVyMg" not in repr(proxy)


@pytest.mark.parametrize(
    "options",
    [{"environ": {"HTTPS_PROXY": "socks5://proxy.example:1080"}}, {"ca_file": "/nowhere.pem", "environ": {}}],
)
def test_settings_that_cannot_work_are_refused_at_the_start(options):
    with pytest.raises(ValueError, match=r"HTTPS_PROXY|CA file"):
        Egress(**options)


def test_the_protocol_is_not_older_than_tls_1_2(authority):
    egress = Egress(environ={}, ca_file=authority.pem)
    context = egress._dialler._tls()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
