from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from midstream.core.errors import BadRequest, Cancelled, Cut, Garbled, MidstreamError, Refused, TimedOut, Unreachable
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Counted,
    Delta,
    Done,
    Embedded,
    Event,
    Failed,
    Gave,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
)
from midstream.core.http import Timeouts
from midstream.core.parts import Foreign, Media, Reasoning, State, Text, ToolCall
from midstream.core.serving import Line, Target
from midstream.core.turn import Plan, Prompt, Turn
from midstream.core.usage import Usage
from midstream.runs.attempt import Attempt
from midstream.runs.log import EventLog
from midstream.runs.route import Next

PROMPT = 100
#: Of an answer of one token, by its bytes.
ESTIMATE = Usage(uncached_in=PROMPT, out_text=1, estimated=True)
OPENED = [Attempted("one", ""), Started("id"), PartStarted(0, Text(""))]


async def _written(attempt: Attempt) -> None:
    assert not attempt.left


class Tried:
    """One attempt whose provider gives these batches, then raises error if there is one."""

    def __init__(
        self, *batches: list[Event], error: MidstreamError | None = None, number: int = 1, prompt: int | None = PROMPT
    ) -> None:
        self._prompt = prompt
        self._batches = batches
        self._error = error
        self._number = number
        self.raised: MidstreamError | None = None
        self.logged: list[list[Event]] = []
        asyncio.run(asyncio.wait_for(self._run(), 5))

    async def _run(self) -> None:
        log = EventLog(keep=True)
        chosen = Next(Target("one", "m", ""), "0", 0.0, False)
        self.attempt = Attempt("att_1", self._number, chosen, self._prompt, log, _written)
        turn = Turn("d", {}, lambda fields: Prompt(()), model="m", stream=True)
        try:
            await self.attempt.run(self._complete, Plan(turn, "m", True))
        except MidstreamError as error:
            self.raised = error
        self.events = log.follow()._events

    async def _complete(self, target: Target, key: str, plan: Plan, line: Line) -> None:
        await line.leaving()
        for batch in self._batches:
            line.emit(batch, 10)
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("bounded", [True, False])
def test_the_whole_time_of_a_stream_is_kept_by_its_exchange_or_else_by_the_attempt(bounded: bool):
    async def complete(target: Target, key: str, plan: Plan, line: Line) -> None:
        await line.leaving()
        if bounded:
            line.opened(lambda: None)
        line.emit([*OPENED, Delta(0, "x")], 10)
        await asyncio.sleep(0.15)
        line.emit([Stopped("stop"), Done()], 10)

    async def run() -> None:
        target = Target("one", "m", "", timeouts=Timeouts(first_token=0.03, total=0.06))
        attempt = Attempt("att_1", 1, Next(target, "0", 0.0, False), PROMPT, EventLog(), _written)
        await attempt.run(complete, Plan(Turn("d", {}, lambda fields: Prompt(()), model="m", stream=True), "m", True))
        assert isinstance(attempt.error, TimedOut) is not bounded

    asyncio.run(asyncio.wait_for(run(), 5))


def test_nothing_is_logged_before_the_first_visible_output_and_then_all_of_it_in_order():
    tried = Tried(OPENED, [Delta(0, "")], error=Cut("cut"))
    assert tried.events == []
    assert isinstance(tried.raised, Cut)
    tried = Tried(OPENED, [Delta(0, "x")], [Stopped("stop"), Done()])
    assert tried.events == [*OPENED, Delta(0, "x"), Stopped("stop"), Used(ESTIMATE)]
    assert tried.raised is None


def test_the_terminal_event_is_kept_back_until_the_ledger_knows():
    tried = Tried([*OPENED, Delta(0, "x"), Done(b"end")])
    assert tried.attempt.ended == Done(b"end")
    assert tried.events[-2:] == [Delta(0, "x"), Used(ESTIMATE, b"")]


def test_what_comes_after_the_end_is_not_heard():
    tried = Tried([*OPENED, Delta(0, "x"), Done()], [Delta(0, "y"), Failed(Cut("cut"))])
    assert tried.attempt.ended == Done()
    assert tried.events[-2:] == [Delta(0, "x"), Used(ESTIMATE)]


def test_an_empty_answer_is_an_answer():
    tried = Tried(OPENED, [Done()])
    assert tried.raised is None
    assert tried.events == [*OPENED, Used(replace(ESTIMATE, out_text=0))]
    assert tried.attempt.status == "ok"


def test_an_answer_without_an_end_is_cut():
    assert isinstance(Tried(OPENED).raised, Cut)
    tried = Tried([*OPENED, Delta(0, "x")])
    assert tried.raised is None
    assert isinstance(tried.attempt.error, Cut)


def test_a_failure_after_the_first_output_is_not_raised_but_is_the_end():
    tried = Tried([*OPENED, Delta(0, "x"), Failed(Refused("busy", status=529))])
    assert tried.raised is None
    assert tried.attempt.error is not None
    assert tried.attempt.status == "partial"


