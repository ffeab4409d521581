"""Streams in OpenAI Chat as a server writes them: relayed whole, or in strict grammar."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from midstream.core.dialect import Say
from midstream.core.errors import Cut, Refused
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    Fold,
    Marked,
    PartEnded,
    PartStarted,
    Passed,
    Started,
    Stopped,
    Used,
    Whole,
    unfold,
)
from midstream.core.parts import Citation, Foreign, Media, Reasoning, State, Text, ToolCall, text_of
from midstream.core.usage import Usage
from midstream.wire.openai_chat import NAME, StreamReader, StreamWriter, write_answer

DONE = "data: [DONE]\n\n"
SAY = Say(id="chatcmpl-x", created=5, model="alias")


def chunk(delta: Any = None, finish: str | None = None, choice: int | None = 0, **top: Any) -> str:
    one = {"index": choice, "delta": {} if delta is None else delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 9, "model": "m", "choices": [one]}
    return "data: " + json.dumps(head | top) + "\n\n"


ROLE = chunk({"role": "assistant", "content": ""})


def events_of(*frames: str) -> list[Event]:
    reader = StreamReader()
    return reader.feed("".join(frames).encode()) + reader.finish()


def answer_of(*frames: str) -> Answer:
    return folded(events_of(*frames))


def folded(events: list[Event]) -> Answer:
    folding = Fold()
    for event in events:
        folding.add(event)
    assert folding.error is None
    return folding.answer()


USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def wire(*events: Event, say: Say = SAY) -> str:
    return StreamWriter(say).write(events).decode()


def chunks(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


TRANSLATED: tuple[Event, ...] = (
    Attempted("p", "anthropic_messages"),
    Started("msg_1", "claude", 7),
    PartStarted(0, Reasoning("")),
    Delta(0, "why"),
    PartEnded(0),
    PartStarted(1, Text("")),
    Delta(1, 'a"\u00e9\n'),
    Marked(1, citations=(Citation("https://x", "t", start=1, end=2), Citation(quote="q"))),
    PartEnded(1),
    PartStarted(2, ToolCall("c1", "f")),
    PartStarted(3, ToolCall("c2", "g")),
    Delta(3, '{"b"'),
    Delta(2, "{}"),
    Delta(3, ":1}"),
    Passed(b"ping"),
    Used(Usage(uncached_in=5, cache_read=2, out_text=3)),
    Stopped("tool_calls", "tool_use"),
    Done(),
)


def test_another_dialects_events_make_proper_chunks() -> None:
    text = wire(*TRANSLATED)
    sent = chunks(text)
    assert text.endswith(DONE)
    assert "\r" not in text
    assert {(one["id"], one["created"], one["model"]) for one in sent} == {("msg_1", 7, "claude")}
    deltas = [one["choices"][0]["delta"] for one in sent]
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert deltas[1:3] == [{"reasoning_content": "why"}, {"content": 'a"\u00e9\n'}]
    cited = {"url": "https://x", "title": "t", "start_index": 1, "end_index": 2}
    assert deltas[3] == {"annotations": [{"type": "url_citation", "url_citation": cited}]}
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert [one["index"] for one in calls] == [0, 1, 1, 0, 1]
    assert [one.get("id") for one in calls] == ["c1", "c2", None, None, None]
    assert "".join(one["function"]["arguments"] for one in calls if one["index"] == 1) == '{"b":1}'
    assert sent[-1]["choices"][0] == {
        "index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls", "native_finish_reason": "tool_use",
    }  # fmt: skip


def test_every_chunk_is_what_openais_sdk_expects() -> None:
    for one in chunks(wire(*TRANSLATED, say=Say("i", 1, "m", include_usage=True))):
        ChatCompletionChunk.model_validate(one, strict=True)


def test_usage_is_the_last_chunk_and_only_when_asked_for() -> None:
    with_usage = chunks(wire(*TRANSLATED, say=Say("i", 1, "m", include_usage=True)))
    assert chunks(wire(*TRANSLATED)) == with_usage[:-1]
    assert with_usage[-1]["choices"] == []
    assert with_usage[-1]["usage"]["prompt_tokens"] == 7
    assert with_usage[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


def test_names_of_the_face_fill_in_for_a_provider_that_gave_none() -> None:
    (first, *_) = chunks(wire(Started(), PartStarted(0, Text("a"))))
    assert (first["id"], first["created"], first["model"]) == ("chatcmpl-x", 5, "alias")


def test_an_error_is_the_last_frame_and_nothing_says_done() -> None:
    text = wire(*TRANSLATED[:6], Failed(Cut("cut")), Done())
    assert "[DONE]" not in text
    assert json.loads(text.splitlines()[-2][6:])["error"]["code"] == "upstream_cut"


def test_an_error_in_many_lines_goes_out_as_one() -> None:
    body = b'{\n "error": {\n "message": "m"}\n}'
    error = Refused("m", status=500, dialect=NAME, native=body)
    assert wire(Failed(error)) == 'data: {"error":{"message":"m"}}\n\n'


@pytest.mark.parametrize(
    ("reason", "word"),
    [("stop", "stop"), ("error", "content_filter"), ("pause", "length"), ("content_filter", "content_filter")],
)
def test_reasons_become_words_that_sdks_know(reason: Any, word: str) -> None:
    assert chunks(wire(Stopped(reason)))[-1]["choices"][0]["finish_reason"] == word


def test_choices_speak_for_themselves() -> None:
    sent = chunks(wire(Started("i"), PartStarted(0, Text("a"), 1), PartStarted(0, Text("b"), 0), Delta(0, "c", 1)))
    told = [(one["choices"][0]["index"], one["choices"][0]["delta"].get("content")) for one in sent]
    assert told == [(0, ""), (1, ""), (1, "a"), (0, "b"), (1, "c")]


RELAYED = [ROLE, ": ping\n\n", chunk({"content": "a"}), chunk({"content": "b"}, logprobs=1), chunk(finish="stop")]
ONLY_USAGE = chunk(choices=[], usage=USAGE)


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_relay_leaves_out_nothing_but_usage_that_was_not_asked_for(include_usage: bool) -> None:
    both = chunk({"content": "c"}, usage=USAGE)
    frames = [*RELAYED[:-1], both, RELAYED[-1], chunk(finish="stop", usage=USAGE), ONLY_USAGE, DONE]
    events = events_of(*frames)
    text = wire(Attempted("p", NAME), *events, say=Say("i", 1, "m", include_usage=include_usage))
    assert text == "".join(frame for frame in frames if include_usage or frame != ONLY_USAGE)


def test_a_relay_adds_no_end_mark_where_the_provider_sends_none() -> None:
    assert wire(Attempted("p", NAME), *events_of(*RELAYED)) == "".join(RELAYED)
    assert wire(Attempted("p", "another"), *events_of(*RELAYED)).endswith(DONE)


def test_a_relay_keeps_the_end_mark_that_comes_with_an_error() -> None:
    frame = 'data: {"error": {"message": "m", "code": 502}, "choices": []}\n\n'
    assert wire(Attempted("p", NAME), *events_of(ROLE, frame + DONE)) == ROLE + frame + DONE
    assert "[DONE]" not in wire(Attempted("p", "another"), *events_of(ROLE, frame + DONE))


def test_a_relay_of_a_cut_stream_says_so() -> None:
    text = wire(Attempted("p", NAME), *events_of(*RELAYED[:-1]))
    assert text.startswith("".join(RELAYED[:-1]))
    assert json.loads(text.splitlines()[-2][6:])["error"]["code"] == "upstream_cut"
    assert "[DONE]" not in text


def test_a_relay_passes_on_the_providers_own_error() -> None:
    frame = 'data: {"error": {"message": "m", "x": 1}}\n\n'
    assert wire(Attempted("p", NAME), *events_of(ROLE, frame)) == ROLE + frame


def test_a_whole_answer_is_written_as_its_stream() -> None:
    parts = (Reasoning("r"), Text("a"), ToolCall("c", "f", "{}"), Media("image", url="u"))
    answer = Answer("i", "m", 1, (Choice(parts, "tool_calls", "tool_calls"),), Usage(out_text=1))
    for dialect in (NAME, "gemini"):
        text = wire(
            Attempted("p", dialect), Whole(answer, native=b"{}"), Done(), say=Say("i", 1, "m", include_usage=True)
        )
        assert text.endswith(DONE)
        assert answer_of(text) == answer


def test_executed_tools_survive_translation() -> None:
    part = Foreign("executed_tools", State(NAME, {"index": 0, "output": "x"}))
    answer = Answer("i", "m", 1, (Choice((part,), "stop", "stop"),))
    assert answer_of(wire(Whole(answer), Done())).choices == answer.choices


def test_content_told_as_a_list_is_written_anew_inside_a_relay() -> None:
    thinking = chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]})
    plain = chunk({"content": "a"}, zz=1)
    end = chunk({"content": ""}, "stop", usage=USAGE)
    told = wire(Attempted("p", NAME), *events_of(ROLE, thinking, thinking, plain, end, DONE))
    assert told.startswith(ROLE)
    assert told.endswith(plain + end + DONE)
    between = chunks(told)[1:-2]
    assert [one["choices"][0]["delta"] for one in between] == [{"reasoning_content": "hm"}] * 2
    assert {(one["id"], one["model"], one["created"]) for one in between} == {("c1", "m", 9)}


def test_a_stream_that_begins_with_a_list_gets_its_role_and_its_usage() -> None:
    first = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    last = {"content": [{"type": "text", "text": "b"}]}
    relay = [Attempted("p", NAME), *events_of(chunk(first), chunk(last, "stop", usage=USAGE), DONE)]
    told = chunks(wire(*relay, say=Say("x", 5, "alias", include_usage=True)))
    deltas = [one["choices"][0]["delta"] for one in told[:-1]]
    assert deltas == [{"role": "assistant", "content": "", "refusal": None}, {"content": "a"}, {"content": "b"}, {}]
    assert told[-2]["choices"][0]["finish_reason"] == "stop"
    assert (told[-1]["choices"], told[-1]["usage"]["completion_tokens"]) == ([], 4)


def test_a_part_that_began_as_plain_text_goes_on_in_a_list() -> None:
    listed = chunk({"content": [{"type": "text", "text": "b"}]})
    relay = events_of(ROLE, chunk({"content": "a"}), listed, chunk({"content": "c"}, "stop"), DONE)
    told = chunks(wire(Attempted("p", NAME), *relay))
    assert [one["choices"][0]["delta"].get("content") for one in told] == ["", "a", "b", "c"]


_words = st.text(max_size=6)
_texts = st.builds(
    lambda before, cited, after, spanned: Text(
        before + cited + after,
        (Citation("https://x", cited if spanned else before + cited + after, start=len(before) if spanned else None,
                  end=len(before) + len(cited) if spanned else None),),
    ),
    _words, _words, _words, st.booleans(),
)  # fmt: skip


@given(st.lists(st.one_of(_texts, st.builds(Text, _words), st.builds(Reasoning, _words)), max_size=5))
def test_a_citation_stands_where_it_is_in_all_of_the_content(parts: list[Any]) -> None:
    """Each one's title is what it cites."""
    answer = Answer("a", "m", 1, (Choice(tuple(parts)),))
    message = json.loads(write_answer(answer, SAY))["choices"][0]["message"]
    written = StreamWriter(SAY).write([Attempted("x", "another"), *unfold(answer), Done()])
    deltas = [
        choice["delta"]
        for line in written.split(b"\n\n")
        if line[6:7] == b"{"
        for choice in json.loads(line[6:])["choices"]
    ]
    content = "".join(delta.get("content", "") for delta in deltas)
    told = [note for delta in deltas for note in delta.get("annotations", ())]
    assert content == (message["content"] or "") == text_of(tuple(parts))
    cited = sum(len(part.citations) for part in parts if isinstance(part, Text))
    for notes in (message["annotations"], told):
        assert len(notes) == cited
        for note in notes:
            span = note["url_citation"]
            assert content[span["start_index"] : span["end_index"]] == span["title"]


def test_a_citation_that_comes_before_its_text_waits_for_it() -> None:
    """Claude names the source first."""
    writer = StreamWriter(SAY)
    source = Citation("https://x", "cited")
    begun = writer.write([Attempted("x", "another"), PartStarted(0, Text("")), Marked(0, citations=(source,))])
    assert b"annotations" not in begun
    ended = writer.write([Delta(0, "cit"), Delta(0, "ed"), PartEnded(0)])
    assert b'"start_index":0,"end_index":5' in ended.split(b"\n\n")[-2]
