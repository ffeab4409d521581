"""Names that are looked up for strangers: who waits for whom."""

import asyncio
import socket
import threading

import pytest

from midstream.core.errors import TimedOut, Unreachable
from midstream.egress.addresses import OF_DOMAIN, STRANGERS, WAITING, _domain_of


async def answering(exchange):
    await exchange.request()
    await exchange.reply(b"hello")


def test_names_of_strangers_that_are_looked_up_without_end_hold_up_nobody_elses(run, serve, door, ask):
    """A look-up cannot be called off: the loop's few threads would all wait for one name server."""
    waiting, most = 0, 0
    released = asyncio.Event()

    async def stuck(host, port):
        nonlocal waiting, most
        if host == "provider.example":
            return ["127.0.0.1"]
        waiting += 1
        most = max(most, waiting)
        await released.wait()
        waiting -= 1
        return ["127.0.0.1"]

    async def go():
        async with serve(answering) as upstream, door(resolver=stuck) as egress:
            asks = [ask(f"http://x{n}.example:{upstream.port}/", trusted=False, connect=0.05) for n in range(20)]
            ends = await asyncio.gather(*map(egress.send, asks), return_exceptions=True)
            assert {type(end) for end in ends} == {TimedOut}
            assert waiting == most == STRANGERS  # for ever, though nobody waits for them
            own = ask(f"http://provider.example:{upstream.port}/", trusted=True)
            assert await (await egress.send(own)).read() == b"hello"
            released.set()
            await asyncio.sleep(0.01)
            assert (waiting, most) == (0, STRANGERS)

    run(go)


def test_names_of_one_domain_that_are_looked_up_without_end_hold_up_that_domain_only(run, serve, door, ask):
    waiting = []
    released = asyncio.Event()

    async def dead(host, port):
        if host.endswith(".dead.example"):
            waiting.append(host)
            await released.wait()
        return ["127.0.0.1"]

    async def go():
        async with serve(answering) as upstream, door(resolver=dead, allow=["127.0.0.1"]) as egress:

            def asked(host, **more):
                return egress.send(ask(f"http://{host}:{upstream.port}/", trusted=False, **more))

            many = OF_DOMAIN + WAITING
            ends = [asyncio.ensure_future(asked(f"x{n}.dead.example", connect=0.3)) for n in range(many)]
            await asyncio.sleep(0.02)
            with pytest.raises(Unreachable, match="too many names of its domain"):
                await asked("more.dead.example")
            assert await (await asked("hooks.example")).read() == b"hello"
            assert {type(end) for end in await asyncio.gather(*ends, return_exceptions=True)} == {TimedOut}
            assert waiting == ["x0.dead.example", "x1.dead.example"]
            assert await (await asked("hooks.example")).read() == b"hello", "they have been given up"
            released.set()
            await asyncio.sleep(0.01)
            assert await (await asked("x2.dead.example")).read() == b"hello"
            assert egress._addresses._for_strangers._domains == {}

    run(go)


def test_a_system_that_cannot_resolve_strangers_names_resolves_the_providers(run, serve, door, ask, monkeypatch):
    """More of them than the loop has threads."""
    released, looked_up = threading.Event(), socket.getaddrinfo

    def stuck(host, *args, **more):
        if "dead" in host:
            released.wait(10)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return looked_up(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", stuck)

    async def go():
        try:
            async with serve(answering) as upstream, door(allow=["localhost"]) as egress:
                asks = [ask(f"http://x.dead{n}.example/", trusted=False, connect=0.2) for n in range(20)]
                ends = await asyncio.gather(*map(egress.send, asks), return_exceptions=True)
                assert {type(end) for end in ends} == {TimedOut}
                own = ask(f"http://localhost:{upstream.port}/", trusted=True)
                assert await (await egress.send(own)).read() == b"hello"
                released.set()
                await asyncio.sleep(0.05)
                with pytest.raises(Unreachable, match="Name or service not known"):
                    await egress.send(ask("http://dead.example/", trusted=False))
                stranger = ask(f"http://localhost:{upstream.port}/", trusted=False)
                assert await (await egress.send(stranger)).read() == b"hello"
        finally:
            released.set()

    run(go)


@pytest.mark.parametrize(
    ("host", "domain"),
    [("a.b.example.org", "example.org"), ("example.org", "example.org"), ("dead.co.uk", "dead.co.uk"),
     ("x.news.com.br", "news.com.br"), ("host", "host"), ("t.co", "t.co")],
)  # fmt: skip
def test_a_domain_is_what_somebody_can_own(host: str, domain: str) -> None:
    assert _domain_of(host) == domain
