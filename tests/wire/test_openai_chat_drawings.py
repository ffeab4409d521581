from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest, Garbled, Refused
from midstream.core.parts import Media, Message, Text, ToolCall, ToolResult
from midstream.core.turn import Params, Plan, Prompt, Tool, Turn
from midstream.core.usage import Usage
from midstream.wire.openai_chat import read_drawing, write_drawing

CORPUS = Path(os.environ.get("MIDSTREAM_WIRE_CORPUS", Path(__file__).parents[3] / "shared/wire")) / "images.jsonl"


def plan(prompt: Prompt) -> Plan:
    turn = Turn("agent", {}, lambda fields: prompt, model="m")
    return Plan(turn, "gpt-image-1", False)


def said(role: str, text: str) -> Message:
    return Message(role, (Text(text),))  # type: ignore[arg-type]


def drawn(*messages: Message) -> str:
    return str(json.loads(write_drawing(plan(Prompt(messages))).body)["prompt"])


def test_what_was_said_before_is_told_as_such():
    call = Message("assistant", (ToolCall("c", "look", "{}"),))
    assert drawn(
        said("system", "In watercolour."), said("user", "A dog\non a roof."), call,
        Message("tool", (ToolResult("c", (Text("hidden"),)),)), said("assistant", "A grey dog."),
        said("user", "Make it blue."),
    ) == (
        "In watercolour.\n\nSaid before in this conversation:\nUser: A dog on a roof.\nAssistant: A grey dog.\n\n"
        "Draw now: Make it blue."
    )  # fmt: skip


def test_of_what_was_said_before_the_newest_has_room_and_what_is_asked_now_is_whole():
    words = drawn(
        said("user", "old " * 900), said("user", "older " * 600), said("user", "new"), said("user", "x" * 3000)
    )
    assert "older" not in words
    assert "old" not in words
    assert words == "Said before in this conversation:\nUser: new\n\nDraw now: " + "x" * 3000
    assert drawn(said("user", "before"), said("user", "y" * 5000)) == "y" * 5000


def test_what_is_drawn_is_the_systems_word_and_the_users():
    prompt = Prompt(
        (said("system", "In watercolour."), said("user", "A cat.")),
        params=Params(n=2, modalities=("text", "image")),
        extras={"size": "1024x1024", "quality": "low"},
    )
    asked = write_drawing(plan(prompt))
    assert json.loads(asked.body) == {
        "model": "gpt-image-1", "prompt": "In watercolour.\n\nA cat.", "n": 2, "size": "1024x1024", "quality": "low",
    }  # fmt: skip
    assert asked.dropped == ()


def test_what_means_nothing_to_a_picture_is_named():
    prompt = Prompt(
        (Message("user", (Media("image", "image/png", data="AA=="), Text("A cat."))),),
        (Tool("look", None, {}),),
        params=Params(temperature=0.5, max_tokens=9),
        extras={"unheard": 1},
    )
    assert set(write_drawing(plan(prompt)).dropped) == {"temperature", "max_tokens", "images", "tools", "unheard"}


def test_a_model_that_is_shown_pictures_gets_the_conversations_newest_as_addresses():
    pictures = [Media("image", "image/png", data=f"{n:04}") for n in range(16)]
    link, sound = Media("image", url="https://example.org/a.png"), Media("audio", "audio/wav", data="AA==")
    prompt = Prompt(
        (Message("user", (*pictures, sound, Text("A cat."))), Message("user", (link, Text("Make it blue.")))),
        extras={"style": "vivid", "size": "1024x1024"},
    )
    asked = write_drawing(plan(prompt), shown=True)
    body = json.loads(asked.body)
    assert [one["image_url"] for one in body["images"]] == [
        *(f"data:image/png;base64,{n:04}" for n in range(1, 16)), "https://example.org/a.png",
    ]  # fmt: skip
    assert (body["size"], "style" in body) == ("1024x1024", False)
    assert set(asked.dropped) == {"images", "files", "style"}  # one too many, a sound


def test_pictures_of_earlier_messages_that_are_not_shown_are_named_too():
    before = Message("user", (Media("image", "image/png", data="AA=="), Text("A cat.")))
    assert write_drawing(plan(Prompt((before, said("user", "Make it blue."))))).dropped == ("images",)


def test_without_words_nothing_is_asked():
    with pytest.raises(BadRequest) as refused:
        write_drawing(plan(Prompt((Message("user", (Media("image", "image/png", data="AA=="),)),))))
    assert refused.value.code == "user_message_missing"


def test_pictures_come_as_data_or_addresses_with_the_words_that_were_drawn():
    body = {
        "created": 7,
        "output_format": "webp",
        "data": [{"b64_json": "QUJD"}, {"url": "https://x/y.png", "revised_prompt": "A grey cat."}],
        "usage": {
            "input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        },
    }  # fmt: skip
    answer = read_drawing(msgspec.json.encode(body))
    assert answer.choices[0].parts == (
        Media("image", "image/webp", data="QUJD"),
        Text("A grey cat."),
        Media("image", url="https://x/y.png"),
    )
    assert answer.usage == Usage(uncached_in=10, image_in=40, image_out=4160)
    assert (answer.created, answer.choices[0].stop) == (7, "stop")
    for told, used in (
        ({"input_tokens": 50.0, "output_tokens": 4160}, Usage(uncached_in=50, image_out=4160)),
        (
            {
                "input_tokens": 50,
                "output_tokens": 4160,
                "output_tokens_details": {"text_tokens": 60, "image_tokens": 1},
            },
            Usage(uncached_in=50, out_text=60, image_out=4100),
        ),
        ({"output_tokens": 40, "output_tokens_details": {"text_tokens": 60}}, Usage(out_text=40)),
        ({"output_tokens": 40, "output_tokens_details": {"text_tokens": -6}}, Usage(image_out=40)),
        ({"output_tokens": 40, "output_tokens_details": None}, Usage(image_out=40)),
        ({"output_tokens": 40, "output_tokens_details": "none"}, Usage(image_out=40)),
        ({"input_tokens": 50.5, "input_tokens_details": {"image_tokens": 40}}, Usage(estimated=True)),
        ({"input_tokens": 50, "output_tokens": -1}, Usage(uncached_in=50, estimated=True)),
        ("none", Usage()),
    ):
        assert read_drawing(msgspec.json.encode({**body, "usage": told})).usage == used


@given(st.binary(max_size=200) | st.sampled_from([b"{}", b'{"data":[]}', b'{"data":[{}]', b'{"data":[1]}']))
def test_anything_else_is_garbled(body: bytes):
    with pytest.raises(Garbled):
        read_drawing(body)


@pytest.mark.skipif(not CORPUS.exists(), reason="no recorded exchanges")
def test_recorded_answers_are_read():
    seen = 0
    for line in CORPUS.read_text().splitlines():
        exchange = json.loads(line)
        if exchange["path"] != "/v1/images/generations":
            continue
        seen += 1
        body = exchange["response"].encode()
        if int(exchange["status"]) == 200:
            parts = read_drawing(body).choices[0].parts
            assert all(isinstance(part, Media) and part.url for part in parts)
        else:
            with pytest.raises(Refused):
                read_drawing(body)
    assert seen
