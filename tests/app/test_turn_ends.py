from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from midstream.agent.loop import Ended
from midstream.app.turn_ends import own_ending, said_last, sources, stop_of
from midstream.app.turn_work import partial_text
from midstream.core.events import Answer, Choice
from midstream.core.outcome import Ending
from midstream.core.parts import Citation, Part, Reasoning, Refusal, Text
from midstream.core.serving import Desk
from midstream.core.toolbox import ToolAnswer

SKY, GRASS = "The sky is blue. ", "Grass is green."


def cited(start: int | None = None, end: int | None = None, **more: Any) -> Citation:
    return Citation(url="https://example.org", start=start, end=end, **more)


def ended(*parts: Part, stop: Any = "stop", transferred: ToolAnswer | None = None) -> Ended:
    return Ended(Answer(choices=(Choice(parts, stop),)), None, 0, 1, transferred=transferred)


def quoted(end: Ended, text: str | None = None) -> list[str | None]:
    """What each source speaks of, by its place in the text that goes out."""
    text = said_last(end)[0] if text is None else text
    return [None if one.start is None else text[one.start : one.end] for one in sources(end, text)]


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


@pytest.mark.parametrize("first", [Text(SKY), Refusal(SKY), Text(SKY, (cited(0, 16),))])
def test_a_source_stands_where_it_is_in_all_that_was_said(first: Part):
    own = [SKY.strip()] if isinstance(first, Text) and first.citations else []
    end = ended(first, Reasoning("between"), Text(GRASS, (cited(0, 15), cited(0, 5), cited(9, None))))
    assert quoted(end) == [*own, GRASS, "Grass", "green."]


def test_a_source_without_a_place_speaks_of_its_whole_piece():
    end = ended(Text(SKY, (cited(quote="blue"),)), Text(GRASS, (cited(),)), Text("", (cited(),)))
    assert quoted(end) == [SKY, GRASS, None]
    nowhere = Citation(title="a file")
    assert sources(ended(Text(SKY, (nowhere,))), SKY) == (nowhere,)


def test_places_are_counted_in_what_goes_out_of_a_fence_and_in_another_text_there_are_none():
    inner = '{"a": "Grass is green."}'
    text = f"```json\n{inner}\n```"
    at = text.index(GRASS)
    end = ended(Text(text, (cited(at, at + 15), cited(), cited(0, 4))))
    assert quoted(end, inner) == [GRASS, inner, None]
    for other in ('{"a": "repaired"}', ""):
        assert quoted(end, other) == [None, None, None]
        assert [one.url for one in sources(end, other)] == ["https://example.org"] * 3
    known = sources(end, text)
    other = ended(Text("One moment."), transferred=ToolAnswer("ok", text, citations=known))
    assert quoted(other) == [GRASS, text, "```j"]
    assert quoted(other, inner) == [GRASS, inner, None]
    assert sources(other, text) == tuple(replace(one) for one in known)
