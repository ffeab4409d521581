from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest, Busy, Cut, MidstreamError, Refused, TimedOut, Unhonoured, Unreachable
from midstream.core.serving import Target
from midstream.runs.health import Health
from midstream.runs.route import MAX_BACKOFF, TRIES_PER_TARGET, Next, Route

ONE, TWO = Target("one", "m", ""), Target("two", "m", "")
DOWN = Unreachable("no")


class Way:
    """A route whose clock is moved by hand; outcomes are reported to the health as a run does."""

    def __init__(self, targets: Sequence[Target], jitter: float = 1.0, deadline: float = 600.0) -> None:
        self.now = 1000.0
        self.health = Health(lambda: self.now)
        self.route = Route(targets, self.health, self.now + deadline, lambda: jitter)
        self.tries: list[Next] = []

    def first(self) -> Next:
        return self._took(self.route.first())

    def failed(self, error: MidstreamError) -> Next:
        last = self.tries[-1]
        self.health.circuit(last.target.provider, last.key, last.target.model).fail(error, self.now)
        return self._took(self.route.after(error, last.key))

    def _took(self, chosen: Next) -> Next:
        self.now += chosen.wait
        self.tries.append(chosen)
        return chosen


def ending(way: Way, error: MidstreamError) -> MidstreamError:
    """Fails with error until no try is left; the error that the caller sees."""
    try:
        way.first()
        while True:
            way.failed(error)
    except MidstreamError as end:
        return end


def test_targets_are_tried_in_order_three_times_each_and_the_last_error_is_seen():
    way = Way([ONE, TWO])
    assert ending(way, DOWN) is DOWN
    assert [chosen.target.provider for chosen in way.tries] == ["one"] * 3 + ["two"] * 3
    assert [chosen.retry for chosen in way.tries] == [False, True, True] * 2


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_wait_before_a_retry_is_full_jitter_over_a_doubling_bound(jitter: float):
    way = Way([ONE], jitter)
    ending(way, DOWN)
    assert [chosen.wait for chosen in way.tries] == [0.0, 0.5 * jitter, 1.0 * jitter]


def test_no_backoff_is_longer_than_its_bound():
    route = Way([ONE]).route
    route._tries = 50
    assert route._backoff() == MAX_BACKOFF


def test_the_next_target_is_tried_at_once():
    way = Way([ONE, TWO])
    ending(way, DOWN)
    assert way.tries[3].wait == 0.0


@pytest.mark.parametrize("asked", [0.8, 5.0, 30.0, 60.0])
def test_the_only_target_gets_the_time_that_it_asks_for(asked: float):
    way = Way([ONE])
    way.first()
    assert way.failed(Refused("busy", status=429, retry_after=asked)).wait == pytest.approx(max(asked, 0.5))


@pytest.mark.parametrize("status", [429, 503])
def test_more_than_a_minute_is_waited_for_by_nobody(status: int):
    way = Way([ONE])
    error = Refused("busy", status=status, retry_after=61.0)
    assert ending(way, error) is error
    assert len(way.tries) == 1


def test_with_another_target_at_hand_a_long_wait_is_moved_past_and_a_short_one_is_waited_for():
    for asked, then in ((3.0, "two"), (1.5, "one")):
        way = Way([ONE, TWO])
        way.first()
        assert way.failed(Refused("busy", status=503, retry_after=asked)).target.provider == then


def test_no_wait_passes_the_deadline():
    way = Way([ONE], deadline=20.0)
    way.first()
    error = Refused("busy", status=429, retry_after=30.0)
    with pytest.raises(Refused):
        way.failed(error)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_this_key_or_model_is_refused_is_asked_of_the_next_key_then_of_the_next_target_never_again_here(status):
    way = Way([Target("one", "m", "", ("a", "b")), TWO])
    error = Refused("no", status=status)
    assert ending(way, error) is error
    assert [(chosen.target.provider, chosen.key) for chosen in way.tries] == [("one", "a"), ("one", "b"), ("two", "0")]
    assert all(chosen.wait == 0.0 for chosen in way.tries)


def test_a_429_of_one_key_goes_to_the_other_key_at_once():
    way = Way([Target("one", "m", "", ("a", "b"))])
    way.first()
    chosen = way.failed(Refused("busy", status=429, retry_after=30.0))
    assert (chosen.key, chosen.wait) == ("b", 0.0)


@pytest.mark.parametrize(
    "error", [Refused("", status=400), Refused("", status=422), BadRequest("x"), TimedOut("", phase="total")]
)
def test_what_no_attempt_can_change_is_the_end(error: MidstreamError):
    way = Way([ONE, TWO])
    assert ending(way, error) is error
    assert len(way.tries) == 1


def test_a_target_whose_breaker_is_open_is_passed_over():
    way = Way([ONE, TWO])
    for _ in range(5):
        way.health.circuit("one", "0", "m").fail(DOWN, way.now)
    assert way.first().target is TWO


