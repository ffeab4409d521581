import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core.errors import BadRequest, MidstreamError, Unreachable
from midstream.egress.addresses import Addresses, is_public
from midstream.egress.targets import parse_target

CLOSED = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
]
OPEN = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700::1111",
    "2a00:1450::1",
]
ODD = [
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://app.localhost:{port}/",
    "http://public.example.:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:0001]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[::1%lo]:{port}/",
    "http://public.example@127.0.0.1:{port}/",
    "http://user:pass@public.example:{port}/",
    "http://@public.example:{port}/",
    "http://public.example:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@public.example/",
    "http://public.example#@127.0.0.1:{port}@/",
    "http:\\\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http://127.0.0.1:{port} /",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1\r\n:{port}/",
    "http://127.0.0.1%00:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "http://\u2460\u2461\u2466.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:99999/",
    "http://:{port}/",
    "http:///x",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/x",
    "data:text/plain,x",
    "",
]


def answers(*addresses):
    async def resolver(host, port):
        return ["127.0.0.1"] if host == "localhost" else list(addresses)

    return resolver


async def trap_script(exchange):
    await exchange.request()
    await exchange.reply(b"secret")


@pytest.mark.parametrize("address", CLOSED)
def test_no_address_that_is_not_public_counts_as_one(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OPEN)
def test_public_addresses_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@settings(max_examples=500)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_the_standard_library_calls_not_global_is_never_public(address):
    if not address.is_global or address.is_multicast:
        assert not is_public(address)


def test_every_closed_address_is_refused_as_literal_and_as_answer(run, serve, door, ask):
    async def go():
        async with serve(trap_script) as trap:
            for address in CLOSED:
                literal = f"[{address}]" if ":" in address else address
                async with door(resolver=answers(address)) as egress:
                    for host in (literal, "public.example"):
                        with pytest.raises(BadRequest) as caught:
                            await egress.send(ask(f"http://{host}:{trap.port}/", trusted=False))
                        assert caught.value.code == "address_refused"
                    assert egress.dialled == 0
            assert trap.connections == 0

    run(go)


def test_every_odd_spelling_is_refused(run, serve, door, ask):
    async def go():
        async with serve(trap_script) as trap, door(resolver=answers("127.0.0.1")) as egress:
            for url in ODD:
                with pytest.raises(BadRequest):
                    await egress.send(ask(url.format(port=trap.port), trusted=False))
            assert trap.connections == 0

    run(go)


