from __future__ import annotations

import asyncio
from typing import Any

from midstream.core.events import Delta, Done, Event
from midstream.runs.log import MAX_BEHIND, EventLog, Follower


def said(*numbers: int) -> list[Event]:
    return [Delta(0, str(number)) for number in numbers]


async def soon(waiting: asyncio.Task[Any]) -> Any:
    return await asyncio.wait_for(waiting, 5)


def waiting(follower: Follower) -> asyncio.Task[list[Event]]:
    return asyncio.get_running_loop().create_task(follower.take())


def test_every_follower_gets_every_event_in_order_at_its_own_pace():
    async def test() -> None:
        log = EventLog()
        quick, slow = log.follow(), log.follow()
        log.append(said(1, 2))
        assert await quick.take() == said(1, 2)
        log.append(said(3))
        assert await quick.take() == said(3)
        assert await slow.take() == said(1, 2, 3)

    asyncio.run(test())


def test_a_take_waits_for_the_next_events_and_returns_nothing_when_the_log_is_closed():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        task = waiting(follower)
        await asyncio.sleep(0)
        assert not task.done()
        log.append(said(1))
        assert await soon(task) == said(1)
        task = waiting(follower)
        await asyncio.sleep(0)
        log.close()
        assert await soon(task) == []
        assert await follower.take() == []

    asyncio.run(test())


def test_what_was_said_before_the_close_is_still_taken_after_it():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        log.append(said(1))
        log.close()
        assert await follower.take() == said(1)
        assert await follower.take() == []

    asyncio.run(test())


def test_who_leaves_waits_for_nothing_any_more():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        task = waiting(follower)
        await asyncio.sleep(0)
        follower.leave()
        assert await soon(task) == []
        assert await soon(waiting(follower)) == []

    asyncio.run(test())


def test_the_owner_is_told_once_when_the_last_follower_leaves_an_open_log():
    async def test() -> None:
        told = []
        log = EventLog()
        log.deserted = lambda: told.append(1)
        one, two = log.follow(), log.follow()
        one.leave()
        one.leave()
        assert told == []
        two.leave()
        two.leave()
        assert told == [1]

    asyncio.run(test())


def test_leaving_a_closed_log_tells_nobody():
    async def test() -> None:
        told = []
        log = EventLog()
        log.deserted = lambda: told.append(1)
        follower = log.follow()
        log.close()
        follower.leave()
        assert told == []

    asyncio.run(test())


def test_a_follower_too_far_behind_stops_the_owner_until_it_has_taken():
    async def test() -> None:
        told = []
        log = EventLog()
        log.on_room(lambda: told.append(1))
        follower = log.follow()
        assert log.append(said(1), MAX_BEHIND)
        assert not log.append(said(2), 1)
        assert not log.append([], 0)
        assert told == []
        assert await follower.take() == said(1, 2)
        assert told == [], "what it has taken is still on its way"
        assert not log.append([], 0)
        waiting = asyncio.ensure_future(follower.take())
        await asyncio.sleep(0)
        assert told == [1]
        assert log.append(said(3), 1)
        assert await waiting == said(3)

    asyncio.run(test())


def test_the_slowest_of_several_followers_decides():
    async def test() -> None:
        told = []
        log = EventLog()
        log.on_room(lambda: told.append(1))
        quick, slow = log.follow(), log.follow()
        assert not log.append(said(1), MAX_BEHIND + 1)
        await quick.take()
        assert not log.append(said(2), 1)
        await quick.take()
        assert told == []
        await slow.take()
        assert told == []
        log.append(said(3), 1)
        await slow.take()
        await quick.take()
        assert told == [1]

    asyncio.run(test())


def test_a_slow_follower_that_leaves_sets_the_owner_free():
    async def test() -> None:
        told = []
        log = EventLog()
        log.on_room(lambda: told.append(1))
        log.follow()
        slow = log.follow()
        log.append(said(1), 1)
        await log._followers[0].take()
        slow.push(said(2), MAX_BEHIND + 1)
        slow.leave()
        assert told == [1]

    asyncio.run(test())


