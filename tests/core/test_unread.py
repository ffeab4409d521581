from __future__ import annotations

import pytest
from msgspec.structs import replace

from midstream.core.errors import BadRequest
from midstream.core.parts import Media, Message, Text, ToolCall, ToolResult
from midstream.core.unread import at_places, check_left, of_before, spelled, unread_in, without_optional

PICTURE = Media("image", "image/png", data="AAAA", place="images[0]")
UNPLACED = replace(PICTURE, place="")
SAID = Message("user", (PICTURE, Text("See.")))
RESULT = Message("tool", (ToolResult("c", (Text("here"), PICTURE), "t"),))


def nothing(media: Media) -> bool:
    return False


def test_words_stand_for_media_wherever_they_are_and_are_reported():
    said, result = spelled((SAID, RESULT), nothing)
    assert unread_in([SAID, RESULT]) == ()
    assert unread_in([said]) == unread_in([result]) == ("messages.image",)
    assert said.parts[1] == Text("See.")
    assert spelled((said, result), nothing) == (said, result)
    assert unread_in([Message("user", (replace(said.parts[0]),))]) == ()  # a user who says the same words


def test_they_may_stand_for_what_is_not_asked_about_now_only():
    now = Media("image", "image/png", data="AAAA")
    before = replace(now)
    [message] = at_places([Message("user", (before, now))], {id(now): "images[0]"})
    assert message.parts == (replace(now, optional=True), replace(now, place="images[0]"))
    assert without_optional([SAID, RESULT]) is None
    shorter = without_optional([message, *of_before([RESULT])])
    assert shorter is not None
    assert [type(part) for part in shorter[0].parts] == [Text, Media]
    assert [type(part) for part in shorter[1].parts[0].parts] == [Text, Text]


def test_a_message_of_which_nothing_can_be_sent_is_refused_at_its_place():
    alone = Message("user", (PICTURE,))
    for messages in ([alone], [SAID, alone], [Message("system", (Text("x"),)), alone, Message("assistant", ())]):
        check_left(messages, lambda media: True)
        with pytest.raises(BadRequest) as caught:
            check_left(messages, nothing)
        assert (caught.value.code, caught.value.param) == ("unsupported_media", "images[0]")
    # words of before are none of its own
    with pytest.raises(BadRequest):
        check_left([Message("user", (replace(PICTURE, optional=True), PICTURE))], nothing)


def test_where_anything_else_is_said_it_is_not_if_nobody_knows_its_place():
    call, said = Message("assistant", (ToolCall("c", "t", "{}"),)), Message("user", (UNPLACED, Text("See.")))
    for messages in ([], [said], [said, call, RESULT, Message("user", (UNPLACED,))], [call]):
        check_left(messages, nothing)
    check_left(of_before([SAID]), nothing)


def test_what_is_attached_at_a_known_place_is_refused_though_other_things_are_said():
    for messages in ([SAID], [SAID, Message("assistant", (Text("I see."),)), Message("user", (Text("And now?"),))]):
        check_left(messages, lambda media: True)
        with pytest.raises(BadRequest) as caught:
            check_left(messages, nothing)
        assert (caught.value.code, caught.value.param) == ("unsupported_media", "images[0]")
    check_left([Message("assistant", (PICTURE,)), RESULT], nothing)  # nobody attached these
    latin = Media("file", "application/json", data="6Q==", place="files[0]")
    with pytest.raises(BadRequest) as caught:
        check_left([Message("user", (latin, Text("Read.")))], nothing)
    assert (caught.value.code, caught.value.param) == ("invalid_media", "files[0]")
