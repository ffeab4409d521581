import asyncio

import pytest

from midstream.core.errors import BadRequest, Garbled, TimedOut
from midstream.core.http import Outgoing
from midstream.egress.redirects import next_hop

SECRETS = [("authorization", "Bearer canary"), ("cookie", "canary"), ("x-api-key", "canary"), ("x-new-token", "canary")]


def redirecting(routes):
    """routes: path -> (status, location) or a body."""

    async def script(exchange):
        head = await exchange.request()
        found = routes[head.split(" ")[1]]
        if isinstance(found, bytes):
            return await exchange.reply(found)
        status, location = found
        return await exchange.reply(b"moved", f"{status} Moved", location=location)

    return script


def test_without_leave_a_redirect_is_just_the_answer(run, serve, door, ask):
    async def go():
        async with serve(redirecting({"/a": (302, "/b")})) as upstream, door() as egress:
            answer = await egress.send(ask(upstream.url + "/a"))
            assert (answer.status, answer.headers["location"], await answer.read()) == (302, "/b", b"moved")

    run(go)


@pytest.mark.parametrize("location", ["/b?x=1", "b?x=1", "//{authority}/b?x=1", "{url}/b?x=1#part", "./c/../b?x=1"])
def test_redirects_are_followed_to_where_they_lead(run, serve, door, ask, location):
    async def go():
        routes = {"/b?x=1": b"there"}
        async with serve(redirecting(routes)) as upstream, door() as egress:
            routes["/a"] = (307, location.format(url=upstream.url, authority=upstream.url[7:]))
            answer = await egress.send(ask(upstream.url + "/a", redirects=1, body=b"again", headers=SECRETS))
            assert await answer.read() == b"there"
            assert answer.url == upstream.url + "/b?x=1"
            assert upstream.bodies == [b"again", b"again"]
            assert "canary" in upstream.heads[1]  # the same origin keeps what it was given
            assert upstream.connections == 1

    run(go)


def test_only_as_many_hops_as_were_granted(run, serve, door, ask):
    async def go():
        async with serve(redirecting({"/a": (301, "/a")})) as upstream, door() as egress:
            with pytest.raises(Garbled, match="redirects too often"):
                await egress.send(ask(upstream.url + "/a", "GET", b"", redirects=3))
            assert len(upstream.heads) == 4

    run(go)


def test_another_origin_gets_no_credential(run, serve, door, ask):
    async def go():
        async with (
            serve(redirecting({"/b": b"there"})) as other,
            serve(redirecting({"/a": (307, other.url + "/b")})) as upstream,
            door(allow=[f"127.0.0.1:{other.port}"]) as egress,
        ):
            headers = [*SECRETS, ("accept", "image/png")]
            answer = await egress.send(ask(upstream.url + "/a", redirects=2, headers=headers))
            assert await answer.read() == b"there"
            assert "canary" in upstream.heads[0]
            assert "canary" not in other.heads[0]
            assert "accept: image/png\r\n" in other.heads[0]

    run(go)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_redirect_to_a_private_address_is_refused_though_the_first_was_trusted(
    run, serve, door, ask, status, trusted
):
    async def go():
        async with (
            serve(redirecting({"/b": b"secret"})) as trap,
            serve(redirecting({"/a": (status, trap.url + "/b")})) as upstream,
            door(allow=[f"127.0.0.1:{upstream.port}"]) as egress,
        ):
            with pytest.raises(BadRequest):
                await egress.send(ask(upstream.url + "/a", redirects=5, trusted=trusted))
            assert trap.connections == 0

    run(go)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http:relative",
        "http:\\\\127.0.0.1",
        "/a b",
        "gopher://x/",
        "http://user:pass@127.0.0.1/",
        "http://0x7f.1/",
        "http://[::1",
        "http:///x",
    ],
)
def test_a_redirect_to_something_odd_is_refused(run, serve, door, ask, location):
    async def go():
        async with serve(redirecting({"/a": (302, location)})) as upstream, door() as egress:
            with pytest.raises(BadRequest):
                await egress.send(ask(upstream.url + "/a", redirects=5))
            assert len(upstream.heads) == 1

    run(go)


def test_the_total_covers_all_hops(run, serve, door, ask):
    async def script(exchange):
        await exchange.request()
        await asyncio.sleep(0.03)
        await exchange.reply(b"", "302 Found", location="/a")

    async def go():
        async with serve(script) as upstream, door() as egress:
            with pytest.raises(TimedOut) as caught:
                await egress.send(ask(upstream.url + "/a", "GET", b"", redirects=100, total=0.1))
            assert caught.value.phase == "total"

    run(go)


@pytest.mark.parametrize(
    ("status", "method", "after"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (301, "PUT", "PUT"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)
def test_methods_change_as_the_fetch_standard_says(status, method, after):
    headers = (("content-type", "application/json"), ("accept", "*/*"))
    hop = next_hop(Outgoing(method, "https://a.example/x", headers, b"{}", True), status, "/y")
    assert (hop.method, hop.url) == (after, "https://a.example/y")
    assert hop.body == (b"{}" if after == method and method != "HEAD" else hop.body)
    assert ("content-type" in dict(hop.headers)) == (after == method)
    assert hop.trusted


def test_a_change_of_method_drops_the_body():
    assert next_hop(Outgoing("POST", "https://a.example/", (), b"{}"), 302, "/y").body == b""


def test_from_https_to_http_no_credential_travels():
    with pytest.raises(BadRequest, match="credentials"):
        next_hop(Outgoing("GET", "https://a.example/", tuple(SECRETS)), 302, "http://a.example/")
    plain = next_hop(Outgoing("GET", "https://a.example/", (("accept", "*/*"),)), 302, "http://a.example/")
    assert plain.url == "http://a.example/"


@pytest.mark.parametrize("url", ["https://b.example/", "https://a.example:444/", "https://sub.a.example/"])
def test_another_host_or_port_is_another_origin(url):
    hop = next_hop(Outgoing("GET", "https://a.example/", tuple(SECRETS), trusted=True), 302, url)
    assert hop.headers == ()
    assert not hop.trusted
