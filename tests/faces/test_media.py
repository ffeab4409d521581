from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
from midstream.core.parts import Media
from midstream.faces._media import media_of

ENDS = {
    "a.png": ("image", "image/png"),
    "a.JPG": ("image", "image/jpeg"),
    "a.b.jpeg?size=1&name=b.pdf": ("image", "image/jpeg"),
    "a.webp#page=2.pdf": ("image", "image/webp"),
    "a%2Egif": ("image", "image/gif"),
    "caf%C3%A9%20one.Mp3": ("audio", "audio/mpeg"),
    "a.wav": ("audio", "audio/wav"),
    "a.mp4": ("video", "video/mp4"),
    "report.pdf": ("file", "application/pdf"),
    "a.txt": ("file", "text/plain"),
    "a.csv?": ("file", "text/csv"),
    "a.docx": ("file", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    "a.xlsx?sig=1": ("file", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "a.PPTX": ("file", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    "a.doc": ("file", "application/msword"),
    "a.odt": ("file", "application/vnd.oasis.opendocument.text"),
    # what says nothing
    "": ("file", ""),
    "a": ("file", ""),
    "a.exe": ("file", ""),
    "a.png/": ("file", ""),
    "png": ("file", ""),
    "a?b=c.png": ("file", ""),
    "a%3Fb.png": ("image", "image/png"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_link_without_a_type_is_what_its_name_says(end: str):
    url = "https://example.org/files/" + end
    kind, mime = ENDS[end]
    assert media_of("", url, None, "", None, "user_urls[0]") == Media(kind, mime, url=url)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["https://example.png", "https://example.png?a.gif", "http://[x/a"])
def test_the_name_of_a_host_says_nothing(url: str):
    assert media_of("", url, None, "", None, "user_urls[0]") == Media("file", url=url)


def test_what_is_said_of_a_link_counts_more_than_its_name():
    url = "https://example.org/a.png"
    assert media_of("file", url, None, "", None, "files[0]") == Media("file", url=url)
    assert media_of("", url, None, "application/pdf", None, "files[0]") == Media("file", "application/pdf", url=url)
    assert media_of("", url, None, "Audio/wav", None, "files[0]") == Media("audio", "audio/wav", url=url)


@given(st.text())
def test_any_link_is_something(end: str):
    made = media_of("", "https://example.org" + end, None, "", None, "user_urls[0]")
    assert made.kind == "file" or made.mime.startswith(made.kind)


def test_a_link_that_is_a_file_is_of_the_type_that_its_name_says():
    url = "https://example.org/download?id=1"
    paper = "application/pdf"
    for mime in ("", "application/octet-stream"):
        assert media_of("file", url, None, mime, "a.pdf", "files[0]") == Media("file", paper, url=url, name="a.pdf")
        assert media_of("file", "https://example.org/a.pdf?b.txt", None, mime, None, "files[0]").mime == paper
        assert media_of("file", url, None, mime, "a.exe", "files[0]").mime == mime
    assert media_of("file", "https://example.org/a.txt", None, paper, "a.csv", "files[0]").mime == paper


@pytest.mark.parametrize("mime, kind", [("image/png", "image"), ("Audio/mpeg", "audio"), ("application/pdf", "file")])
def test_a_file_whose_type_says_that_it_is_a_picture_is_one(mime: str, kind: str):
    for url, told in ((f"data:{mime};base64,AAAA", ""), ("https://example.org/a", mime)):
        assert media_of("file", url, None, told, None, "files[0]").kind == kind
    assert media_of("file", None, "AAAA", mime, None, "files[0]").kind == kind


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "https://example.org/a.png"])
def test_an_address_and_data_are_two_things(url: str):
    with pytest.raises(BadRequest) as caught:
        media_of("image", url, "AAAA", "image/png", None, "attachments[0]")
    assert caught.value.param == "attachments[0]"


@pytest.mark.parametrize("typed", ["mimeType", "mime_type"])
def test_data_without_a_type_is_refused_by_the_faces_own_word(typed: Any):
    with pytest.raises(BadRequest) as caught:
        media_of("file", "data:;base64,AAAA", None, "", None, "files[0]", typed)
    assert caught.value.param == f"files[0].{typed}"


@pytest.mark.parametrize(
    "told, written, mime",
    [
        ("", "text/csv", "text/csv"),
        ("text/csv", "", "text/csv"),
        ("text/csv", "text/csv", "text/csv"),
        ("TEXT/csv", "text/csv;charset=utf-8", "text/csv"),
        ("image/jpg", "image/jpeg", "image/jpeg"),
        ("", "image/jpg", "image/jpeg"),
        ("", "IMAGE/PNG", "image/png"),
        ("", "application/pdf;name=a.pdf", "application/pdf"),
        ("text/csv", "application/octet-stream", "text/csv"),
        ("application/octet-stream", "text/csv", "text/csv"),
        ("text/csv", "text/plain", None),
        ("application/pdf", "image/png", None),
    ],
)
def test_two_types_of_the_same_data_are_one_or_refused(told: str, written: str, mime: str | None):
    def read() -> Media:
        return media_of("", f"data:{written};base64,AAAA", None, told, None, "files[0]", "mime_type")

    if mime is not None:
        assert read().mime == mime
        return
    with pytest.raises(BadRequest) as caught:
        read()
    assert (caught.value.code, caught.value.param) == ("contradictory", "files[0].mime_type")