def test_the_log_says_which_attempt_it_was():
    [first, *_] = Tried([*OPENED, Delta(0, "x"), Done()], number=3).events
    assert first.number == 3


NOTHING_SENT = [
    Unreachable("no"), TimedOut("", phase="connect"), BadRequest("cannot be said"), Refused("busy", status=429),
]  # fmt: skip


@pytest.mark.parametrize("error", NOTHING_SENT)
def test_a_call_that_was_never_answered_costs_no_tokens(error: MidstreamError):
    tried = Tried(error=error)
    assert tried.raised is error
    assert tried.attempt.status == "failed"
    assert tried.attempt.usage == Usage()


@pytest.mark.parametrize("error", [Cut("cut"), TimedOut("", phase="first_byte"), TimedOut("", phase="between")])
def test_a_call_that_may_have_been_worked_on_costs_its_prompt_by_estimate(error: MidstreamError):
    assert Tried(error=error).attempt.usage == Usage(uncached_in=PROMPT, estimated=True)


def test_what_was_counted_before_a_refusal_is_billed_and_nothing_else():
    started = [Attempted("one", ""), Started("id"), Used(Usage(uncached_in=7, out_text=1))]
    overloaded = Failed(Refused("overloaded", status=529))
    assert Tried([*started, overloaded]).attempt.usage == Usage(uncached_in=7, out_text=1)
    assert Tried([*started[:2], overloaded]).attempt.usage == Usage()


def test_what_only_a_refusal_says_it_has_used_is_what_it_cost():
    error = Refused("boom", status=500)
    error.used = Usage(uncached_in=30, out_text=5)
    error.tier = "flex"
    assert Tried(error=error).attempt.usage == error.used
    assert Tried(error=error).attempt.tier == "flex"
    assert Tried([*OPENED, Used(Usage(out_text=1), tier="priority")], error=error).attempt.tier == "priority"
    error.used = Usage(uncached_in=10**10)
    assert Tried(error=error).attempt.usage == Usage()


def test_a_body_that_says_nothing_of_tokens_is_estimated():
    said = Answer(choices=(Choice((Text("12345678"),), "stop"),))
    assert Tried([*OPENED[:1], Whole(said), Done()]).attempt.usage == Usage(
        uncached_in=PROMPT, out_text=2, estimated=True
    )
    counted = replace(said, usage=Usage(uncached_in=1))
    assert Tried([*OPENED[:1], Whole(counted), Done()]).attempt.usage == Usage(uncached_in=1)


@pytest.mark.parametrize(
    "said, used",
    [
        (Usage(out_text=1), Usage(out_text=1)),
        (Usage(uncached_in=7, estimated=True), Usage(uncached_in=7, out_text=2, estimated=True)),
        (Usage(out_text=1, estimated=True), Usage(uncached_in=PROMPT, out_text=1, estimated=True)),
        (Usage(), Usage(uncached_in=PROMPT, out_text=2, estimated=True)),
        (Usage(searches=3), Usage(uncached_in=PROMPT, out_text=2, searches=3, estimated=True)),
        (Usage(uncached_in=10**10, out_text=1), Usage(uncached_in=PROMPT, out_text=2, estimated=True)),
    ],
)
def test_what_of_a_count_cannot_be_read_or_believed_is_estimated(said: Usage, used: Usage):
    events = [*OPENED, Delta(0, "12345678"), Stopped("stop"), Used(said), Done()]
    assert Tried(events).attempt.usage == used
    answer = Answer(choices=(Choice((Text("12345678"),), "stop"),), usage=said)
    assert Tried([*OPENED[:1], Whole(answer), Done()]).attempt.usage == used


def test_a_count_from_before_the_output_of_a_complete_stream_is_no_count_of_it():
    placeholder = Used(Usage(uncached_in=7, out_text=1))
    events = [Attempted("one", ""), placeholder, PartStarted(0, Text("")), Delta(0, "1234567890")]
    expected = Usage(uncached_in=7, out_text=3, estimated=True)
    assert Tried([*events, Stopped("stop"), Done()]).attempt.usage == expected
    assert Tried([*events, Stopped("stop"), Done()]).events[-1] == Used(expected)
    more = [PartStarted(1, ToolCall("id", "ab")), Delta(1, "{}"), Stopped("tool_calls"), Done()]
    assert Tried([*events, Used(Usage(uncached_in=7, out_text=3)), *more]).attempt.usage == replace(
        expected, out_text=4
    )
    generous = Used(Usage(uncached_in=7, out_text=50))
    assert Tried([events[0], generous, *events[2:], Stopped("stop"), Done()]).attempt.usage == replace(
        expected, out_text=50
    )


