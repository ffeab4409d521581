"""The same words have the same digest, whatever else a client changes; other words have another."""

from __future__ import annotations

from midstream.core.parts import Message, Reasoning, Text, ToolCall, ToolResult
from midstream.core.said import Said, all_said


def user(*texts: str) -> Message:
    return Message("user", tuple(Text(text) for text in texts))


def test_how_a_client_parts_words_and_names_calls_makes_no_difference() -> None:
    def said(id: str, *parts: Text | Reasoning) -> bytes:
        result = Message("tool", (ToolResult(id, (Text("r"),)),))
        return all_said((user("q"), Message("assistant", (*parts, ToolCall(id, "f", "{}"))), result))

    assert (
        said("a", Reasoning("hm"), Text("so it is")) == said("b", Text("so "), Text("it is ")) != said("a", Text("so"))
    )


def test_who_said_it_and_where_a_message_ends_makes_a_difference() -> None:
    for one, other in (
        ((user("a", "b"),), (user("a"), user("b"))),
        ((user("a"),), (Message("assistant", (Text("a"),)),)),
        ((user("a"), user("b")), (user("b"), user("a"))),
        ((user("a"), user()), (user("a"),)),
    ):
        assert all_said(one) != all_said(other)


def test_it_is_told_place_by_place() -> None:
    messages = (user("a"), user("b"), user("c"))
    said = Said(messages)
    assert [said.before(place) for place in (0, 0, 1, 3)] == [all_said(messages[:end]) for end in (0, 0, 1, 3)]
