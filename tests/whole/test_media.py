"""Media by address, for a service that cannot fetch them itself."""

from __future__ import annotations

import base64
from pathlib import Path

from .conftest import TOML
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "a cat"}]}, "finishReason": "STOP"}]}


def _answer(asked: Asked) -> Said:
    if asked.path.startswith("/picture"):
        return Said((PNG,), content_type="text/html")
    return whole(ANSWER)


def _ask(serving: Serving, url: str) -> int:
    content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "flash/gemini-x", "messages": [{"role": "user", "content": content}]}
    return serving.ask("POST", "/v1/chat/completions", body).status


def test_an_image_is_fetched_and_inlined_by_what_it_is_not_by_what_is_claimed(tmp_path: Path):
    with Upstream(_answer) as upstream:
        toml = TOML.format(url=upstream.url) + f'[egress]\nallow = ["127.0.0.1:{upstream.port}"]\n'
        with Serving(tmp_path, toml) as serving:
            assert _ask(serving, upstream.url + "/picture.png?signature=secret") == 200
        sent = upstream.asked[-1].json["contents"][0]["parts"][1]["inlineData"]
        assert sent == {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}
        assert all("goog" not in name for name in upstream.asked[0].headers)


def test_an_image_at_a_private_address_is_refused_and_nothing_is_dialled(serving: Serving, upstream: Upstream):
    assert _ask(serving, upstream.url + "/picture.png") == 400
    assert not upstream.asked
