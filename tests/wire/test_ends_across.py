"""Why an answer ended means the same in every dialect, whole and streamed: what was no natural end never becomes one,
and a word that nobody knows yet is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.dialect import AnswerWriter, Say
from midstream.core.errors import Refused
from midstream.core.events import Answer, Attempted, Done, fold, unfold
from midstream.core.parts import Refusal, text_of
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses

from .test_fields_across import DIALECTS

SAY = Say("id", 1, "m", True)
#: What each dialect's service says, and what that is in neutral words.
ENDS = {
    openai_chat.NAME: {
        "stop": "stop", "length": "length", "content_filter": "content_filter", "brand_new": "error",
    },
    openai_responses.NAME: {
        "completed": "stop", "max_output_tokens": "length", "content_filter": "content_filter", "brand_new": "error",
    },
    anthropic_messages.NAME: {
        "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "pause_turn": "pause",
        "model_context_window_exceeded": "length", "refusal": "content_filter", "brand_new": "error",
    },
    gemini.NAME: {
        "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "RECITATION": "content_filter",
        "BLOCKLIST": "content_filter", "PROHIBITED_CONTENT": "content_filter", "SPII": "content_filter",
        "MALFORMED_FUNCTION_CALL": "error", "BRAND_NEW": "error",
    },
}  # fmt: skip
#: What a dialect says that has no word for it.
NEAREST = {
    openai_chat.NAME: {"error": "content_filter", "pause": "length"},
    openai_responses.NAME: {"error": "content_filter", "pause": "length"},
    anthropic_messages.NAME: {"error": "content_filter"},
    gemini.NAME: {},
}


def _chat(word: str) -> bytes:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": word}
    return json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def _response(word: str) -> bytes:
    cut = word not in ("completed", "brand_new")
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}
    return json.dumps(
        {
            "id": "r", "object": "response", "model": "m", "status": "incomplete" if cut else word,
            "incomplete_details": {"reason": word} if cut else None,
            "output": [{"type": "message", "id": "m1", "status": "completed", **said}],
        }
    ).encode()  # fmt: skip


def _message(word: str) -> bytes:
    content = [{"type": "text", "text": "hi"}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    return json.dumps(
        {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": word,
         "stop_sequence": "END" if word == "stop_sequence" else None, "usage": usage}
    ).encode()  # fmt: skip


def _content(word: str) -> bytes:
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
    candidate = {"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": word, "index": 0}
    return json.dumps({"candidates": [{**candidate, "safetyRatings": ratings, "finishMessage": "m"}]}).encode()


BODIES: dict[str, Callable[[str], bytes]] = {
    openai_chat.NAME: _chat,
    openai_responses.NAME: _response,
    anthropic_messages.NAME: _message,
    gemini.NAME: _content,
}
#: Also in services' own spellings.
KNOWN = {word.lower() for words in ENDS.values() for word in words} - {"brand_new"} | {
    "complete", "eos", "end_turn", "tool_calls", "function_call", "tool_use",
}  # fmt: skip
CASES = [
    (source, word, target, streamed)
    for source, target, streamed in product(DIALECTS, DIALECTS, (False, True))
    for word in ENDS[source]
    if source != target
]


def told(answer: Answer, source: str, target: str, streamed: bool) -> bytes:
    if not streamed:
        body: bytes = DIALECTS[target].write_answer(answer, SAY)
        return body
    writer: AnswerWriter = DIALECTS[target].answer_writer(SAY)
    return writer.write([Attempted("x", source), *unfold(answer), Done()])


def heard(body: bytes, target: str, streamed: bool) -> Answer:
    if not streamed:
        answer: Answer = DIALECTS[target].read_answer(body)
        return answer
    reader = DIALECTS[target].answer_reader()
    return fold([*reader.feed(body), *reader.finish()])


@pytest.mark.parametrize(("source", "word", "target", "streamed"), CASES)
def test_why_an_answer_ended_means_the_same_in_every_dialect(source: str, word: str, target: str, streamed: bool):
    spoken = DIALECTS[source].read_answer(BODIES[source](word))
    meant = ENDS[source][word]
    assert (spoken.choices[0].stop, spoken.choices[0].native_stop) == (meant, word)
    body = told(spoken, source, target, streamed)
    assert b"safetyRatings" not in body  # of which no other dialect speaks
    if meant == "error" and target == openai_responses.NAME:
        with pytest.raises(Refused):
            heard(body, target, streamed)
        return
    answer = heard(body, target, streamed)
    assert text_of(answer.choices[0].parts) == "hi"
    assert answer.choices[0].stop == NEAREST[target].get(meant, meant)
    if target == openai_chat.NAME and word not in ENDS[target]:
        assert f'"native_finish_reason":"{word}"'.encode() in body
    if word == "stop_sequence" and target == openai_chat.NAME:
        assert answer.choices[0].sequence == "END"


@given(st.sampled_from(sorted(DIALECTS)), st.text(min_size=1, max_size=20))
def test_a_word_that_nobody_knows_is_no_natural_end(source: str, word: str) -> None:
    if word.lower() in KNOWN:
        return
    body = BODIES[source](word)
    if source == openai_responses.NAME:
        body = json.dumps({**json.loads(body), "status": word}).encode()
    choice = DIALECTS[source].read_answer(body).choices[0]
    assert choice.stop not in ("stop", "tool_calls"), word


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("target", [name for name in DIALECTS if name != gemini.NAME])
def test_a_blocked_prompt_is_an_empty_answer_that_the_filter_stopped(target: str, streamed: bool) -> None:
    feedback = {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []}
    body = json.dumps({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}})
    answer = heard(told(gemini.read_answer(body.encode()), gemini.NAME, target, streamed), target, streamed)
    [choice] = answer.choices
    assert (choice.stop, text_of(choice.parts), answer.usage.input_tokens) == ("content_filter", "", 5)


#: A refusal that ends as any answer does: the part alone says what it is.
DECLINED = {
    openai_chat.NAME: {
        "id": "c", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "refusal": "I cannot"},
                     "finish_reason": "stop"}],
    },
    openai_responses.NAME: {
        "id": "r", "object": "response", "model": "m", "status": "completed",
        "output": [{"type": "message", "id": "m1", "status": "completed", "role": "assistant",
                    "content": [{"type": "refusal", "refusal": "I cannot"}]}],
    },
}  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("target", list(DIALECTS))
@pytest.mark.parametrize("source", list(DECLINED))
def test_a_refusal_is_no_natural_end_where_only_the_end_can_say_it(source: str, target: str, streamed: bool) -> None:
    spoken = DIALECTS[source].read_answer(json.dumps(DECLINED[source]).encode())
    assert spoken.choices[0].stop == "stop"
    # written anew also for its own dialect
    [choice] = heard(
        told(msgspec.structs.replace(spoken, native=None), "x", target, streamed), target, streamed
    ).choices
    if target in (openai_chat.NAME, openai_responses.NAME):
        assert (choice.parts, choice.stop) == ((Refusal("I cannot"),), "stop")
        return
    assert (text_of(choice.parts), choice.stop) == ("I cannot", "content_filter")
    assert choice.native_stop == ("SAFETY" if target == gemini.NAME else "refusal")


@pytest.mark.parametrize("began", ["", "Here is "])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("target", [name for name in DIALECTS if name != anthropic_messages.NAME])
def test_claudes_words_about_a_refusal_are_told(target: str, streamed: bool, began: str) -> None:
    content = [{"type": "text", "text": began}] if began else []
    details = {"type": "refusal", "category": "cyber", "explanation": "This looks like malware."}
    end = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content}
    if streamed:
        deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": began}}]
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        blocks = [start, *deltas, {"type": "content_block_stop", "index": 0}] if began else []
        begin = {"type": "message_start", "message": message | {"content": []}}
        change = {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}}
        told = [begin, *blocks, change, {"type": "message_stop"}]
        body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in told)
        reader = anthropic_messages.answer_reader()
        events = [*reader.feed(body), *reader.finish()]
        own = anthropic_messages.answer_writer(SAY).write([Attempted("x", anthropic_messages.NAME), *events])
        assert own == body
        written = DIALECTS[target].answer_writer(SAY).write([Attempted("x", anthropic_messages.NAME), *events])
    else:
        answer = anthropic_messages.read_answer(json.dumps(message | end).encode())
        assert anthropic_messages.write_answer(answer, SAY) == json.dumps(message | end).encode()
        written = DIALECTS[target].write_answer(answer, SAY)
    [choice] = heard(written, target, streamed).choices
    assert choice.stop == "content_filter"
    words = "".join(part.text for part in choice.parts if isinstance(part, Refusal))
    if target == gemini.NAME:
        assert text_of(choice.parts) == began + "This looks like malware."
    else:
        assert (text_of(choice.parts), words) == (began, "This looks like malware.")


@pytest.mark.parametrize("details", [None, {}, {"explanation": None}, {"explanation": " "}, {"explanation": 3}, "x"])
def test_a_refusal_of_which_nothing_is_said_has_no_words(details: object) -> None:
    body = json.loads(_message("refusal")) | {"stop_details": details}
    assert text_of(anthropic_messages.read_answer(json.dumps(body).encode()).choices[0].parts) == "hi"
    assert len(anthropic_messages.read_answer(json.dumps(body).encode()).choices[0].parts) == 1
