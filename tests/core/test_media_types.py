from __future__ import annotations

import pytest

from midstream.core.media_types import essence, is_text, plainly
from midstream.core.parts import Media


@pytest.mark.parametrize(
    "written, plain",
    [
        ("image/jpg", "image/jpeg"), ("IMAGE/PNG", "image/png"), ("application/pdf;name=a.pdf", "application/pdf"),
        (" Text/CSV ; charset=utf-8", "text/csv"), ("image/jpg;q=1", "image/jpeg"), ("", ""), (";", ""),
    ],
)  # fmt: skip
def test_a_type_is_told_as_services_know_it(written: str, plain: str):
    assert essence(written) == plain
    assert plainly(Media("video", written, data="AAAA")).mime == plain


@pytest.mark.parametrize(
    "mime, kind",
    [
        ("Image/PNG", "image"), ("audio/mpeg", "audio"), ("video/mp4", "video"), ("application/pdf", "file"),
        ("", "file"),
    ],
)  # fmt: skip
def test_what_is_called_a_file_is_what_its_type_says(mime: str, kind: str):
    assert plainly(Media("file", mime, data="AAAA")).kind == kind
    assert plainly(Media("audio", mime, data="AAAA")).kind == "audio"


def test_how_samples_are_read_stays_beside_their_type():
    sound = Media("audio", "audio/L16;codec=pcm;rate=24000", data="AAAA")
    assert plainly(sound) is sound
    assert plainly(Media("audio", "audio/webm;codecs=opus", data="AAAA")).mime == "audio/webm"


@pytest.mark.parametrize(
    "mime",
    [
        "text/plain", "TEXT/x-anything; charset=x", "application/json", "application/xml", "application/yaml",
        "application/x-yaml", "application/ld+json", "application/atom+xml", "application/x-ndjson",
        "Application/JSON;charset=utf-8", "application/javascript", "application/x-python",
    ],
)  # fmt: skip
def test_what_programs_write_is_text_too(mime: str):
    assert is_text(mime)


@pytest.mark.parametrize(
    "mime",
    [
        "",
        "application/pdf",
        "application/octet-stream",
        "image/svg+xml",
        "application/vnd.oasis.opendocument.text",
        "text",
    ],
)
def test_what_says_nothing_of_text_is_none(mime: str):
    assert not is_text(mime)
