"""What is left out of a request is named by its caller's word, and only when it is the caller's."""

from __future__ import annotations

import msgspec
import pytest

from midstream.core.parts import Media, Message, Native, Part, Reasoning, State, Text, ToolCall
from midstream.core.turn import Prompt
from midstream.wire.stranded import stranded, thoughts_word

CALLED = ToolCall("toolu_1", "f", "{}", state=State("anthropic_messages", {"caller": {"type": "direct"}}))
THOUGHT = Reasoning("hm", state=State("openai_responses", {"encrypted_content": "e"}))
TARGETS = ("openai_responses", "gemini", "openai_chat")


def sent(dialect: str, written: object, *parts: Part) -> Message:
    return Message("assistant", parts, native=Native(dialect, msgspec.json.encode(written)))


def names(message: Message, dialect: str, target: str) -> list[str]:
    return list(stranded(Prompt((message,)), dialect, target))


@pytest.mark.parametrize("target", TARGETS)
def test_a_member_that_its_caller_has_sent_is_named(target: str):
    said = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "caller": {"type": "direct"}}]}
    message = sent("anthropic_messages", said, CALLED)
    assert names(message, "anthropic_messages", target) == ["messages.content.caller"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_member_that_was_put_back_is_not_named(target: str):
    said = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]}
    assert names(sent("anthropic_messages", said, CALLED), "anthropic_messages", target) == []


def test_thoughts_are_named_by_the_word_that_the_message_has_for_them():
    for word in ("reasoning_content", "reasoning"):
        message = sent("openai_chat", {"role": "assistant", "content": "so", word: "hm"}, THOUGHT, Text("so"))
        assert names(message, "openai_chat", "gemini") == [word]
    details = sent("openai_chat", {"role": "assistant", "reasoning_details": []}, THOUGHT, Text("so"))
    assert names(details, "openai_chat", "gemini") == ["reasoning"]
    assert names(Message("assistant", (THOUGHT,)), "openai_chat", "gemini") == ["reasoning"]


def test_thoughts_that_were_put_back_are_not_named():
    message = sent("openai_chat", {"role": "assistant", "content": "so"}, THOUGHT, Text("so"))
    assert thoughts_word(message) is None
    assert names(message, "openai_chat", "gemini") == []


def test_a_files_name_is_named_by_its_callers_word():
    file = Media("file", "application/pdf", data="JVBERg==", name="a.pdf")
    for word in ("document_name", "filename"):
        message = sent("openai_chat", {"role": "user", "content": [{"type": "file", word: "a.pdf"}]}, file)
        assert names(message, "openai_chat", "gemini") == [f"messages.content.{word}"]
    assert names(Message("user", (file,)), "openai_chat", "gemini") == ["messages.content.filename"]


def test_googles_two_spellings_are_one_word():
    part = Text("hi", state=State("gemini", {"partMetadata": {"a": 1}}))
    for word in ("partMetadata", "part_metadata"):
        message = sent("gemini", {"role": "user", "parts": [{"text": "hi", word: {"a": 1}}]}, part)
        assert names(message, "gemini", "openai_chat") == ["contents.parts.partMetadata"]
