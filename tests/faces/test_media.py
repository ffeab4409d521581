from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert media_of("", url, None, "Audio/wav", None, "files[0]") == Media("audio", "Audio/wav", url=url)


@given(st.text())
def test_any_link_is_something(end: str):
    made = media_of("", "https://example.org" + end, None, "", None, "user_urls[0]")
    assert made.kind == "file" or made.mime.startswith(made.kind)