@pytest.mark.parametrize("found", [["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "nonsense"]])
def test_one_bad_answer_among_good_ones_refuses_them_all(run, serve, door, ask, found):
    async def go():
        async with serve(trap_script) as trap, door(resolver=answers(*found)) as egress:
            with pytest.raises(BadRequest):
                await egress.send(ask(f"http://public.example:{trap.port}/", trusted=False))
            assert trap.connections == 0

    run(go)


def test_a_name_is_resolved_once_and_the_checked_answer_is_dialled(run, serve, door, ask):
    """A resolver that alternates gets nobody in: the address that passes the check is the one that is dialled (here a
    loopback address on which nobody listens, allowed to stand for a public one)."""
    asked = []

    async def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1" if len(asked) % 2 == 0 else "127.0.0.2"]

    async def go():
        async with serve(trap_script) as trap:
            async with door(resolver=rebinding, allow=["127.0.0.2"]) as egress:
                for turn in range(200):
                    with pytest.raises(BadRequest if turn % 2 else Unreachable):
                        await egress.send(ask(f"http://rebind.example:{trap.port}/", trusted=False))
                    assert len(asked) == turn + 1
            assert trap.connections == 0

    run(go)


def test_trusted_addresses_may_be_private(run, serve, door, ask):
    async def go():
        async with serve(trap_script) as upstream, door() as egress:
            for host in ("127.0.0.1", "localhost"):
                answer = await egress.send(ask(f"http://{host}:{upstream.port}/"))
                assert await answer.read() == b"secret"

    run(go)


@pytest.mark.parametrize(
    ("allow", "url", "reached"),
    [
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}/", True),
        ("127.0.0.1", "http://127.0.0.1:{port}/", True),
        ("inner.example", "http://inner.example:{port}/", True),
        ("Inner.Example:{port}", "http://inner.example:{port}/", True),
        ("127.0.0.1:{port}", "http://inner.example:{port}/", True),
        ("localhost:{port}", "http://localhost:{port}/", True),
        ("127.0.0.1:{port}", "http://localhost:{port}/", True),
        ("127.0.0.0/8", "http://127.0.0.1:{port}/", True),
        ("127.0.0.0/8", "http://inner.example:{port}/", True),
        ("127.0.0.0/8", "http://localhost:{port}/", True),
        ("10.0.0.0/8", "http://127.0.0.1:{port}/", False),
        ("::/0", "http://inner.example:{port}/", False),
        ("127.0.0.1:1", "http://127.0.0.1:{port}/", False),
        ("127.0.0.1:1", "http://localhost:{port}/", False),
        ("other.example", "http://inner.example:{port}/", False),
        ("example", "http://inner.example:{port}/", False),
        ("inner.example:{port}", "http://user@inner.example:{port}/", False),
        ("127.0.0.1", "http://2130706433:{port}/", False),
    ],
)
def test_allow_opens_what_it_names_and_nothing_else(run, serve, door, ask, allow, url, reached):
    async def go():
        async with serve(trap_script) as upstream:
            port = upstream.port
            async with door(resolver=answers("127.0.0.1"), allow=[allow.format(port=port)]) as egress:
                exchange = egress.send(ask(url.format(port=port), trusted=False))
                if reached:
                    assert await (await exchange).read() == b"secret"
                else:
                    with pytest.raises(BadRequest):
                        await exchange
                    assert upstream.connections == 0

    run(go)


@pytest.mark.parametrize("entry", ["http://x", "", "a/b", "10.0.0.1/8", "user@host", "a b"])
def test_an_allow_entry_that_cannot_be_meant_is_refused_at_the_start(entry):
    with pytest.raises(ValueError, match=r"network|host bits"):
        Addresses([entry])


def test_a_name_that_does_not_resolve_is_unreachable(run, door, ask):
    async def broken(host, port):
        raise OSError(-2, "Name or service not known")

    async def go():
        for resolver in (broken, answers()):
            async with door(resolver=resolver) as egress:
                with pytest.raises(Unreachable, match="name"):
                    await egress.send(ask("http://nowhere.example/?key=secret"))

    run(go)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://API.Example.com", "api.example.com", 443, "api.example.com", "/"),
        ("https://api.example.com:443/v1?x=1#y", "api.example.com", 443, "api.example.com", "/v1?x=1"),
        ("http://api.example.com:8080?q", "api.example.com", 8080, "api.example.com:8080", "/?q"),
        ("http://[2606:4700::1111]/a", "2606:4700::1111", 80, "[2606:4700::1111]", "/a"),
        ("http://b\u00fccher.example/\u00e4", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/%C3%A4"),
        ("http://under_score.example/a%2fb/../c", "under_score.example", 80, "under_score.example", "/a%2fb/../c"),
    ],
)
def test_what_is_written_is_what_is_sent(url, host, port, authority, path):
    target = parse_target(url)
    assert (target.host, target.port, target.authority, target.path) == (host, port, authority, path)


@settings(max_examples=500)
@given(st.text(max_size=40), st.sampled_from(["http://", "https://", "http://127.0.0.1", "http://[", ""]))
def test_no_text_is_more_than_refused_and_no_target_can_split_a_request(text, start):
    try:
        target = parse_target(start + text)
    except MidstreamError:
        return
    line = f"GET {target.path} {target.authority}"
    assert line.isascii()
    assert line.isprintable()
    assert line.count(" ") == 2


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "a.localhost", "\uff4cocalhost", "127.0.0.1", "[::1]"])
def test_this_machine_is_known_by_its_name_before_anything_is_resolved(host):
    with pytest.raises(BadRequest) as caught:
        Addresses(()).check(f"http://{host}:5432/x.png")
    assert caught.value.code == "address_refused"
    Addresses(("127.0.0.1:5432", "[::1]:5432", "a.localhost")).check(f"http://{host}:5432/x.png")


@pytest.mark.parametrize("host", ["localhost.example.org", "mylocalhost", "example.org"])
def test_a_name_that_only_looks_like_this_machine_may_be_public(host):
    Addresses(()).check(f"http://{host}:5432/x.png")
