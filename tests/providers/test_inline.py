"""Media by address: had once, kept for a while for whom they were fetched, and words where they cannot be had."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from midstream.core.errors import BadRequest, Unreachable
from midstream.core.http import Incoming, Outgoing
from midstream.core.parts import Media, Message, Text, ToolResult
from midstream.core.turn import Holder
from midstream.providers import _inline
from midstream.providers._inline import KEPT_SECONDS, Links

HERE, THERE = ("org_a", "conv_1"), ("org_b", "conv_1")
PAPER = Media("file", url="https://x.example/a.pdf?sig=1", place="files[0]")


class Answer:
    def __init__(self, body: bytes, status: int, kind: str) -> None:
        self.body, self.status, self.headers = body, status, {"content-type": kind}

    async def read(self, limit: int = 0) -> bytes:
        return self.body

    def close(self) -> None:
        pass


class Web:
    """Addresses that answer. status: of all that is asked for, 0 = nobody answers."""

    def __init__(self, body: bytes = b"%PDF-", kind: str = "application/pdf") -> None:
        self.now, self.status, self.body, self.kind = 1000.0, 200, body, kind
        self.fetched: list[str] = []
        self.links = Links(self._send, lambda: self.now, self._check)

    async def _send(self, outgoing: Outgoing) -> Incoming:
        self.fetched.append(outgoing.url)
        if not self.status:
            raise Unreachable("nobody")
        return Answer(self.body, self.status, self.kind)  # type: ignore[return-value]

    def _check(self, url: str) -> None:
        if "private" in url:
            raise BadRequest("url: this address may not be called", param="url", code="address_refused")

    def inlined(
        self, *parts: Any, holder: Holder | None = HERE, fetches: Callable[[Media], bool] = lambda media: False
    ) -> Any:
        messages = [Message("user", parts)]
        return asyncio.run(self.links.inlined(messages, fetches, holder))[0].parts


def test_what_was_fetched_is_found_again_by_those_for_whom_it_was():
    web = Web()
    [had] = web.inlined(PAPER)
    assert (had.mime, had.data, had.url) == ("application/pdf", base64.b64encode(b"%PDF-").decode(), None)
    web.status = 404
    assert web.inlined(PAPER) == (had,)
    assert len(web.fetched) == 1
    for holder in (THERE, ("org_a", "conv_2"), None):
        with pytest.raises(BadRequest):
            web.inlined(PAPER, holder=holder)


def test_of_one_request_few_are_fetched_at_once_and_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_inline, "TOGETHER", 40)
    web, under_way, most = Web(b"%PDF-" + b"x" * 10), 0, 0
    plain = web._send

    async def slow(outgoing: Outgoing) -> Incoming:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return await plain(outgoing)

    web.links = Links(slow, lambda: web.now, web._check)
    papers = [Media("file", url=f"https://x.example/{n}", optional=n > 1) for n in range(40)]
    told = web.inlined(*papers)
    assert most == _inline.AT_ONCE == len(web.fetched)  # then it was known that there is room for no more
    assert [type(one) for one in told] == [Media] * 2 + [Text] * 38
    with pytest.raises(BadRequest, match="more than 0 MiB") as caught:
        web.inlined(*[replace(one, optional=False, url=f"{one.url}/") for one in papers])
    assert caught.value.code == _inline.GONE


@pytest.mark.parametrize("told", [True, False], ids=["whose size is told", "whose size is not told"])
def test_what_is_read_at_once_holds_no_more_than_one_medium_beyond_the_bound(
    monkeypatch: pytest.MonkeyPatch, told: bool
):
    monkeypatch.setattr(_inline, "TOGETHER", 100)
    monkeypatch.setattr(_inline, "MAX_BYTES", 33)
    web, held, most = Web(b"%PDF-" + b"x" * 25), 0, 0  # 40 characters of base64

    class Slow(Answer):
        async def read(self, limit: int = 0) -> bytes:
            nonlocal held, most
            held += 40
            most = max(most, held)
            await asyncio.sleep(0.001)
            return self.body

    async def send(outgoing: Outgoing) -> Incoming:
        answer = Slow(web.body, 200, web.kind)
        if told:
            answer.headers["content-length"] = str(len(web.body))
        return answer  # type: ignore[return-value]

    web.links = Links(send, lambda: web.now, web._check)
    papers = [Media("file", url=f"https://x.example/{n}", optional=True) for n in range(20)]
    assert [type(one) for one in web.inlined(*papers)] == [Media] * 3 + [Text] * 17
    assert most == 120
    held = most = 0
    small = [Media("file", url=f"https://x.example/again/{n}", optional=True) for n in range(2)]
    assert [type(one) for one in web.inlined(*small)] == [Media] * 2
    assert most == 80, "two at once have their place"


def test_what_is_fetched_for_nobody_is_not_kept():
    web = Web()
    web.inlined(PAPER, holder=None)
    web.inlined(PAPER, holder=None)
    assert len(web.fetched) == 2


def test_it_is_kept_for_a_while_only_and_never_more_than_so_much(monkeypatch: pytest.MonkeyPatch):
    web = Web()
    web.inlined(PAPER)
    web.now += KEPT_SECONDS - 1
    web.inlined(PAPER)
    assert len(web.fetched) == 1
    web.now += 1
    web.inlined(PAPER)
    assert len(web.fetched) == 2
    monkeypatch.setattr(_inline, "KEPT", 3 * len(base64.b64encode(web.body)))
    pages = [replace(PAPER, url=f"https://x.example/{number}") for number in range(5)]
    for page in pages:
        web.inlined(page)
    assert web.links.size == _inline.KEPT
    web.fetched.clear()
    web.inlined(*pages[2:])
    assert web.fetched == []
    web.inlined(pages[0])
    assert web.fetched == [pages[0].url]


@pytest.mark.parametrize("status", [404, 403, 0])
def test_what_cannot_be_had_is_refused_at_its_place_or_words_stand_for_it(status: int):
    web = Web()
    web.status = status
    with pytest.raises(BadRequest) as caught:
        web.inlined(Text("Read."), PAPER)
    assert (caught.value.code, caught.value.param) == ("media_not_found", "files[0]")
    assert "sig=1" not in caught.value.message
    before = replace(PAPER, place="", optional=True)
    [said, words] = web.inlined(Text("Read."), before)
    assert (said, type(words)) == (Text("Read."), Text)
    [result] = web.inlined(ToolResult("c", (Text("here"), before), "t"))
    assert [type(part) for part in result.parts] == [Text, Text]
    assert web.inlined(before, fetches=lambda media: True) == (before,)


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "binary/octet-stream", "application/x-download"])
def test_a_type_that_says_nothing_leaves_the_one_that_is_known(kind: str):
    web = Web(b"PK", kind)
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    [had] = web.inlined(replace(PAPER, mime=word))
    assert had.mime == word
    [had] = web.inlined(replace(PAPER, mime=""))
    assert had.mime == "application/octet-stream"


@pytest.mark.parametrize("fetches", [True, False])
@pytest.mark.parametrize("url", ["https://private.example/a.png", "HTTP://private.example/a.png", "file:///private"])
def test_nobody_is_handed_an_address_that_leads_to_a_private_place(url: str, fetches: bool):
    web = Web()
    web.links._send = refusing  # type: ignore[assignment]
    media = Media("image", "image/png", url=url, place="images[0]")
    with pytest.raises(BadRequest) as caught:
        web.inlined(Text("See."), media, fetches=lambda media: fetches)
    assert (caught.value.code, caught.value.param) == ("address_refused", "images[0]")
    before = replace(media, place="", optional=True)
    [said, words] = web.inlined(Text("See."), before, fetches=lambda media: fetches)
    assert (said, type(words)) == (Text("See."), Text)


async def refusing(outgoing: Outgoing) -> Incoming:
    raise BadRequest("url: this address may not be called", param="url", code="address_refused")


@pytest.mark.parametrize("url", ["data:image/png;base64,private", "gs://private/a.png"])
def test_what_leads_into_no_network_is_handed_on(url: str):
    media = Media("image", "image/png", url=url)
    assert Web().inlined(media) == (media,)


def test_an_answer_without_anything_in_it_is_none():
    with pytest.raises(BadRequest) as caught:
        Web(b"").inlined(PAPER)
    assert (caught.value.code, caught.value.param) == ("media_not_found", "files[0]")


PAGE = b"<html>please log in</html>"


@pytest.mark.parametrize(
    "media, had, kind",
    [
        (Media("image", url="https://x.example/a"), "text/html", None),
        (Media("audio", "audio/mpeg", url="https://x.example/a"), "text/html", None),
        (Media("video", url="https://x.example/a"), "application/json", None),
        (Media("image", url="https://x.example/a"), "audio/mpeg", None),
        (Media("file", "application/pdf", url="https://x.example/a"), "Text/HTML; charset=utf-8", None),
        # what may be
        (Media("file", url="https://x.example/a"), "text/html", "file"),
        (Media("file", "text/plain", url="https://x.example/a"), "text/html", "file"),
        (Media("image", "image/png", url="https://x.example/a"), "application/octet-stream", "image"),
        (Media("audio", url="https://x.example/a"), "video/mp4", "audio"),
        (Media("audio", url="https://x.example/a"), "application/ogg", "audio"),
    ],
)
def test_a_page_in_place_of_a_picture_is_a_link_that_leads_to_nothing(media: Media, had: str, kind: str | None):
    web = Web(PAGE, had)
    if kind is not None:
        [found] = web.inlined(media)
        assert (found.kind, found.data) == (kind, base64.b64encode(PAGE).decode())
        return
    with pytest.raises(BadRequest) as caught:
        web.inlined(replace(media, place="files[0]"))
    assert (caught.value.code, caught.value.param) == ("media_not_found", "files[0]")
    assert f"is {had.partition(';')[0].lower()}, not " in caught.value.message
    [words] = web.inlined(replace(media, optional=True))
    assert type(words) is Text


def test_types_are_told_plainly_whoever_has_written_them():
    jpg, pdf, png = Media("image", "image/jpg", data="AAAA"), "application/pdf;name=a.pdf", "IMAGE/PNG"
    said = Web().inlined(jpg, Media("file", pdf, data="AAAA"), ToolResult("c", (Media("file", png, data="AAAA"),), "t"))
    assert (said[0].mime, said[1].mime) == ("image/jpeg", "application/pdf")
    assert (said[2].parts[0].kind, said[2].parts[0].mime) == ("image", "image/png")
    [had] = Web(b"x", "image/jpg").inlined(Media("file", url="https://x.example/a"))
    assert (had.kind, had.mime) == ("image", "image/jpeg")