@pytest.mark.parametrize(
    ("error", "why"),
    [(DOWN, "is failing or over its limit"), (Refused("no", status=401), "has refused its key a moment ago")],
)
def test_why_the_first_target_was_not_even_asked_is_known(error: MidstreamError, why: str):
    way = Way([ONE, TWO])
    for _ in range(5):
        way.health.circuit("one", "0", "m").fail(error, way.now)
    assert way.first().target is TWO
    assert way.route.passed_over is not None
    assert way.route.passed_over.message == f"one/m was not asked: it {why}"
    asked = Way([ONE, TWO])
    asked.first()
    while asked.failed(DOWN).target is ONE:
        continue
    assert asked.route.passed_over is None


def test_when_every_breaker_is_open_the_refusal_says_when_to_come_back():
    way = Way([ONE])
    for _ in range(5):
        way.health.circuit("one", "0", "m").fail(DOWN, way.now)
    with pytest.raises(Busy) as refused:
        way.first()
    assert (refused.value.retry_after, refused.value.refused) == (15.0, None)


def test_a_spent_retry_budget_moves_on_instead_of_adding_load():
    way = Way([ONE, TWO])
    for _ in range(3):
        way.health.enter("one", True)
    way.first()
    assert way.failed(DOWN).target is TWO


FAILURES = st.one_of(
    st.sampled_from([DOWN, Cut("cut"), TimedOut("", phase="first_token"), Refused("", status=400), BadRequest("x")]),
    st.builds(
        lambda status, after: Refused("", status=status, retry_after=after),
        st.sampled_from([401, 403, 404, 408, 429, 500, 503, 529]),
        st.none() | st.floats(0.0, 1e6),
    ),
)


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.lists(FAILURES, min_size=1, max_size=60),
    st.floats(0.0, 1.0),
)
def test_whatever_fails_in_whatever_order_the_tries_are_bounded_and_end_in_one_error(
    keys: list[int], failures: list[MidstreamError], jitter: float
):
    targets = [Target(f"t{at}", "m", "", tuple(map(str, range(count)))) for at, count in enumerate(keys)]
    way = Way(targets, jitter)
    most = sum(TRIES_PER_TARGET + count for count in keys)
    with pytest.raises(MidstreamError):
        way.first()
        for number in range(most + 1):
            way.failed(failures[number % len(failures)])
    assert len(way.tries) <= most
    places = [targets.index(chosen.target) for chosen in way.tries]
    assert places == sorted(places)
    assert way.now - 1000.0 <= 600.0
    assert all(chosen.wait >= 0 for chosen in way.tries)


def test_a_key_that_is_refused_with_another_status_is_left_for_the_next_one_and_rests():
    """As Gemini does it: 400, API_KEY_INVALID."""
    refused = Refused("API key not valid", status=400, code="invalid_api_key")
    way = Way([Target("one", "m", "", keys=("a", "b")), TWO])
    assert way.first().key == "a"
    assert way.failed(refused).key == "b"
    assert way.failed(refused).target is TWO
    assert Route([ONE], way.health, way.now + 600, lambda: 1.0).first().target is ONE  # of another key nothing is known
    with pytest.raises(Busy, match="refused its key") as resting:
        Route([Target("one", "m", "", keys=("a", "b"))], way.health, way.now + 600, lambda: 1.0).first()
    assert resting.value.refused == ("one", "a")


def test_a_target_that_cannot_be_asked_is_passed_over_and_the_others_failure_is_told():
    way, refusal = Way([ONE, TWO, Target("three", "m", "")]), BadRequest("no sound here")
    way.first()
    for _ in range(TRIES_PER_TARGET):
        chosen = way.failed(DOWN)
    assert chosen.target is TWO
    assert way.route.passing(refusal).target.provider == "three"
    with pytest.raises(Unreachable) as told:
        way.route.passing(refusal)
    assert told.value is DOWN
    first = Way([ONE, TWO])
    first.first()
    with pytest.raises(BadRequest):
        first.route.passing(refusal)


@pytest.mark.parametrize("code", ["unsupported_media", "invalid_media", "unsupported"])
def test_what_the_first_cannot_be_sent_another_is_asked(code: str):
    first, second = BadRequest("no sound here", code=code), BadRequest("nor here", code=code)
    way = Way([ONE, TWO])
    way.first()
    assert way.route.passing(first).target is TWO
    with pytest.raises(BadRequest) as told:
        way.route.passing(second)
    assert told.value is first
    alone = Way([ONE])
    alone.first()
    with pytest.raises(BadRequest):
        alone.route.passing(first)


def test_what_the_first_would_leave_out_of_a_strict_request_is_refused():
    way = Way([ONE, TWO])
    way.first()
    with pytest.raises(Unhonoured):
        way.route.passing(Unhonoured("one", ("seed",)))


def test_one_that_fails_after_another_could_not_be_asked_says_why_it_failed():
    way = Way([ONE, TWO])
    way.first()
    way._took(way.route.passing(BadRequest("no sound here", code="unsupported_media")))
    for _ in range(TRIES_PER_TARGET - 1):
        way.failed(DOWN)
    with pytest.raises(Unreachable):
        way.failed(DOWN)
    resting = Way([ONE, TWO])
    for _ in range(5):
        resting.health.circuit("two", "0", "m").fail(DOWN, resting.now)
    resting.first()
    with pytest.raises(Busy):
        resting.route.passing(BadRequest("no sound here", code="unsupported_media"))
