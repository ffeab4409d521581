from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from midstream.core.estimates import MEDIA_TOKENS, tokens_asked
from midstream.core.parts import Media, Message, Reasoning, Text, ToolCall, ToolResult
from midstream.core.turn import EmbedAsk, Prompt, Tool, Turn

DATA = "iVBORw0KGgo/AAAA+" * 20_000
SAID = Message("user", (Text("x" * 400),))


def unread(**fields: object) -> tuple[Turn, int]:
    """A turn that nobody has read, and the size of its body."""
    body = msgspec.json.encode(fields)
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}

    def read(fields: object) -> Prompt:
        raise AssertionError("it was read for an estimate")

    return Turn("d", raw, read, model="m"), len(body)


def asked(*messages: Message, tools: tuple[Tool, ...] = ()) -> int:
    turn = Turn("d", {}, lambda fields: Prompt(()), model="m")
    turn.put_prompt(Prompt(messages, tools))
    return tokens_asked(turn, (), 1_000_000)


def test_a_body_that_nobody_has_read_is_estimated_by_its_size_and_not_read_for_that():
    turn, size = unread(messages=[{"role": "user", "content": "y" * 8000}])
    assert tokens_asked(turn, (), size) == size // 4
    assert tokens_asked(turn, (SAID, SAID), size) == size // 4 + 2 * 104


@pytest.mark.parametrize(
    "medium",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}"}},
        {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
        {"inlineData": {"mimeType": "image/png", "data": DATA}},
        {"inlineData": {"data": DATA.replace("-", "/"), "mimeType": "image/png"}},
    ],
)
def test_a_medium_in_a_body_that_nobody_has_read_counts_as_any_other_not_by_its_size(medium: object):
    turn, size = unread(messages=[{"content": [medium, {"text": "what is this?"}, medium]}])
    assert 2 * MEDIA_TOKENS < tokens_asked(turn, (), size) < 2 * MEDIA_TOKENS + 200


@pytest.mark.parametrize(
    "text",
    [
        f'<img src="data:image/png;base64,{DATA}">',  # which a model reads letter by letter
        f'{{"data": "{DATA}"}}',
        '"data" ' * 30_000,
        '"data:' * 30_000,
    ],
)
def test_what_stands_in_a_text_is_text(text: str):
    turn, size = unread(messages=[{"content": text}], data="of nothing, and with blanks in it " * 300)
    assert tokens_asked(turn, (), size) == size // 4


def test_where_there_are_only_texts_no_medium_is_looked_for():
    text = b'"data:image/png;base64,%b"' % DATA.encode()
    turn = Turn("d", {"messages": Raw(text)}, lambda fields: Prompt(()), model="m", only_texts=True)
    assert tokens_asked(turn, (), len(text)) == len(text) // 4


def test_a_prompt_is_estimated_by_all_that_its_model_is_shown():
    said = asked(SAID)
    assert 100 < said < 120
    assert asked(SAID, SAID, SAID) > 3 * 100
    assert asked(SAID, tools=(Tool("f", "d" * 4000),)) - said >= 1000
    called = Message("assistant", (Reasoning("r" * 40), ToolCall("id", "f", "a" * 400)))
    answered = Message("tool", (ToolResult("id", (Text("t" * 4000), Media("image", data=DATA))),))
    assert asked(SAID, called, answered) - said >= 10 + 100 + 1000 + MEDIA_TOKENS


def test_a_medium_of_a_prompt_counts_as_one_whatever_its_size():
    small, large = (asked(Message("user", (Media("image", data=data),))) for data in ("AAAA", DATA))
    assert MEDIA_TOKENS < small == large < MEDIA_TOKENS + 20


def test_texts_to_embed_are_estimated_by_their_bytes_and_token_ids_counted():
    for inputs, tokens in ((("x",), 1), (("x" * 400, "é" * 200), 200), (([1, 2, 3], "xxxx"), 4)):
        turn = Turn("d", {}, lambda fields: Prompt(()), model="m", kind="embedding", embed=EmbedAsk(inputs))
        assert tokens_asked(turn, (), 1_000_000) == tokens
    lazy = Turn("d", {}, lambda fields: Prompt(()), model="m", kind="embedding", embed=lambda fields: EmbedAsk(()))
    assert tokens_asked(lazy, (), 400) == 100
