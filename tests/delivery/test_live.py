from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Unauthenticated
from midstream.delivery import live
from midstream.delivery.live import Hub, Listener, read_token, token

KEY = b"k" * 32


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def heard(listener: Listener, count: int) -> list[tuple[int, bytes]]:
    found = []
    async with asyncio.timeout(5):
        for _ in range(count):
            said = await listener.next()
            assert said is not None
            found.append((said.number, said.body))
    return found


def test_who_listens_hears_everything_in_order_and_nothing_of_other_channels_or_orgs():
    async def test() -> None:
        hub = Hub(Clock())
        mine, other, foreign = hub.listen("a", "x"), hub.listen("a", "y"), hub.listen("b", "x")
        assert [hub.publish("a", "x", b"1"), hub.publish("a", "x", b"2")] == [1, 1]
        hub.publish("b", "x", b"theirs")
        hub.publish("a", "y", b"else")
        assert await heard(mine, 2) == [(1, b"1"), (2, b"2")]
        assert await heard(other, 1) == [(1, b"else")]
        assert await heard(foreign, 1) == [(1, b"theirs")]

    asyncio.run(test())


def test_who_comes_back_hears_the_rest_and_what_is_old_is_no_longer_told():
    async def test() -> None:
        clock = Clock()
        hub = Hub(clock)
        for number in range(1, 4):
            hub.publish("a", "x", b"%d" % number)
        assert await heard(hub.listen("a", "x", after=2), 1) == [(3, b"3")]
        clock.now += live.KEEP_SECONDS + 1
        late = hub.listen("a", "x")
        hub.publish("a", "x", b"4")
        assert await heard(late, 1) == [(4, b"4")]

    asyncio.run(test())


def test_who_falls_too_far_behind_is_told_so_instead_of_losing_some_in_silence():
    async def test() -> None:
        hub = Hub(Clock())
        slow = hub.listen("a", "x")
        for number in range(live.BEHIND + 3):
            hub.publish("a", "x", b"%d" % number)
        await heard(slow, live.BEHIND)
        assert await slow.next() is None

    asyncio.run(test())


def test_channels_that_nobody_listens_to_are_forgotten_in_the_end():
    hub = Hub(Clock())
    listener = hub.listen("a", "kept")
    for number in range(live.CHANNELS + 10):
        hub.publish("a", f"c{number}", b"x")
    assert len(hub._channels) <= live.CHANNELS
    assert hub.publish("a", "kept", b"y") == 1
    hub.leave("a", "kept", listener)


def test_a_token_opens_its_own_channel_until_its_time_is_over():
    text = token(KEY, "org_a", "thread 1", 200.0)
    found = read_token(KEY, text, 199.0)
    assert (found.org, found.channel) == ("org_a", "thread 1")
    with pytest.raises(Unauthenticated):
        read_token(KEY, text, 200.0)
    with pytest.raises(Unauthenticated):
        read_token(b"x" * 32, text, 1.0)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_what_is_no_token_is_refused(text: str):
    with pytest.raises(Unauthenticated):
        read_token(KEY, text, 1.0)


@given(st.integers(0, 150), st.characters(codec="ascii"))
def test_a_changed_token_is_refused(place: int, letter: str):
    text = token(KEY, "org_a", "c", 200.0)
    changed = text[: place % len(text)] + letter + text[place % len(text) + 1 :]
    if changed.rstrip("=") != text:
        try:
            found = read_token(KEY, changed, 1.0)
        except Unauthenticated:
            return
        assert (found.org, found.channel, found.until) == ("org_a", "c", 200.0)  # unused bits of the last letter