def test_a_count_of_nothing_after_a_real_one_is_told_to_nobody():
    used = Usage(uncached_in=7, out_text=9)
    events = [*OPENED, Delta(0, "x"), Stopped("stop"), Used(used), Used(Usage(estimated=True))]
    tried = Tried([*events, Done()])
    assert tried.attempt.usage == used
    assert tried.events[-1] == Used(used)
    tried = Tried([*events[:-2], Used(Usage()), Done()])
    assert tried.attempt.usage == ESTIMATE


def test_sources_and_pictures_that_are_told_at_the_end_were_counted():
    counted = Usage(uncached_in=7, out_text=1)
    ends = [PartStarted(1, Foreign("web_search", State("gemini", {}))), PartStarted(2, Media("audio", data="AA=="))]
    events = [*OPENED, Delta(0, "1234567890"), Used(counted), *ends, Stopped("stop"), Done()]
    assert Tried(events).attempt.usage == counted


def test_an_answer_without_a_word_has_no_tokens_but_those_of_its_prompt():
    used = Usage(uncached_in=7)
    assert Tried([*OPENED, Used(used), Stopped("content_filter"), Done()]).attempt.usage == used


@pytest.mark.parametrize("native, own", [(None, None), (b"", b""), (b"data: [DONE]\n\n", b"")])
def test_who_reads_a_stream_that_says_nothing_of_tokens_is_told_what_the_ledger_is(
    native: bytes | None, own: bytes | None
):
    """And in the service's own bytes nothing is added."""
    tried = Tried([*OPENED, Delta(0, "1234")], [Stopped("stop"), Done(native)])
    assert tried.events[-2:] == [Stopped("stop"), Used(ESTIMATE, own)]
    assert tried.attempt.usage == tried.attempt.fold.answer().usage == ESTIMATE


def test_what_a_service_counted_is_told_as_it_came():
    used = Usage(uncached_in=7, out_text=9)
    events = [*OPENED, Delta(0, "x"), Stopped("stop"), Used(used, b"u")]
    assert Tried([*events, Done()]).events == events


def test_who_reads_an_answer_or_vectors_that_say_nothing_of_tokens_is_told_what_the_ledger_is():
    said = Answer(choices=(Choice((Text("1234"),), "stop"),), tier="flex", billed="0.1")
    tried = Tried([*OPENED[:1], Whole(said), Done()])
    assert tried.events[-1] == Whole(replace(said, usage=ESTIMATE))
    assert tried.attempt.usage == tried.attempt.fold.answer().usage == ESTIMATE
    tried = Tried([*OPENED[:1], Gave(Embedded("m", ((1.0,),))), Done()])
    used = Usage(uncached_in=PROMPT, estimated=True)
    assert tried.events[-1] == Gave(Embedded("m", ((1.0,),), used))
    assert tried.attempt.usage == used
    counted = Gave(Embedded("m", ((1.0,),), Usage(uncached_in=3)))
    assert Tried([*OPENED[:1], counted, Done()]).events[-1] == counted


@pytest.mark.parametrize("error", [*NOTHING_SENT, Cut("cut"), Cancelled("gone"), Garbled("what"), None])
def test_counting_tokens_costs_none_however_it_ends(error: MidstreamError | None):
    counted = Gave(Counted(700))
    tried = Tried([*OPENED[:1], counted, Done()], prompt=None) if error is None else Tried(error=error, prompt=None)
    assert tried.attempt.usage == Usage()
    assert tried.events == ([*OPENED[:1], counted] if error is None else [])


def test_what_was_written_before_a_cut_is_estimated_by_its_bytes_in_all_parts():
    parts = [
        *OPENED, Delta(0, "12345678"), PartStarted(1, Reasoning("12")), Delta(1, "é"),
        PartStarted(2, ToolCall("id", "ab")), Delta(2, "{}"),
    ]  # fmt: skip
    assert Tried(parts).attempt.usage == Usage(uncached_in=PROMPT, out_text=4, estimated=True)


def test_what_the_provider_counted_is_believed():
    used = Usage(uncached_in=7, out_text=9)
    assert Tried([*OPENED, Delta(0, "x"), Stopped("stop"), Used(used), Done()]).attempt.usage == used
    assert Tried([*OPENED, Delta(0, "x"), Used(used), Stopped("stop"), Done()]).attempt.usage == used


def test_a_prompt_counted_at_the_start_of_a_stream_that_is_cut_is_kept_and_the_output_estimated():
    begun = [
        Attempted("one", ""),
        Used(Usage(uncached_in=7, cache_read=3)),
        PartStarted(0, Text("")),
        Delta(0, "12345"),
    ]
    assert Tried(begun).attempt.usage == Usage(uncached_in=7, cache_read=3, out_text=2, estimated=True)


def test_a_cancelled_attempt_is_partial_whether_or_not_anything_was_seen():
    tried = Tried(OPENED, error=Cancelled("gone"))
    assert tried.attempt.status == "partial"
