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
        self.links = Links(self._send, lambda: self.now)

    async def _send(self, outgoing: Outgoing) -> Incoming:
        self.fetched.append(outgoing.url)
        if not self.status:
            raise Unreachable("nobody")
        return Answer(self.body, self.status, self.kind)  # type: ignore[return-value]

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
