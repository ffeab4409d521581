from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.access import limits as limits_module
from midstream.access.limits import MINUTE, Limits, Minute
from midstream.core.errors import LimitReached
from midstream.core.web import Caller

NOW = 1000.0


class Counter:
    """Limits with a clock that is moved by hand."""

    def __init__(self, org_in_flight: int = 4096) -> None:
        self.now = NOW
        self.limits = Limits(org_in_flight, lambda: self.now)

    def ask(self, caller: Caller) -> bool:
        try:
            self.limits.enter(caller, "chat")
        except LimitReached:
            return False
        self.limits.leave(caller)
        return True


def key(name: str, limit: int, org: str = "o") -> Caller:
    return Caller(org, f"key_{name}", requests_per_minute=limit)


def test_of_a_thousand_at_once_exactly_the_limit_is_admitted_whoever_else_asks():
    counter = Counter()
    admitted = 0
    for _ in range(1000):
        admitted += counter.ask(key("a", 100))
        counter.now += 0.01  # ten seconds for all of them: nothing is given back within the minute
        assert counter.ask(key("unlimited", 0))
    assert admitted == 100
    assert sum(counter.ask(key("b", 100)) for _ in range(1000)) == 100


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 90, allow_nan=False), st.integers(1, 80)), min_size=1, max_size=30),
)
def test_no_minute_sees_more_than_twice_the_limit_and_whoever_waits_as_told_is_admitted(
    limit: int, bursts: list[tuple[float, int]]
):
    now = NOW + bursts[0][0]
    minute = Minute(now)
    admitted: list[float] = []
    for number, (wait, count) in enumerate(bursts):
        now += wait if number else 0
        for _ in range(count):
            if not minute.take(limit, now):
                admitted.append(now)
    for at in admitted:
        assert sum(at - MINUTE < other <= at for other in admitted) <= 2 * limit
    assert sum(at < admitted[0] + MINUTE for at in admitted) <= limit
    seconds = minute.take(limit, now)
    assert 0 <= seconds <= 2 * MINUTE
    if seconds:
        assert minute.take(limit, now + seconds + 0.001) == 0.0


def test_a_client_that_keeps_to_its_limit_is_hardly_ever_refused():
    minute, now = Minute(NOW), NOW
    refused = 0
    for _ in range(600):
        refused += minute.take(60, now) > 0
        now += 1.02
    assert refused == 0


def test_a_limit_that_was_lowered_or_raised_holds_from_the_next_request_on():
    minute = Minute(NOW)
    assert [minute.take(10, NOW) for _ in range(10)] == [0.0] * 10
    assert minute.take(10, NOW) == MINUTE
    assert minute.take(11, NOW) == 0.0
    seconds = minute.take(5, NOW)
    assert seconds > MINUTE
    assert minute.take(5, NOW + seconds + 0.001) == 0.0


def test_a_refusal_says_when_to_come_back_in_whole_seconds():
    counter = Counter()
    assert counter.ask(key("a", 1))
    counter.now += 0.5
    with pytest.raises(LimitReached, match="1 requests a minute") as refused:
        counter.limits.enter(key("a", 1), "chat")
    assert refused.value.retry_after == 60.0
    counter.now += 60.0
    assert counter.ask(key("a", 1))


def test_an_org_has_so_many_requests_under_way_and_no_more():
    counter = Counter(org_in_flight=2)
    ours, theirs = key("a", 0), key("b", 0, "other")
    counter.limits.enter(ours, "chat")
    counter.limits.enter(ours, "chat")
    with pytest.raises(LimitReached, match="2 requests of this org") as refused:
        counter.limits.enter(key("c", 0), "chat")
    assert refused.value.retry_after == 1.0
    assert counter.ask(theirs)
    counter.limits.leave(ours)
    assert counter.ask(key("c", 0))
    counter.limits.leave(ours)
    assert counter.limits._in_flight == {}


def test_what_the_org_has_no_room_for_is_not_counted_against_the_key():
    counter = Counter(org_in_flight=1)
    counter.limits.enter(key("other", 0), "chat")
    assert not any(counter.ask(key("a", 1)) for _ in range(5))
    counter.limits.leave(key("other", 0))
    assert counter.ask(key("a", 1))
    counter.limits.enter(key("other", 0), "chat")
    assert counter.limits._in_flight == {"o": 1}, "a refused request is not under way"


def test_keys_that_have_been_quiet_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits_module, "KEYS", 10)
    counter = Counter()
    for number in range(100):
        counter.ask(key(str(number), 1))
        counter.now += 30
    assert len(counter.limits._minutes) <= 11