def test_a_kept_log_gives_later_followers_exactly_the_rest_from_any_number_on():
    async def test() -> None:
        log = EventLog(keep=True)
        log.append(said(0, 1, 2))
        for after in range(5):
            follower = log.follow(after)
            log.append(said())
            assert follower._events == said(0, 1, 2)[after:]
        follower = log.follow(2)
        log.append(said(3))
        log.close()
        assert await follower.take() == said(2, 3)
        late = log.follow(1)
        assert await late.take() == said(1, 2, 3)
        assert await late.take() == []

    asyncio.run(test())


def test_a_log_that_is_not_kept_has_no_past():
    async def test() -> None:
        log = EventLog()
        log.append(said(1))
        follower = log.follow()
        log.append(said(2))
        assert await follower.take() == said(2)

    asyncio.run(test())


def test_waking_a_follower_lets_it_do_something_else_and_loses_nothing():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        task = waiting(follower)
        await asyncio.sleep(0)
        follower.wake()
        assert await soon(task) == []
        log.append(said(1))
        assert await follower.take() == said(1)

    asyncio.run(test())


def test_a_patient_reader_is_woken_for_the_end_and_not_for_a_part():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        follower.patient = True
        task = waiting(follower)
        await asyncio.sleep(0)
        log.append(said(1), 10)
        await asyncio.sleep(0)
        assert not task.done()
        log.append([Done()])
        assert await soon(task) == [*said(1), Done()]

    asyncio.run(test())


def test_a_patient_reader_that_would_be_too_far_behind_takes_what_there_is():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        follower.patient = True
        rooms: list[int] = []
        log.on_room(lambda: rooms.append(1))
        task = waiting(follower)
        await asyncio.sleep(0)
        assert not log.append(said(1), MAX_BEHIND + 1)
        assert await soon(task) == said(1)
        task = waiting(follower)
        await asyncio.sleep(0)
        assert rooms == [1]
        log.append(said(2))
        log.close()  # no end was logged: nobody is left waiting for it
        assert await soon(task) == said(2)

    asyncio.run(test())


def test_a_patient_reader_that_leaves_waits_no_longer():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        follower.patient = True
        task = waiting(follower)
        await asyncio.sleep(0)
        log.append(said(1))
        follower.leave()
        assert await soon(task) == said(1)
        assert await follower.take() == []

    asyncio.run(test())


def test_a_reader_that_waits_is_handed_events_at_once_in_order_and_woken_only_for_the_end():
    async def test() -> None:
        log = EventLog()
        follower = log.follow()
        handed: list[Event] = []
        takes = True

        def deliver(events: Any) -> bool:
            if takes:
                handed.extend(events)
            return takes

        follower.deliver = deliver
        log.append(said(1))  # nobody waits yet: kept for the take that comes
        assert handed == []
        assert await follower.take() == said(1)
        task = waiting(follower)
        await asyncio.sleep(0)
        log.append(said(2))
        log.append(said(3))
        assert handed == said(2, 3)
        assert not task.done()
        takes = False  # the client is behind
        log.append(said(4))
        takes = True
        log.append(said(5))  # may not overtake what was not taken
        assert handed == said(2, 3)
        assert await soon(task) == said(4, 5)
        task = waiting(follower)
        await asyncio.sleep(0)
        log.append([Done()])
        assert await soon(task) == [Done()]
        assert handed == said(2, 3)

    asyncio.run(test())


def test_who_listens_has_heard_everything_when_the_call_that_logs_it_returns():
    async def test() -> None:
        log = EventLog()
        heard: list[Event] = []
        follower = log.follow()
        taking = waiting(follower)
        await asyncio.sleep(0)
        log.attach(heard.extend)
        for events in (said(1, 2), said(3), [Done()]):
            log.append(events)
        assert heard == [*said(1, 2, 3), Done()]
        assert await soon(taking) == heard
        log.close()

    asyncio.run(test())


def test_who_listens_holds_nobody_up_while_a_follower_is_behind():
    async def test() -> None:
        log = EventLog()
        heard: list[Event] = []
        log.attach(heard.extend)
        assert log.append(said(1), MAX_BEHIND * 2)
        follower = log.follow()
        assert not log.append(said(2), MAX_BEHIND * 2)
        log.attach(heard.extend)
        follower.leave()
        assert heard == said(1, 2)

    asyncio.run(test())
