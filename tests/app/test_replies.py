from __future__ import annotations

from typing import Any, cast

import pytest

from midstream.app.conversations import Opened
from midstream.app.faces import all_faces
from midstream.app.replies import MAX_HEADER, Reading, error_headers, written
from midstream.core.errors import LimitReached
from midstream.core.events import Answer, Attempted, Choice, Counted, Fold, Gave, Whole
from midstream.core.parts import Text
from midstream.core.turn import Prompt, Turn
from midstream.runs.run import Run

TURN = Turn("openai_chat", {}, lambda fields: Prompt(()), model="asked-for", include_usage=True)


class FakeRun:
    id, attempts, upstream_seconds = "run_1", 2, 0.5


class Clock:
    def wall(self) -> float:
        return 1700000000.9

    def steady(self) -> float:
        return 11.0


@pytest.mark.parametrize("seconds, told, exactly", [(0.2, "1", "200"), (1.4, "2", "1400"), (1.0004, "2", "1001")])
def test_who_waits_as_long_as_told_does_not_come_too_soon(seconds: float, told: str, exactly: str):
    headers = dict(error_headers(LimitReached("too many", retry_after=seconds)))
    assert (headers["retry-after"], headers["retry-after-ms"]) == (told, exactly)


def reading(opened: Opened = Opened(), face: str = "openai_chat", turn: Turn = TURN) -> Reading:  # noqa: B008
    return Reading(cast(Run, FakeRun()), turn, "req_1", all_faces()[face], opened, 10.0)


def folded(answer: Answer) -> Fold:
    fold = Fold()
    fold.add(Whole(answer))
    return fold


def headers_of(dropped: tuple[str, ...], **more: Any) -> dict[str, str]:
    return dict(reading(**more).headers(Attempted("p", "d", dropped=dropped)))


def test_a_reply_says_which_run_it_was_and_how_many_attempts_it_took():
    assert dict(reading().headers(None)) == {"x-run-id": "run_1", "x-midstream-attempts": "2"}
    assert headers_of((), opened=Opened("conv_1"))["x-conversation-id"] == "conv_1"


def test_what_was_dropped_is_named_as_the_caller_named_it():
    names = ("temperature", "tool_choice.disable_parallel_tool_use", "tools[0].x", "$ref", "a/b")
    assert headers_of(names)["x-midstream-dropped-params"] == ",".join(names)


@pytest.mark.parametrize("name", ["a\r\nx-evil: 1", "a\nb", "a,b", "\u00e9", "\0", " ", "a;b", '"'])
def test_a_callers_own_words_make_no_headers(name: str):
    value = headers_of((name, "seed"))["x-midstream-dropped-params"]
    assert value.isascii()
    assert value.isprintable()
    assert value.count(",") == 1
    assert value.endswith(",seed")


def test_a_header_is_never_endless():
    names = tuple(f"field_{number}" for number in range(10_000))
    assert len(headers_of(names)["x-midstream-dropped-params"]) <= MAX_HEADER + 3


def test_what_the_provider_did_not_say_is_said_for_it():
    say = reading().say(1700000000.9)
    assert (say.id, say.created, say.model, say.include_usage) == ("chatcmpl-1", 1700000000, "asked-for", True)


def test_a_whole_reply_tells_the_time_that_we_took_ourselves():
    reply = written(reading(), None, folded(Answer(choices=(Choice((Text("hi"),)),))), None, cast(Any, Clock()))
    assert dict(reply.headers)["x-midstream-overhead-us"] == "500000"
    assert b'"asked-for"' in reply.body
    assert b'"conversation"' not in reply.body


def test_the_conversation_stands_in_the_body_when_one_was_used():
    opened = Opened("conv_1", 'a "title"')
    reply = written(reading(opened), None, folded(Answer(choices=(Choice((Text("hi"),)),))), None, cast(Any, Clock()))
    assert reply.body.endswith(b',"conversation":{"id":"conv_1","title":"a \\"title\\""}}')


def test_a_result_that_is_no_answer_is_written_by_its_face():
    turn = Turn("anthropic_messages", {}, lambda fields: Prompt(()), model="m", kind="count_tokens")
    reply = written(reading(face="anthropic_messages", turn=turn), None, Fold(), Gave(Counted(42)), cast(Any, Clock()))
    assert reply.body == b'{"input_tokens":42}'
