from __future__ import annotations

from collections.abc import Iterator

import pytest

from midstream.core import errors
from midstream.core.errors import (
    RETRYABLE_STATUS,
    BadRequest,
    Bug,
    Busy,
    CallerError,
    LimitReached,
    MidstreamError,
    Refused,
    StoreDown,
    TimedOut,
    forget_frames,
)  # fmt: skip

STATUSES = {
    "BadRequest": 400, "Unhonoured": 400, "Unauthenticated": 401, "Forbidden": 403, "NotFound": 404,
    "MethodNotAllowed": 405, "Conflict": 409, "TooLarge": 413, "WrongContentType": 415, "LimitReached": 429,
    "NotBuilt": 501, "KeyRefused": 502, "Unreachable": 502, "Cut": 502, "Garbled": 502, "TimedOut": 504,
    "Cancelled": 499, "StoreDown": 503, "Busy": 503, "Bug": 500,
}  # fmt: skip
MAKE = {
    "TimedOut": lambda kind: kind("x", phase="total"),
    "Refused": lambda kind: kind("x", status=502),
    "Unhonoured": lambda kind: kind("x", ["a"]),
}


def kinds(root: type = MidstreamError) -> Iterator[type]:
    """Those that travel between rooms: a name with `_` never leaves its file."""
    for kind in root.__subclasses__():
        if not kind.__name__.startswith("_"):
            yield kind
            yield from kinds(kind)


def leaves() -> list[type]:
    return [kind for kind in kinds() if not list(kinds(kind))]


def made(kind: type) -> MidstreamError:
    return MAKE.get(kind.__name__, lambda kind: kind("x"))(kind)


@pytest.mark.parametrize("kind", [BadRequest, *leaves()])
def test_each_error_has_the_status_that_the_tree_says(kind: type):
    if kind.__name__ != "Refused":
        assert made(kind).status == STATUSES[kind.__name__]


def test_the_tree_at_the_top_of_the_file_names_every_error_with_its_status():
    for kind in kinds():
        assert kind.__name__ in (errors.__doc__ or "")
    for name, status in STATUSES.items():
        [line] = [line for line in (errors.__doc__ or "").splitlines() if f"─ {name} " in line or f"─ {name}" == line]
        assert str(status) in line, line


def test_only_waiting_helps_a_caller_who_is_at_fault():
    retryable = {kind for kind in kinds(CallerError) if kind.retryable}
    assert retryable == {LimitReached}


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529])
def test_what_a_provider_refused_may_be_tried_again_by_its_status(status: int):
    assert Refused("x", status=status).retryable == (status in RETRYABLE_STATUS)


@pytest.mark.parametrize("phase", ["connect", "write", "first_byte", "first_token", "between"])
def test_every_phase_that_took_too_long_may_be_tried_again_but_the_whole(phase: str):
    assert TimedOut("x", phase=phase).retryable
    assert TimedOut("x", phase=phase).code == f"upstream_timeout_{phase}"
    assert not TimedOut("x", phase="total").retryable


def test_our_own_faults_say_when_to_come_back_and_a_bug_says_where_it_is_written_down():
    assert StoreDown().retry_after == 1.0
    assert Busy("x", retry_after=3.0).retry_after == 3.0
    bug = Bug("bug_1")
    assert "bug_1" in bug.message
    assert not bug.retryable


def test_what_is_said_of_one_error_does_not_change_the_others():
    special = BadRequest("x", code="other", status=422, param="a.b")
    assert (special.code, special.status, special.param) == ("other", 422, "a.b")
    assert (BadRequest("x").code, BadRequest("x").status, BadRequest("x").param) == ("invalid_request", 400, None)


def test_an_error_whose_journey_has_ended_holds_no_frames():
    try:
        try:
            raise KeyError("x")
        except KeyError as cause:
            raise BadRequest("x") from cause
    except BadRequest as error:
        kept = error
    forget_frames(kept)
    assert (kept.__traceback__, kept.__context__, kept.__cause__) == (None, None, None)


def test_an_error_that_repeats_a_megabyte_is_told_in_short():
    told = BadRequest("no such role: " + "x" * 1_000_000, param="y" * 1_000_000)
    assert told.message.startswith("no such role: xxx")
    assert told.message.endswith("x...")
    assert len(told.message) < 3000
    assert len(told.param or "") < 3000
    assert str(told) == told.message
