from __future__ import annotations

import pytest

from midstream.core.errors import BadRequest, Cancelled, Cut, MidstreamError, Refused, TimedOut, Unreachable
from midstream.runs import health
from midstream.runs.health import Circuit, Health

BROKEN = [Unreachable("no"), Cut("cut"), TimedOut("slow", phase="total"), Refused("down", status=503)]
DOWN = BROKEN[0]


@pytest.mark.parametrize("error", BROKEN)
def test_five_failures_in_a_row_open_the_breaker(error: MidstreamError):
    circuit = Circuit()
    for _ in range(4):
        circuit.fail(error, 0.0)
        assert circuit.ready_in(0.0) == 0.0
    circuit.fail(error, 0.0)
    assert circuit.ready_in(0.0) == 15.0


def test_a_success_between_failures_starts_the_row_anew():
    circuit = Circuit()
    for _ in range(4):
        circuit.fail(DOWN, 0.0)
    circuit.succeed(0.0)
    for _ in range(4):
        circuit.fail(DOWN, 0.0)
    assert circuit.ready_in(0.0) == 0.0


def alternating(calls: int, seconds: float = 0.0) -> Circuit:
    """Every second call fails."""
    circuit = Circuit()
    for number in range(calls):
        at = number * seconds
        if number % 2:
            circuit.fail(DOWN, at)
        else:
            circuit.succeed(at)
    return circuit


def test_half_of_twenty_failing_within_thirty_seconds_opens_the_breaker():
    assert alternating(19).ready_in(0.0) == 0.0
    assert alternating(20).ready_in(0.0) == 15.0


def test_less_than_half_failing_leaves_it_closed():
    circuit = Circuit()
    for number in range(100):
        circuit.fail(DOWN, 0.0) if number % 3 == 0 else circuit.succeed(0.0)
    assert circuit.ready_in(0.0) == 0.0


def test_failures_of_long_ago_do_not_count():
    assert alternating(40, seconds=2.0).ready_in(80.0) == 0.0


def test_after_fifteen_seconds_one_call_may_probe_and_its_success_closes_the_breaker():
    circuit = Circuit()
    for _ in range(5):
        circuit.fail(DOWN, 100.0)
    assert circuit.ready_in(114.0) == 1.0
    assert circuit.ready_in(115.0) == 0.0
    assert circuit.begin()
    assert circuit.ready_in(115.0) > 0
    assert not circuit.begin()
    circuit.succeed(116.0)
    assert circuit.ready_in(116.0) == 0.0


def opened_at(now: float) -> Circuit:
    circuit = Circuit()
    for _ in range(5):
        circuit.fail(DOWN, now)
    return circuit


def test_a_probe_that_has_begun_to_answer_lets_all_others_in_and_a_failure_after_that_opens_it_again():
    circuit = opened_at(0.0)
    assert circuit.begin()
    circuit.answered()
    assert circuit.ready_in(15.0) == 0.0
    assert not circuit.begin()
    circuit.fail(Cut("in the middle"), 20.0)
    assert circuit.ready_in(20.0) == 15.0


@pytest.mark.parametrize(
    ("error", "rests"),
    [
        (Refused("", status=400), 0.0),
        (Refused("", status=404), 0.0),
        (Refused("busy", status=429), 1.0),
        (Refused("no", status=401), health.KEY_REST),
    ],
)
def test_a_probe_that_is_refused_shows_that_the_provider_is_there(error: MidstreamError, rests: float):
    circuit = opened_at(0.0)
    assert circuit.begin()
    circuit.fail(error, 15.0)
    assert circuit.ready_in(15.0) == rests
    assert not circuit.begin()


def test_a_failed_probe_opens_the_breaker_for_as_long_again():
    circuit = Circuit()
    for _ in range(5):
        circuit.fail(DOWN, 0.0)
    circuit.begin()
    circuit.fail(DOWN, 20.0)
    assert circuit.ready_in(20.0) == 15.0


def test_a_probe_that_nobody_wanted_any_more_lets_another_one_try():
    circuit = Circuit()
    for _ in range(5):
        circuit.fail(DOWN, 0.0)
    circuit.begin()
    circuit.abandon()
    assert circuit.ready_in(15.0) == 0.0
    assert circuit.begin()


def test_a_call_through_a_closed_breaker_is_no_probe():
    assert not Circuit().begin()


@pytest.mark.parametrize("asked, rests", [(None, 1.0), (7.0, 7.0), (3600.0, 60.0)])
def test_a_429_is_a_cooldown_of_the_time_asked_for_and_not_a_failure(asked: float | None, rests: float):
    circuit = Circuit()
    for _ in range(50):
        circuit.fail(Refused("busy", status=429, retry_after=asked), 10.0)
    assert circuit.ready_in(10.0) == rests
    assert circuit.ready_in(10.0 + rests) == 0.0


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_rests(status: int):
    circuit = Circuit()
    circuit.fail(Refused("no", status=status), 0.0)
    assert circuit.ready_in(0.0) == health.KEY_REST


@pytest.mark.parametrize(
    "error", [Refused("", status=400), Refused("", status=404), Refused("", status=422), BadRequest("x"), Cancelled("")]
)
def test_a_callers_mistakes_however_many_say_nothing_about_the_provider(error: MidstreamError):
    circuit = Circuit()
    for _ in range(50):
        circuit.fail(error, 0.0)
    assert circuit.ready_in(0.0) == 0.0


def test_each_provider_key_and_model_has_a_circuit_of_its_own():
    known = Health(lambda: 0.0)
    names = [("p", "a", "m"), ("p", "b", "m"), ("p", "a", "n"), ("q", "a", "m")]
    assert len({id(known.circuit(*name)) for name in names}) == 4
    assert known.circuit("p", "a", "m") is known.circuit("p", "a", "m")


def test_names_that_callers_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "CIRCUITS", 100)
    known = Health(lambda: 0.0)
    for number in range(1000):
        known.circuit("p", "0", str(number))
    assert len(known._circuits) == 100


def test_retries_are_a_fifth_of_what_is_in_flight_and_three_at_least():
    known = Health(lambda: 0.0)
    for _ in range(3):
        assert known.may_retry("p")
        known.enter("p", True)
    assert not known.may_retry("p")
    assert known.may_retry("q")
    for _ in range(16):
        known.enter("p", False)
    assert known.may_retry("p")  # 3 of 19
    known.leave("p", False)
    known.enter("p", True)
    assert not known.may_retry("p")  # 4 of 19
    known.leave("p", True)
    assert known.may_retry("p")
