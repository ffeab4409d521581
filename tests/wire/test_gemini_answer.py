"""Answers, whole bodies and streams, as they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.core.dialect import Say
from midstream.core.errors import Cut, Garbled, MidstreamError, Refused
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Done,
    Event,
    Failed,
    Fold,
    Marked,
    PartEnded,
    Passed,
    Stopped,
    Used,
    fold,
)
from midstream.core.parts import Citation, Foreign, Media, Reasoning, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages, gemini

SAY = Say("say-1", 1, "as-called")


def candidate(*parts: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    end = {"finishReason": finish} if finish else {}
    return {"content": {"parts": list(parts), "role": "model"}, "index": index, **end, **more}


def chunk(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"candidates": [candidate(*parts, finish=finish)], "modelVersion": "m1", "responseId": "r1", **more}


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in chunks)


def array(*chunks: Any) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(one, indent=2).encode() for one in chunks) + b"\n]"


def events_of(body: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    reader = gemini.answer_reader()
    out: list[Event] = []
    start = 0
    for cut in (*sorted(cuts), len(body)):
        out += reader.feed(body[start:cut])
        start = cut
    return out + reader.finish()


def last_error(events: list[Event]) -> MidstreamError:
    assert isinstance(events[-1], Failed)
    assert not any(isinstance(event, Stopped | Done) for event in events)
    return events[-1].error


def whole(value: Any) -> Answer:
    return gemini.read_answer(json.dumps(value).encode())


# ----------------------------------------------------------------------------------------------------- stop reasons


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"), ("PROHIBITED_CONTENT", "content_filter"), ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"), ("MALFORMED_FUNCTION_CALL", "error"), ("UNEXPECTED_TOOL_CALL", "error"),
        ("OTHER", "error"), ("A_WORD_OF_TOMORROW", "error"),
    ],
)  # fmt: skip
def test_a_stop_reason_is_never_invented(word: str, reason: str) -> None:
    for answer in (whole(chunk({"text": "x"}, finish=word)), fold(events_of(sse(chunk({"text": "x"}, finish=word))))):
        assert (answer.choices[0].stop, answer.choices[0].native_stop) == (reason, word)


@pytest.mark.parametrize(
    ("number", "word", "reason"),
    [
        (1, "STOP", "stop"), (2, "MAX_TOKENS", "length"), (3, "SAFETY", "content_filter"), (5, "OTHER", "error"),
        (8, "PROHIBITED_CONTENT", "content_filter"), (10, "MALFORMED_FUNCTION_CALL", "error"), (99, "99", "error"),
    ],
)  # fmt: skip
def test_a_stop_reason_may_be_the_number_of_its_word(number: int, word: str, reason: str) -> None:
    body = chunk({"text": "x"})
    body["candidates"][0]["finishReason"] = number
    for answer in (whole(body), fold(events_of(sse(body)))):
        assert (answer.choices[0].stop, answer.choices[0].native_stop) == (reason, word)
    assert fold(events_of(sse(body))).choices[0].parts == (Text("x"),)


@pytest.mark.parametrize("unspecified", [0, "FINISH_REASON_UNSPECIFIED", ""])
def test_an_unspecified_reason_ends_nothing(unspecified: Any) -> None:
    open_ended = chunk({"text": "x"})
    open_ended["candidates"][0]["finishReason"] = unspecified
    assert isinstance(events_of(sse(open_ended))[-1], Failed)
    stopped = events_of(sse(open_ended, chunk({"text": "y"}, finish="MAX_TOKENS"), open_ended))
    assert fold(stopped).choices[0].stop == "length"


def test_the_other_enums_may_be_numbers_too() -> None:
    assert whole({"promptFeedback": {"blockReason": 4}}).choices[0].native_stop == "PROHIBITED_CONTENT"
    sounds = {"promptTokenCount": 9, "promptTokensDetails": [{"modality": 1, "tokenCount": 4},
                                                            {"modality": 4, "tokenCount": 5}]}  # fmt: skip
    heard = whole(chunk({"text": "x"}, finish="STOP", usageMetadata=sounds)).usage
    assert (heard.uncached_in, heard.audio_in) == (4, 5)


def test_stop_after_calls_means_tool_calls_but_length_stays_length() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    assert whole(chunk(call, finish="STOP")).choices[0].stop == "tool_calls"
    assert fold(events_of(sse(chunk(call), chunk({"text": ""}, finish="STOP")))).choices[0].stop == "tool_calls"
    assert whole(chunk(call, finish="MAX_TOKENS")).choices[0].stop == "length"
    assert whole(chunk(call, finish="MALFORMED_FUNCTION_CALL")).choices[0].stop == "error"


def test_a_blocked_prompt_is_a_choice_that_the_filter_stopped() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}
    expected = (Choice(stop="content_filter", native_stop="PROHIBITED_CONTENT"),)
    assert whole(blocked).choices == expected
    streamed = fold(events_of(sse(blocked)))
    assert streamed.choices == expected
    assert streamed.usage == whole(blocked).usage == Usage(uncached_in=4)


def test_a_finish_reason_in_every_chunk_does_not_end_the_text() -> None:
    events = events_of(sse(*[chunk({"text": word}, finish="STOP") for word in "abc"]))
    assert fold(events).choices[0] == Choice((Text("abc"),), "stop", "STOP")
    assert [type(event) for event in events[-2:]] == [Stopped, Done]


# ------------------------------------------------------------------------------------------------- parts and states


def test_a_signature_stays_on_the_part_it_sat_on() -> None:
    state = {name: State("gemini", {"thoughtSignature": name}) for name in ("s1", "s2", "s3", "s4")}
    chunks = [
        chunk({"text": "th", "thought": True}),
        chunk({"text": "ink", "thought": True, "thoughtSignature": "s1"}),
        chunk({"text": "an"}),
        chunk({"text": "swer"}),
        chunk({"text": "", "thoughtSignature": "s2"}),
        chunk(
            {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s3"}, {"functionCall": {"name": "g"}}
        ),
        chunk({"thoughtSignature": "s4"}),
        chunk({"text": ""}, finish="STOP"),
    ]
    expected = (
        Reasoning("think", summary=True, state=state["s1"]),
        Text("answer", state=state["s2"]),
        ToolCall("call_r1_0", "f", '{"a":1}', state=state["s3"]),
        ToolCall("call_r1_1", "g", "{}"),
        Text("", state=state["s4"]),
    )
    for body in (sse(*chunks), array(*chunks)):
        events = events_of(body)
        assert fold(events).choices[0] == Choice(expected, "tool_calls", "STOP")
        again = events_of(gemini.answer_writer(SAY).write([Attempted("x", "other"), *events]))
        assert fold(again) == fold(events)


def test_ids_of_calls_are_kept_or_made_the_same_every_time() -> None:
    value = chunk({"functionCall": {"id": "own", "name": "f"}}, {"functionCall": {"name": "f"}}, finish="STOP")
    ids = [part.id for part in whole(value).choices[0].parts]
    assert ids == [part.id for part in fold(events_of(sse(value))).choices[0].parts] == ["own", "call_r1_1"]
    del value["responseId"]
    assert whole(value).choices[0].parts[1].id == whole(value).choices[0].parts[1].id != "call_r1_1"


def test_code_pictures_and_candidates_are_told_apart() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    value = {
        "candidates": [
            candidate(code, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}, finish="STOP"),
            candidate({"text": "b"}, finish="MAX_TOKENS", index=1),
        ]
    }
    expected = (
        Choice(
            (Foreign("executableCode", State("gemini", code)), Media("image", "image/png", data="AA==")), "stop", "STOP"
        ),
        Choice((Text("b"),), "length", "MAX_TOKENS"),
    )
    assert whole(value).choices == expected
    events = events_of(sse(value))
    assert fold(events).choices == expected
    assert fold(events_of(gemini.answer_writer(SAY).write(events))).choices == expected
    assert gemini.read_answer(gemini.write_answer(replace(whole(value), native=None), SAY)).choices == expected


def test_grounding_becomes_citations_in_characters_and_is_given_back_whole() -> None:
    grounding = {
        "webSearchQueries": ["q1", "q2"],
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 4, "endIndex": 8, "text": "wide"}, "groundingChunkIndices": [0, 7]},
        ],
    }
    value = {"candidates": [candidate({"text": "é! wide"}, finish="STOP", groundingMetadata=grounding)],
             "usageMetadata": {"promptTokenCount": 1}}  # fmt: skip
    parts = (
        Text("é! wide", (Citation("https://a.example", "A", None, 3, 7),)),
        Foreign("groundingMetadata", State("gemini", {"groundingMetadata": grounding})),
    )
    for answer in (whole(value), fold(events_of(sse(value)))):
        assert answer.choices[0].parts == parts
        assert answer.usage.searches == 2
    written = json.loads(gemini.write_answer(replace(whole(value), native=None), SAY))
    assert written["candidates"][0]["groundingMetadata"] == grounding


def searching(*queries: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [candidate({"text": "a"}, groundingMetadata={"webSearchQueries": queries})], **more}


def test_searches_are_those_that_google_bills_whenever_they_are_told_of() -> None:
    counts = {"promptTokenCount": 5, "candidatesTokenCount": 3}
    assert whole(searching("a", "", "b", "a")).usage.searches == 2  # none that is empty, and none twice
    several = {"candidates": [candidate({"text": "x"}, index=n, groundingMetadata={"webSearchQueries": ["a", f"{n}"]})
                              for n in (0, 1)]}  # fmt: skip
    assert whole(several).usage.searches == 3
    end = {"candidates": [candidate({"text": ""}, finish="STOP")]}
    for stream in (
        (searching("a", usageMetadata=counts), searching("a", "b", usageMetadata=counts), end),
        (chunk({"text": "a"}, usageMetadata=counts), searching("a", "b"), end),
    ):
        assert fold(events_of(sse(*stream))).usage == Usage(5, out_text=3, searches=2)
    assert fold(events_of(sse(searching("a"), end))).usage == Usage(searches=1)


def test_citations_of_others_become_grounding_and_come_back() -> None:
    citation = Citation("https://a.example", "A", None, 0, 1)
    answer = Answer("i", "m", 0, (Choice((Text("é.", (citation,)),), "stop", "STOP"),))
    body = gemini.write_answer(answer, SAY)
    assert json.loads(body)["candidates"][0]["groundingMetadata"]["groundingSupports"] == [
        {"segment": {"startIndex": 0, "endIndex": 2, "text": "é"}, "groundingChunkIndices": [0]}
    ]
    assert gemini.read_answer(body).choices[0].parts[0] == answer.choices[0].parts[0]


def test_citation_metadata_comes_and_goes() -> None:
    source = {"startIndex": 0, "endIndex": 3, "uri": "https://a.example", "license": "mit"}
    value = {"candidates": [candidate({"text": "code"}, finish="STOP", citationMetadata={"citations": [source]})]}
    (citation,) = whole(value).choices[0].parts[0].citations
    assert citation == Citation("https://a.example", None, None, 0, 3, State("gemini", source))
    written = json.loads(gemini.write_answer(replace(whole(value), native=None), SAY))
    assert written["candidates"][0]["citationMetadata"] == {"citations": [source]}


@pytest.mark.parametrize("facts", ["citationMetadata", "groundingMetadata"])
def test_sources_that_come_with_the_signature_of_their_text_are_told_before_it_ends(facts: str) -> None:
    told = {
        "citationMetadata": {"citations": [{"startIndex": 0, "endIndex": 3, "uri": "https://a.example"}]},
        "groundingMetadata": {
            "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
            "groundingSupports": [{"segment": {"endIndex": 3}, "groundingChunkIndices": [0]}],
        },
    }
    last = candidate({"text": "", "thoughtSignature": "s"}, finish="STOP", **{facts: told[facts]})
    for parts in ((), ({"text": "b", "thoughtSignature": "t"},)):  # the same, also where a signed part was before
        stream = sse(*[chunk(part) for part in parts], chunk({"text": "code"}), {"candidates": [last]})
        events = events_of(stream)
        ended = [event.index for event in events if isinstance(event, PartEnded)]
        assert ended == sorted(set(ended))
        for place, event in enumerate(events):
            if isinstance(event, Marked):
                assert PartEnded(event.index) not in bare(events[:place])
        writer = anthropic_messages.answer_writer(SAY)
        reader = anthropic_messages.answer_reader()
        written = writer.write([Attempted("p", gemini.NAME), *events])
        text = fold([*reader.feed(written), *reader.finish()]).choices[0].parts[-1]
        assert [one.url for one in text.citations] == ["https://a.example"]


def test_logprobs_are_openai_chats_token_objects_both_ways() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e", "logProbability": -2}]}
        ],
    }
    value = {"candidates": [candidate({"text": "é"}, finish="STOP", logprobsResult=result)]}
    top = [{"token": "é", "logprob": -0.5, "bytes": [195, 169]}, {"token": "e", "logprob": -2.0, "bytes": [101]}]
    expected = ({"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": top},)
    assert whole(value).choices[0].logprobs == fold(events_of(sse(value))).choices[0].logprobs == expected
    written = json.loads(gemini.write_answer(replace(whole(value), native=None), SAY))
    assert written["candidates"][0]["logprobsResult"] == result


# ------------------------------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        ({"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2,
          "toolUsePromptTokenCount": 5}, Usage(11, 4, out_text=3, out_reasoning=2)),
        ({"promptTokenCount": 100, "cachedContentTokenCount": 60,
          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO", "tokenCount": 70}],
          "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}, {"modality": "TEXT", "tokenCount": 10}]},
         Usage(20, 10, audio_in=20, cache_audio_read=50)),
        ({"promptTokenCount": 100, "cachedContentTokenCount": 20,
          "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}]}, Usage(80, cache_audio_read=20)),
        ({"promptTokenCount": 5, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}]},
         Usage(0, image_in=5)),
        ({"promptTokenCount": 100, "cachedContentTokenCount": 20,
          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}, {"modality": "VIDEO", "tokenCount": 40},
                                  {"modality": "IMAGE", "tokenCount": 20}, {"modality": 5, "tokenCount": 30}],
          "cacheTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 15}, {"modality": "VIDEO", "tokenCount": 5}]},
         Usage(10, 20, image_in=35, video_in=35)),
        ({"promptTokenCount": 7, "promptTokensDetails": [{"modality": "VIDEO", "tokenCount": 7}]},
         Usage(video_in=7)),
        ({"promptTokenCount": 7, "promptTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 7}]},
         Usage(image_in=7)),
        ({"candidatesTokenCount": 1300, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]},
         Usage(out_text=10, image_out=1290)),
        ({"promptTokenCount": 2, "cachedContentTokenCount": 9}, Usage(0, 2)),
        ({"promptTokenCount": -2, "thoughtsTokenCount": -1}, Usage(estimated=True)),
        ({"promptTokenCount": 2, "candidatesTokenCount": -1}, Usage(2, estimated=True)),
        ({"promptTokenCount": 2.0, "candidatesTokenCount": 3.0}, Usage(2, out_text=3)),
        ({"promptTokenCount": "3", "candidatesTokenCount": None}, Usage(3)),
        ({"promptTokenCount": "many"}, Usage()),
        ({"promptTokenCount": 5000, "candidatesTokenCount": 500.5}, Usage(5000, estimated=True)),
        ({"promptTokenCount": "many", "candidatesTokenCount": 5, "thoughtsTokenCount": 6},
         Usage(out_text=5, out_reasoning=6, estimated=True)),
        ({"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": []},
         Usage(9, out_text=5, estimated=True)),
        ({"promptTokenCount": 100, "candidatesTokenCount": 12, "cachedContentTokenCount": "x",
          "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5.5}, None, 7, {"tokenCount": 3},
                                  {"modality": "IMAGE", "tokenCount": 30.0}, {"modality": "AUDIO", "tokenCount": "8"}],
          "candidatesTokensDetails": {}, "cacheTokensDetails": "AUDIO"},
         Usage(62, audio_in=8, image_in=30, out_text=12)),
    ],
)  # fmt: skip
def test_usage_is_split_into_classes_that_never_overlap(metadata: Any, usage: Usage) -> None:
    assert whole(chunk({"text": "x"}, finish="STOP", usageMetadata=metadata)).usage == usage


def test_usage_in_a_stream_replaces_what_was_said_before() -> None:
    chunks = [chunk({"text": "x"}, usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": n}) for n in (1, 2, 2)]
    events = events_of(sse(*chunks, chunk({"text": ""}, finish="STOP")))
    # A count that is said anew is of the output that stands beside it, also when it is the same.
    assert [event.usage.out_text for event in events if isinstance(event, Used)] == [1, 2, 2]


COUNTS = st.integers(0, 1000)


@given(st.builds(Usage, COUNTS, COUNTS, audio_in=COUNTS, image_in=COUNTS, out_text=COUNTS, out_reasoning=COUNTS,
                 audio_out=COUNTS, image_out=COUNTS, cache_audio_read=COUNTS, video_in=COUNTS))  # fmt: skip
@settings(deadline=None)
def test_usage_written_reads_back(usage: Usage) -> None:
    answer = Answer("i", "m", 0, (Choice((Text("x"),), "stop", "STOP"),), usage)
    body = gemini.write_answer(answer, SAY)
    assert gemini.read_answer(body).usage == usage
    assert json.loads(body)["usageMetadata"]["totalTokenCount"] == usage.total_tokens


# --------------------------------------------------------------------------------------------------- broken streams


def test_a_cut_stream_is_an_error_never_a_stop() -> None:
    for body in (b"", sse(chunk({"text": "x"})), array(chunk({"text": "x"}), chunk({"text": "y"}))[:-30], b"[", b"[]"):
        assert isinstance(last_error(events_of(body)), Cut)


def test_a_candidate_that_never_stopped_is_cut() -> None:
    two = {"candidates": [candidate({"text": "a"}, finish="STOP"), candidate({"text": "b"}, index=1)]}
    assert isinstance(last_error(events_of(sse(two))), Cut)


def test_the_end_after_a_finish_reason_is_clean_even_without_the_last_blank_line() -> None:
    body = sse(chunk({"text": "x"}), chunk({"text": "y"}, finish="STOP"))
    assert fold(events_of(body[:-4])).choices[0] == Choice((Text("xy"),), "stop", "STOP")
    assert isinstance(last_error(events_of(body[:-9])), Cut)


def test_an_error_inside_a_stream_is_a_refusal_with_its_status() -> None:
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}}
    for body in (sse(chunk({"text": "x"}), error), array(chunk({"text": "x"}), error), json.dumps(error).encode()):
        refused = last_error(events_of(body))
        assert isinstance(refused, Refused)
        assert (refused.status, refused.kind, refused.retryable) == (503, "UNAVAILABLE", True)
        assert json.loads(refused.native) == error


def test_one_unreadable_frame_is_skipped_and_a_second_is_not() -> None:
    good = [chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")]
    body = sse(good[0]) + b"data: {nonsense\r\n\r\n" + sse(good[1])
    assert fold(events_of(body)).choices[0] == Choice((Text("ab"),), "stop", "STOP")
    twice = sse(good[0]) + b'data: {nonsense\r\n\r\ndata: {"candidates":5}\r\n\r\n' + sse(good[1])
    assert isinstance(last_error(events_of(twice)), Garbled)


def test_comments_are_passed_on() -> None:
    body = b": wait\n\n" + sse(chunk({"text": "x"}, finish="STOP"))
    events = events_of(body)
    assert events[0] == Passed(b": wait\n\n")
    assert gemini.answer_writer(SAY).write([Attempted("g", "gemini"), *events]) == body


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"5", b"{}", b'{"candidates":[]}', b'{"candidates":[5]}',
     b'{"candidates":[{"content":{"parts":[5]}}]}',
     b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{}}}]}}]}', b"\xff", b'{"promptFeedback":{}}'],
)  # fmt: skip
def test_what_is_no_answer_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        gemini.read_answer(body)


def test_an_error_body_is_a_refusal() -> None:
    with pytest.raises(Refused) as caught:
        whole({"error": {"code": 500, "status": "INTERNAL", "message": "oh"}})
    assert (caught.value.status, caught.value.message) == (500, "oh")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args",
             "index", "finishReason", "usageMetadata", "promptTokenCount", "groundingMetadata", "groundingSupports",
             "groundingChunks", "groundingChunkIndices", "segment", "endIndex", "citationMetadata", "citations",
             "logprobsResult", "chosenCandidates", "logProbability", "promptFeedback", "blockReason", "error", "code",
             "details", "retryDelay", "fieldViolations", "inlineData", "data", "partIndex", "webSearchQueries"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip


@given(JSON, JSON, JSON)
@settings(max_examples=200, deadline=None)
def test_hostile_answers_end_in_errors_and_never_raise(part: Any, facts: Any, anything: Any) -> None:
    value = {"candidates": [{"content": {"parts": [{"text": "x"}, part]}, "finishReason": "STOP",
             "groundingMetadata": facts, "citationMetadata": facts, "logprobsResult": facts}],
             "usageMetadata": facts}  # fmt: skip
    for one in (value, anything):
        body = json.dumps(one).encode()
        for stream in (b"data: " + body + b"\n\n", b"[" + body + b"]"):
            events = events_of(stream)
            assert isinstance(events[-1], Done | Failed)
            folding = Fold()
            for event in events:
                folding.add(event)
            gemini.answer_writer(SAY).write(events)
        try:
            gemini.write_answer(replace(gemini.read_answer(body), native=None), SAY)
        except (Garbled, Refused):
            continue
        finally:
            gemini.read_error(400, {}, body)


@given(st.binary(max_size=40), st.sampled_from([b"data: ", b"[", b"", b'[{"a":"\\']))
@settings(deadline=None)
def test_any_bytes_are_read_without_raising(data: bytes, lead: bytes) -> None:
    assert isinstance(events_of(lead + data)[-1], Done | Failed)


STREAM = [
    chunk({"text": "dé\u2028", "thought": True}),
    chunk({"text": "a\"}{\\"}), chunk({"text": "b]", "thoughtSignature": "s"}),
    chunk({"functionCall": {"name": "f", "args": {"k": "\\\"}"}}}, usageMetadata={"promptTokenCount": 3}),
    chunk({"text": ""}, finish="STOP", usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 9}),
]  # fmt: skip
BODIES = [sse(*STREAM), sse(*STREAM).replace(b"\r\n", b"\n"), array(*STREAM), b"\n " + array(*STREAM)]


def bare(events: list[Event]) -> list[Event]:
    return [replace(event, native=None) for event in events]


@given(st.sampled_from(BODIES), st.lists(st.integers(0, 900), max_size=12))
@settings(deadline=None)
def test_any_split_gives_the_same_events(body: bytes, cuts: list[int]) -> None:
    assert bare(events_of(body, [min(cut, len(body)) for cut in cuts])) == bare(events_of(body))


def test_byte_by_byte_is_the_same_too_and_is_relayed_whole() -> None:
    for body in BODIES:
        events = events_of(body, range(len(body)))
        assert bare(events) == bare(events_of(body))
        as_array = body.lstrip()[:1] == b"["
        relayed = gemini.answer_writer(SAY, as_array).write([Attempted("g", "gemini"), *events])
        assert relayed == body or (as_array and relayed.split() == body.split())


def test_frame_by_frame_is_the_same_as_all_at_once() -> None:
    for end in (b"\r\n\r\n", b"\n\n"):
        body = sse(*STREAM).replace(b"\r\n\r\n", end) + b": comment" + end
        frames = [frame + end for frame in body.split(end) if frame]
        reader = gemini.answer_reader()
        events = [event for frame in frames for event in reader.feed(frame)] + reader.finish()
        assert events == events_of(body)
        assert gemini.answer_writer(SAY).write([Attempted("g", "gemini"), *events]) == body


def test_nothing_follows_the_end() -> None:
    reader = gemini.answer_reader()
    reader.feed(sse({"error": {"code": 500}}))
    assert reader.feed(sse(chunk({"text": "x"}))) == reader.finish() == []
    assert isinstance(last_error(events_of(sse({"error": {"code": 500}})[:-4])), Refused)


def test_an_index_out_of_all_bounds_is_unreadable() -> None:
    wild = {"candidates": [candidate({"text": "x"}, index=10**6)]}
    assert isinstance(last_error(events_of(sse(wild, wild))), Garbled)


def test_a_frame_over_the_limit_is_garbled() -> None:
    reader = gemini.answer_reader()
    reader.feed(b'[{"a":"')
    (failed,) = reader.feed(b"x" * (33 * 1024 * 1024))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Garbled)


def test_half_a_frame_after_the_finish_reason_is_still_a_cut() -> None:
    done = chunk({"text": "x"}, finish="STOP")
    for body in (sse(done) + b'data: {"cand', array(done, done)[:-9]):
        assert isinstance(last_error(events_of(body)), Cut)


def test_an_empty_read_inside_an_escape_changes_nothing() -> None:
    body = array(chunk({"text": 'a"}{b'}, finish="STOP"))
    cut = body.index(b"\\") + 1
    assert bare(events_of(body, [cut, cut])) == bare(events_of(body))


def test_made_up_ids_suit_every_dialect() -> None:
    value = {**chunk({"functionCall": {"name": "f"}}, finish="STOP"), "responseId": "a/b=" * 30}
    (part,) = whole(value).choices[0].parts
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", part.id)


# calls in pieces


def piece(**call: Any) -> dict[str, Any]:
    return {"functionCall": call}


def placed(path: str, more: bool = False, **value: Any) -> dict[str, Any]:
    return {"jsonPath": path, **value, **({"willContinue": True} if more else {})}


def called(*parts: Any, finish: str = "STOP") -> Choice:
    events = events_of(sse(*(chunk(part) for part in parts), chunk({"text": ""}, finish=finish)))
    assert isinstance(events[-1], Done)
    (choice,) = fold(events).choices
    return choice


def test_a_call_that_comes_in_pieces_is_one_call() -> None:
    first = piece(name="plan", willContinue=True) | {"thoughtSignature": "c2ln"}
    choice = called(
        {"text": "So:"},
        first,
        piece(partialArgs=[placed("$.to", True, stringValue="Ro")], willContinue=True),
        piece(partialArgs=[placed("$.to", True, stringValue="me")], willContinue=True),
        piece(partialArgs=[placed("$.to", stringValue="")], willContinue=True),
        piece(willContinue=True),
        piece(partialArgs=[placed("$.days[0].n", numberValue=1), placed("$.days[1].n", numberValue=2)],
              willContinue=True),
        piece(partialArgs=[placed("$['odd name']", boolValue=True), placed("$.none", nullValue="NULL_VALUE")],
              willContinue=True),
        piece(),
        piece(name="rest", args={}),
    )  # fmt: skip
    text, plan, rest = choice.parts
    assert text == Text("So:")
    assert isinstance(plan, ToolCall)
    assert plan.name == "plan"
    assert json.loads(plan.arguments) == {"to": "Rome", "days": [{"n": 1}, {"n": 2}], "odd name": True, "none": None}
    assert plan.state == State("gemini", {"thoughtSignature": "c2ln"})
    assert isinstance(rest, ToolCall)
    assert rest.name == "rest"
    assert plan.id != rest.id
    assert choice.stop == "tool_calls"


def test_two_calls_in_pieces_follow_one_another() -> None:
    pieces = [piece(name="f", willContinue=True),
              piece(partialArgs=[placed("$.a", stringValue="x")], willContinue=True), piece()]  # fmt: skip
    first, second = called(*pieces, *pieces).parts
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert first.arguments == second.arguments == '{"a":"x"}'
    assert first.id != second.id


def test_a_call_whose_last_piece_never_came_ends_with_the_answer() -> None:
    (call,) = called(
        piece(name="f", willContinue=True),
        piece(partialArgs=[placed("$.a", True, stringValue="x")], willContinue=True),
        finish="MAX_TOKENS",
    ).parts
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"a":"x"}'


def test_whoever_reads_googles_own_bytes_gets_every_piece() -> None:
    body = sse(
        chunk(piece(name="f", willContinue=True)),
        chunk(piece(partialArgs=[placed("$.a", stringValue="x")], willContinue=True)),
        chunk(piece(), finish="STOP"),
    )
    assert b"".join(event.native or b"" for event in events_of(body) if hasattr(event, "native")) == body


@pytest.mark.parametrize(
    "path", ["", "$", "$.", "a b[", "$[0].a", "$.a.b.c", "$.a[0]", "$.list[5000]", "$" + ".x" * 200, None]
)
def test_a_piece_without_a_place_is_no_piece(path: Any) -> None:
    start = [piece(name="f", willContinue=True), piece(partialArgs=[placed("$.a", stringValue="x")], willContinue=True)]
    wrong = piece(partialArgs=[placed(path, numberValue=1)], willContinue=True)
    (call,) = called(*start, wrong, piece()).parts
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments)["a"] == "x"
    assert isinstance(last_error(events_of(sse(*(chunk(one) for one in (*start, wrong, wrong))))), Garbled)


def test_a_call_in_pieces_that_is_not_sound_fails_the_answer() -> None:
    start = chunk(piece(name="f", id=5, willContinue=True))
    assert isinstance(last_error(events_of(sse(start, chunk({"text": ""}, finish="STOP")))), Garbled)
