from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import StoreDown
from midstream.delivery import live
from midstream.delivery.live import Body, Hub, Listener, Said


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Ends:
    """What the store has, by channel. slow: it answers only when `go` is set."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Said]] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.down = False

    async def __call__(self, org: str, channel: str, after: int) -> Sequence[Said]:
        await self.go.wait()
        if self.down:
            raise StoreDown
        return [said for said in self.rows.get((org, channel), []) if said.number > after]


def text(words: str) -> Body:
    return lambda number: words.encode()


def made(clock: Clock | None = None, ends: Ends | None = None) -> Hub:
    return Hub(clock or Clock(), ends or Ends())


async def heard(listener: Listener, count: int) -> list[str]:
    return [said.body.decode() for said in await messages(listener, count)]


async def messages(listener: Listener, count: int) -> list[Said]:
    found = []
    async with asyncio.timeout(5):
        for _ in range(count):
            said = await listener.next()
            assert said is not None
            found.append(said)
    assert [said.number for said in found] == sorted({said.number for said in found})
    return found


async def silent(listener: Listener) -> bool:
    try:
        async with asyncio.timeout(0.02):
            return await listener.next() is None
    except TimeoutError:
        return True


def test_who_listens_hears_everything_in_order_and_nothing_of_other_channels_or_orgs():
    async def test() -> None:
        hub = made()
        mine, other, foreign = [await hub.join(*name) for name in (("a", "x"), ("a", "y"), ("b", "x"))]
        for org, channel, words in (("a", "x", "1"), ("b", "x", "theirs"), ("a", "y", "else"), ("a", "x", "2")):
            hub.say(org, channel, text(words))
        assert await heard(mine, 2) == ["1", "2"]
        assert await heard(other, 1) == ["else"]
        assert await heard(foreign, 1) == ["theirs"]
        assert await silent(mine)

    asyncio.run(test())


def test_numbers_rise_whatever_the_clock_does_and_messages_know_theirs():
    async def test() -> None:
        clock = Clock()
        hub = made(clock)
        listener = await hub.join("a", "x")
        for now in (100.0, 100.0, 90.0, 200.0):
            clock.now = now
            hub.say("a", "x", lambda number: b"%d" % number)
        told = await messages(listener, 4)
        assert [int(said.body) for said in told] == [said.number for said in told]

    asyncio.run(test())


def test_who_comes_back_hears_the_rest_once_and_nothing_that_is_too_old():
    async def test() -> None:
        clock = Clock()
        hub = made(clock)
        first = await hub.join("a", "x")
        for words in "123":
            hub.say("a", "x", text(words))
        last = (await messages(first, 2))[-1].number
        hub.leave("a", "x", first)
        again = await hub.join("a", "x", last)
        assert await heard(again, 1) == ["3"]
        assert not again.gap
        clock.now += live.KEEP_SECONDS + 1
        late = await hub.join("a", "x", last)
        assert late.gap
        hub.say("a", "x", text("4"))
        assert await heard(late, 1) == ["4"]
        fresh = await hub.join("a", "x")
        assert not fresh.gap

    asyncio.run(test())


def test_what_is_said_behind_a_held_place_waits_for_it():
    async def test() -> None:
        hub = made()
        listener = await hub.join("a", "x")
        hub.say("a", "x", text("1"))
        one, two = hub.hold("a", "x", text("end 1")), hub.hold("a", "x", text("end 2"))
        hub.say("a", "x", text("3"))
        hub.say("a", "y", text("other channels do not wait"))
        hub.tell("a", "x", two)
        assert await heard(listener, 1) == ["1"]
        assert await silent(listener)
        hub.tell("a", "x", one)
        assert await heard(listener, 3) == ["end 1", "end 2", "3"]

    asyncio.run(test())


def test_a_place_that_is_given_up_holds_nobody_up_and_one_that_was_told_stays_told():
    async def test() -> None:
        hub = made()
        listener = await hub.join("a", "x")
        given_up, told = hub.hold("a", "x", text("never")), hub.hold("a", "x", text("told"))
        hub.tell("a", "x", told)
        hub.drop("a", "x", told)
        hub.drop("a", "x", given_up)
        assert await heard(listener, 1) == ["told"]
        assert await silent(listener)

    asyncio.run(test())


def test_ends_of_an_earlier_server_are_heard_once_and_the_gap_in_what_it_said_is_told():
    async def test() -> None:
        clock, ends = Clock(), Ends()
        before = made(clock, ends)
        listener = await before.join("a", "x")
        before.say("a", "x", text("progress"))
        for words in ("end 1", "end 2"):
            held = before.hold("a", "x", text(words))
            ends.rows.setdefault(("a", "x"), []).append(Said(held.number, held.body, kept=True))
            before.tell("a", "x", held)
        numbers = [said.number for said in await messages(listener, 3)]

        clock.now += 1
        hub = made(clock, ends)
        missed = await hub.join("a", "x", numbers[1])
        assert missed.gap
        assert await heard(missed, 1) == ["end 2"]
        nothing = await hub.join("a", "x", numbers[2])
        hub.say("a", "x", text("new"))
        assert await heard(nothing, 1) == ["new"]
        assert await heard(await hub.join("a", "x"), 3) == ["end 1", "end 2", "new"]

    asyncio.run(test())


def test_what_is_told_while_the_store_is_asked_is_heard_once_and_in_its_place():
    async def test() -> None:
        clock, ends = Clock(), Ends()
        clock.now = 200.0
        hub = made(clock, ends)
        hub.say("a", "x", text("1"))
        ends.rows["a", "x"] = [Said(100_000_000, b"0", kept=True)]
        ends.go.clear()
        listening = asyncio.create_task(hub.join("a", "x"))
        await asyncio.sleep(0)
        held = hub.hold("a", "x", text("end"))
        ends.rows["a", "x"].append(Said(held.number, held.body, kept=True))
        hub.say("a", "x", text("after the end"))
        hub.tell("a", "x", held)
        ends.go.set()
        listener = await listening
        assert await heard(listener, 4) == ["0", "1", "end", "after the end"]
        assert await silent(listener)

    asyncio.run(test())


def test_an_end_that_is_stored_and_not_told_yet_is_not_told_before_its_turn():
    async def test() -> None:
        ends = Ends()
        hub = made(ends=ends)
        first, second = hub.hold("a", "x", text("first")), hub.hold("a", "x", text("second"))
        ends.rows["a", "x"] = [Said(second.number, second.body, kept=True)]
        listener = await hub.join("a", "x")
        assert await silent(listener)
        hub.tell("a", "x", second)
        hub.tell("a", "x", first)
        assert await heard(listener, 2) == ["first", "second"]

    asyncio.run(test())


def test_a_store_that_is_away_is_told_and_leaves_no_listener_behind():
    async def test() -> None:
        ends = Ends()
        ends.down = True
        hub = made(ends=ends)
        with pytest.raises(StoreDown):
            await hub.join("a", "x")
        assert not hub._channels

    asyncio.run(test())


def test_who_comes_to_more_ends_than_are_read_at_once_hears_the_newest_and_is_told_of_the_gap():
    async def test() -> None:
        ends = Ends()
        ends.rows["a", "x"] = [Said(number, b"end", kept=True) for number in range(1, live.ENDS + 1)]
        listener = await made(ends=ends).join("a", "x")
        assert listener.gap
        assert len(await messages(listener, live.ENDS)) == live.ENDS

    asyncio.run(test())


def test_who_falls_too_far_behind_is_sent_away_instead_of_losing_some_in_silence():
    async def test() -> None:
        hub = made()
        slow = await hub.join("a", "x")
        for number in range(live.BEHIND + 3):
            hub.say("a", "x", text(str(number)))
        assert slow.behind
        await heard(slow, live.BEHIND)
        assert await slow.next() is None

    asyncio.run(test())


def test_a_large_message_is_told_and_many_of_them_are_too_far_behind():
    async def test() -> None:
        hub = made()
        slow = await hub.join("a", "x")
        large = "x" * (live.BEHIND_BYTES + 1)
        hub.say("a", "x", text(large))
        assert await heard(slow, 1) == [large]
        hub.say("a", "x", text(large))
        assert not slow.behind
        hub.say("a", "x", text("one more"))
        assert slow.behind
        assert await heard(slow, 1) == [large]
        assert await slow.next() is None

    asyncio.run(test())


def test_who_has_left_hears_no_more_at_once():
    async def test() -> None:
        hub = made()
        listener = await hub.join("a", "x")
        waiting = asyncio.create_task(listener.next())
        await asyncio.sleep(0)
        listener.leave()
        assert await asyncio.wait_for(waiting, 5) is None
        hub.leave("a", "x", listener)
        assert not hub._channels

    asyncio.run(test())


def test_memory_holds_a_part_of_a_channel_only_and_what_is_missed_by_that_is_a_gap():
    async def test() -> None:
        hub = made()
        first = await hub.join("a", "x")
        hub.say("a", "x", text("begin"))
        [begin] = await messages(first, 1)
        for _ in range(3):
            hub.say("a", "x", text("y" * (live.KEPT_BYTES // 2)))
        late = await hub.join("a", "x", begin.number)
        assert late.gap
        assert len((await heard(late, 2))[0]) == live.KEPT_BYTES // 2
        for number in range(live.KEPT + 1):
            hub.say("a", "y", text(str(number)))
        assert (await heard(await hub.join("a", "y"), 1)) == ["1"]

    asyncio.run(test())


def test_memory_of_all_channels_together_has_an_end_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "ALL_BYTES", 1000)

    async def test() -> None:
        clock = Clock()
        hub = made(clock)
        listener = await hub.join("a", "c0")
        begin = hub.last("a", "c0")
        for number in range(100):
            clock.now += 0.001
            hub.say("a", f"c{number % 20}", text("x" * 50))
            assert sum(one.kept_bytes for one in hub._channels.values()) == hub._bytes <= 1000
        assert len(await heard(listener, 5)) == 5
        assert (await hub.join("a", "c0", begin)).gap
        assert len(await heard(await hub.join("a", "c19"), 1)) == 1

    asyncio.run(test())


def test_what_is_too_old_goes_also_when_nobody_comes(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        clock = Clock()
        hub = made(clock)
        listener = await hub.join("a", "heard")
        for channel in ("heard", "unheard"):
            hub.say("a", channel, text("x"))
        held = hub.hold("a", "held", text("end"))
        hub.sweep()
        assert hub._bytes == 2
        clock.now += live.KEEP_SECONDS + 1
        hub.sweep()
        assert {name for _, name in hub._channels} == {"heard", "held"}
        assert hub._bytes == 0
        hub.tell("a", "held", held)
        hub.leave("a", "heard", listener)
        assert {name for _, name in hub._channels} == {"held"}

    asyncio.run(test())


def test_channels_that_nobody_listens_to_are_forgotten_in_the_end_and_who_comes_back_is_told_of_the_gap():
    async def test() -> None:
        clock = Clock()
        hub = made(clock)
        listener = await hub.join("a", "kept")
        early = hub.last("a", "kept")
        for number in range(live.CHANNELS + 10):
            clock.now += 0.001
            hub.say("a", f"c{number}", text("x"))
        assert len(hub._channels) <= live.CHANNELS
        hub.say("a", "kept", text("y"))
        assert await heard(listener, 1) == ["y"]
        assert (await hub.join("a", "c0", early)).gap
        assert not (await hub.join("a", "new", hub.last("a", "new"))).gap

    asyncio.run(test())


@given(st.lists(st.sampled_from(["say", "hold", "tell", "drop", "come"]), max_size=40), st.randoms())
def test_every_listener_hears_the_same_in_the_same_order(steps: list[str], random):
    async def test() -> None:
        ends = Ends()
        hub = made(ends=ends)
        listeners, held = [await hub.join("a", "x")], []
        for said, step in enumerate(steps):
            if step == "say":
                hub.say("a", "x", text(f"say {said}"))
            elif step == "hold":
                held.append(hub.hold("a", "x", text(f"end {said}")))
                ends.rows.setdefault(("a", "x"), []).append(Said(held[-1].number, held[-1].body, kept=True))
            elif step == "come":
                listeners.append(await hub.join("a", "x"))
            elif held:
                one = held.pop(random.randrange(len(held)))
                if step == "drop":
                    ends.rows["a", "x"] = [row for row in ends.rows["a", "x"] if row.number != one.number]
                getattr(hub, step)("a", "x", one)
        for one in held:
            hub.tell("a", "x", one)
        hub.say("a", "x", text("last"))
        everything = []
        for listener in listeners:
            told = []
            while not told or told[-1] != "last":
                told += await heard(listener, 1)
            everything.append(told)
        assert all(told == everything[0] for told in everything)
        assert len(set(everything[0])) == len(everything[0])

    asyncio.run(test())


# what other servers say


def numbered(words: str) -> Body:
    return lambda number: f"{words} {number}".encode()


def test_what_another_server_says_is_heard_in_its_place_or_behind_what_was_said_here_later():
    async def test() -> None:
        hub = made()
        listener = await hub.join("a", "x")
        now = 100_000_000
        hub.hear("a", "x", now + 5, numbered("theirs"), kept=False, source="srv_2")
        hub.say("a", "x", numbered("ours"))
        hub.hear("a", "x", now + 2, numbered("late"), kept=False, source="srv_2")
        said = await heard(listener, 3)
        assert said == [f"theirs {now + 5}", f"ours {now + 6}", f"late {now + 7}"]

    asyncio.run(test())


def test_what_is_said_here_is_told_to_the_others_and_what_they_said_is_not_told_back():
    async def test() -> None:
        hub = made()
        told: list[tuple[object, bytes, bool]] = []
        hub.relay = lambda name, said: told.append((name, said.body, said.kept))
        hub.hear("a", "x", 7, text("theirs"), kept=True, source="srv_2")
        hub.say("a", "x", text("1"))
        held = hub.hold("a", "x", text("end"))
        hub.say("a", "x", text("2"))
        assert told == [(("a", "x"), b"1", False)]
        hub.tell("a", "x", held)
        assert told == [(("a", "x"), b"1", False), (("a", "x"), b"end", True), (("a", "x"), b"2", False)]

    asyncio.run(test())


def test_who_comes_back_is_not_told_again_what_the_other_server_or_the_store_has_told():
    async def test() -> None:
        ends = Ends()
        hub = made(ends=ends)
        now = 100_000_000
        first = await hub.join("a", "x")  # so the channel is known, and nothing was told in it
        ends.rows["a", "x"] = [Said(now + 9, b"end", kept=True)]
        late = await hub.join("a", "x", now + 5)
        assert await heard(late, 1) == ["end"]
        hub.hear("a", "x", now + 5, text("known"), kept=False, source="srv_2")
        hub.hear("a", "x", now + 8, text("news"), kept=False, source="srv_2")
        hub.hear("a", "x", now + 9, text("end"), kept=True, source="srv_2")
        assert await heard(first, 3) == ["known", "news", "end"]
        again = await late.next()
        assert again is not None
        assert again.body == b"news"
        assert await silent(late)
        assert await heard(await hub.join("a", "x", now + 8), 1) == ["end"]  # which is here and in the store

    asyncio.run(test())


def test_who_listens_has_to_come_back_when_something_may_be_missing_and_is_told_of_the_gap():
    async def test() -> None:
        clock = Clock()
        hub = made(clock)
        listener = await hub.join("a", "x")
        hub.hear("a", "x", 100_000_001, text("1"), kept=False, source="srv_2")
        [last] = await messages(listener, 1)
        clock.now += 1
        hub.missed()
        assert await listener.next() is None
        assert listener.lost
        again, unknown = await hub.join("a", "x", last.number), await hub.join("a", "y", last.number)
        assert again.gap
        assert unknown.gap
        clock.now += 1
        hub.say("a", "x", text("2"))
        assert await heard(again, 1) == ["2"]
        assert not (await hub.join("a", "x", hub.last("a", "x"))).gap

    asyncio.run(test())


class Servers:
    """Two hubs that share a store; what one says comes to the other some steps later. Who listens at one comes back to
    the other."""

    def __init__(self) -> None:
        self.clock, self.ends = Clock(), Ends()
        self.hubs = [made(self.clock, self.ends) for _ in range(2)]
        self.on_the_way: list[list[Said]] = [[], []]
        for at, hub in enumerate(self.hubs):
            hub.several = True
            hub.relay = lambda name, said, at=at: self.on_the_way[at].append(said)

    def step(self, at: int, kind: str, words: str) -> None:
        self.clock.now += 0.001
        if kind == "arrives":
            if self.on_the_way[at]:
                said = self.on_the_way[at].pop(0)
                self.hubs[1 - at].hear("a", "x", said.number, lambda _: said.body, kept=said.kept, source=f"srv_{at}")
        elif kind == "piece":
            self.hubs[at].say("a", "x", text(words))
        else:
            held = self.hubs[at].hold("a", "x", text(words))
            self.ends.rows.setdefault(("a", "x"), []).append(Said(held.number, held.body, kept=True))
            self.hubs[at].tell("a", "x", held)


async def waiting_for(listener: Listener, most: int = 1000) -> list[Said]:
    """What is there for it now."""
    found: list[Said] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            while len(found) < most and (said := await listener.next()) is not None:
                found.append(said)
    return found


STEPS = st.tuples(st.sampled_from([0, 1]), st.sampled_from(["piece", "end", "arrives", "arrives"]))


@given(st.lists(STEPS, max_size=40), st.lists(STEPS, max_size=20), st.integers(0, 40))
def test_who_comes_back_to_another_server_misses_no_end_and_is_told_when_something_else_is_not_as_it_was(
    before: list[tuple[int, str]], since: list[tuple[int, str]], read: int
):
    async def test() -> None:
        servers = Servers()
        first = await servers.hubs[0].join("a", "x")
        begin = servers.hubs[0].last("a", "x")
        for place, (at, kind) in enumerate(before):
            servers.step(at, kind, f"{kind} {place} of {at}")
        told = await waiting_for(first, read)
        begin = told[-1].number if told else begin
        servers.hubs[0].leave("a", "x", first)
        second = await servers.hubs[1].join("a", "x", begin)
        for place, (at, kind) in enumerate(since):
            servers.step(at, kind, f"{kind} {place + 100} of {at}")
        for at in (0, 1):
            while servers.on_the_way[at]:
                servers.step(at, "arrives", "")
        told += await waiting_for(second)
        heard = [one.body.decode() for one in told]
        every = [
            f"{kind} {place} of {at}"
            for place, (at, kind) in [*enumerate(before), *enumerate(since, 100)]
            if kind != "arrives"
        ]
        assert {one for one in every if one.startswith("end")} <= set(heard)
        if not second.gap:  # an end that was on its way from the one server to the other may be told twice
            pieces = [[one for one in said if one.startswith("piece")] for said in (heard, every)]
            assert sorted(pieces[0]) == sorted(pieces[1])

    asyncio.run(test())
