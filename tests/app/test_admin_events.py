from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.app.admin_events import history
from midstream.core.usage import Usage
from midstream.store.rows import AttemptRow, MessageRow, RunRow


def run(ended_at: float | None = 10.0) -> RunRow:
    return RunRow(
        "run_1", "o", "k", "chat", "openai_chat", "m", None, "req", "failed", "cut", "cut off", 1.0, ended_at, "w"
    )


def attempt(number: int, started: float, ended: float | None) -> AttemptRow:
    words = (f"att_{number}", "run_1", "o", "k", number, "p", "m", "ok", "0.5", None, None, None)
    return AttemptRow(*words, 1, started, ended, Usage())


def message(role: str, at: float, dialect: str = "") -> MessageRow:
    return MessageRow(f"msg_{role}", "o", None, "run_1", 0, role, dialect, b'{"role":"x"}', at)


def kinds(told: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in told]


def test_a_message_that_says_nothing_any_more_is_told_without_content():
    told = history(run(), [], [replace(message("user", 1.0), content=b"")])
    assert msgspec.json.decode(msgspec.json.encode(told))[1]["data"]["content"] is None


def test_what_happened_is_told_in_its_order():
    told = history(
        run(), [attempt(1, 2.0, 3.0), attempt(2, 4.0, 9.0)], [message("user", 1.0), message("assistant", 10.0)]
    )
    assert kinds(told) == [
        "run.started", "message", "attempt.started", "attempt.ended", "attempt.started", "attempt.ended", "message",
        "run.ended",
    ]  # fmt: skip


def test_what_happened_in_the_same_moment_is_told_in_the_order_it_must_have_had():
    told = history(run(1.0), [attempt(1, 1.0, 1.0)], [message("assistant", 1.0), message("user", 1.0)])
    assert kinds(told) == ["run.started", "message", "attempt.started", "attempt.ended", "message", "run.ended"]
    assert [event["data"]["role"] for event in told if event["type"] == "message"] == ["user", "assistant"]


def test_what_has_not_ended_is_not_told_to_have():
    assert kinds(history(run(None), [attempt(1, 2.0, None)], [])) == ["run.started", "attempt.started"]


def test_the_callers_own_words_are_given_as_they_were():
    [_, told, _] = history(run(), [], [message("user", 2.0, "openai_chat")])
    assert told["data"]["dialect"] == "openai_chat"
    assert b'"content":{"role":"x"}' in msgspec.json.encode(told)


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(0, 5)), max_size=8))
def test_numbers_have_no_gaps_and_times_never_go_back(made: list[tuple[float, float]]):
    attempts = [attempt(number, start, start + length) for number, (start, length) in enumerate(made)]
    told = history(run(20.0), attempts, [])
    assert [event["sequence"] for event in told] == list(range(2 + 2 * len(made)))
    assert [event["at"] for event in told] == sorted(event["at"] for event in told)
