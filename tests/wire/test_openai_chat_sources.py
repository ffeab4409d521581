"""Sources that a service tells beside its choices (Perplexity, xAI), of the whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Done, Event, Whole, fold
from midstream.core.parts import Citation, Text
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses
from midstream.wire.openai_chat import read_answer

from .test_openai_chat_answer import body_of
from .test_openai_chat_stream_in import DONE, chunk, events_of

SAY = Say("id", 1, "m", True)
DIALECTS: dict[str, Any] = {one.NAME: one for one in (openai_chat, anthropic_messages, gemini, openai_responses)}
RESULTS = [
    {"title": "A", "url": "https://a.example/", "date": "2024-06-10", "snippet": "about a"},
    {"title": "B", "url": "https://b.example/", "snippet": None},
]
TOLD = {"search_results": RESULTS, "citations": ["https://a.example/", "https://b.example/"]}
CITED = (Citation("https://a.example/", "A", "about a"), Citation("https://b.example/", "B"))
ADDRESSES = (Citation("https://a.example/"), Citation("https://b.example/"))


def streamed(**told: Any) -> tuple[list[str], list[Event]]:
    frames = [
        chunk({"role": "assistant", "content": "a[1]"}, **told),
        *[chunk({"content": "b"}, **told)] * 6,
        chunk({}, finish="stop", **told),
        DONE,
    ]
    return frames, events_of(*frames)


def part_of(answer: Answer) -> Text:
    [part] = [part for part in answer.choices[0].parts if isinstance(part, Text)]
    return part


def test_they_are_sources_of_the_text() -> None:
    assert part_of(read_answer(body_of({"content": "a[1]"}, **TOLD))) == Text("a[1]", CITED)
    assert part_of(read_answer(body_of({"content": "a"}, citations=TOLD["citations"]))).citations == ADDRESSES
    for told, cited in ((TOLD, CITED), ({"citations": TOLD["citations"]}, ADDRESSES)):
        frames, events = streamed(**told)
        assert part_of(fold(events)) == Text("a[1]bbbbbb", cited)
        relayed = openai_chat.answer_writer(SAY).write([Attempted("up", openai_chat.NAME), *events])
        assert relayed == "".join(frames).encode()


@pytest.mark.parametrize("name", DIALECTS)
def test_callers_of_every_dialect_are_told_them(name: str) -> None:
    dialect = DIALECTS[name]
    whole: list[Event] = [Whole(read_answer(body_of({"content": "a[1]"}, **TOLD))), Done()]
    for events in (whole, streamed(**TOLD)[1]):
        reader = dialect.answer_reader()
        body = dialect.answer_writer(SAY).write([Attempted("up", "another"), *events])
        part = part_of(fold([*reader.feed(body), *reader.finish()]))
        assert [one.url for one in part.citations] == ["https://a.example/", "https://b.example/"]


def test_what_the_choice_cites_itself_is_told_alone() -> None:
    own = {"type": "url_citation", "url_citation": {"url": "https://own.example/", "title": "Own"}}
    cited = (Citation("https://own.example/", "Own"),)
    assert part_of(read_answer(body_of({"content": "a", "annotations": [own]}, **TOLD))).citations == cited
    events = events_of(chunk({"content": "a", "annotations": [own]}, **TOLD), chunk({}, finish="stop", **TOLD), DONE)
    assert part_of(fold(events)).citations == cited


@pytest.mark.parametrize("odd", [7, "https://a.example/", [None, 5, {"url": 5}, {}], {"url": "https://a.example/"}])
def test_what_is_no_list_of_sources_is_passed_over(odd: Any) -> None:
    told = {"search_results": odd, "citations": odd}
    assert part_of(read_answer(body_of({"content": "a"}, **told))) == Text("a")
    assert part_of(fold(streamed(**told)[1])).citations == ()


def test_the_cost_that_perplexity_tells_is_read() -> None:
    costs = {"input_tokens_cost": 1e-05, "request_cost": 0.005, "total_cost": 0.00507}
    used = {"prompt_tokens": 11, "completion_tokens": 62, "total_tokens": 73, "cost": costs}
    assert read_answer(body_of({"content": "a"}, usage=used)).billed == "0.00507"
    assert json.loads(body_of({"content": "a"}, usage=used))["usage"]["cost"] == costs
