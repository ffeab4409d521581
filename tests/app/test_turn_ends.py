from __future__ import annotations

from typing import Any, cast

from midstream.agent.loop import Ended
from midstream.app.turn_ends import own_ending, said_last, stop_of
from midstream.app.turn_work import partial_text
from midstream.core.events import Answer, Choice
from midstream.core.outcome import Ending
from midstream.core.parts import Part, Reasoning, Refusal, Text
from midstream.core.serving import Desk


def ended(*parts: Part, stop: Any = "stop") -> Ended:
    return Ended(Answer(choices=(Choice(parts, stop),)), None, 0, 1)


def test_a_refusal_is_what_the_model_said_and_no_natural_end():
    end = ended(Reasoning("hm"), Text("Well. "), Refusal("I cannot help."))
    assert said_last(end) == ("Well. I cannot help.", None)
    own = own_ending(end)
    assert (own.declined, stop_of(own, blocked=False, declined=own.declined)) == (True, "content_filter")
    plain = own_ending(ended(Text("fine"), stop="length"))
    assert (plain.declined, stop_of(plain, blocked=False, declined=False)) == (False, "length")
    assert stop_of(Ending(stop="length"), blocked=False, declined=True) == "length"  # it was cut, too
    assert stop_of(plain, blocked=True, declined=False) == "content_filter"
    assert own_ending(Ended(Answer(), None, 0, 0)) == Ending()


def test_what_was_seen_of_a_refusal_that_was_cut_is_what_the_user_has_seen():
    class AtWork:
        partial = Answer(choices=(Choice((Refusal("I cannot"),)),))

    assert partial_text(cast(Desk, AtWork)) == "I cannot"
