from __future__ import annotations

from typing import Any

import pytest

from midstream.core.parts import Media
from midstream.tools._mcp_content import content_of, read_answer
from midstream.wire.jsonrpc import Result


def resource(mime: str, **more: Any) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": "file:///a", "mimeType": mime, "blob": "AAAA", **more}}


@pytest.mark.parametrize(
    "mime, kind, plain",
    [
        ("image/png", "image", "image/png"), ("IMAGE/JPG", "image", "image/jpeg"), ("video/mp4", "video", "video/mp4"),
        ("audio/mpeg", "audio", "audio/mpeg"), ("application/pdf", "file", "application/pdf"),
    ],
)  # fmt: skip
def test_a_resource_is_shown_as_what_its_type_says_and_told_as_a_resource(mime: str, kind: Any, plain: str):
    answer = read_answer(Result("1", {"content": [resource(mime)]}))
    assert answer.media == (Media(kind, plain, data="AAAA", name="file:///a"),)
    assert content_of(answer) == [resource(plain)]


def test_a_picture_of_its_own_is_told_as_one():
    block = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    assert content_of(read_answer(Result("1", {"content": [block]}))) == [block]
