"""Where a later answer may go, and what of it is refused before the turn is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from midstream.app.deliver import checked
from midstream.core.agents import Delivery
from midstream.core.errors import BadRequest

URL = "https://example.org/hook"


@pytest.mark.parametrize(
    ("kind", "cred", "path"),
    [
        ("webhook", {}, "cred.url"),
        ("webhook", {"url": 5}, "cred.url"),
        ("webhook", {"url": "ftp://example.org"}, "cred.url"),
        ("webhook", {"url": "https://user:word@example.org/"}, "cred.url"),
        ("webhook", {"url": "https://example.org/a b"}, "cred.url"),
        ("webhook", {"url": "https://example.org/a\r\nb"}, "cred.url"),
        ("webhook", {"url": URL, "headers": {"Host": "a"}}, "cred.headers"),
        ("webhook", {"url": URL, "headers": {"content-length": "1"}}, "cred.headers"),
        ("webhook", {"url": URL, "headers": {"Webhook-Id": "mine"}}, "cred.headers"),
        ("webhook", {"url": URL, "headers": {"Content-Type": "text/x"}}, "cred.headers"),
        ("webhook", {"url": URL, "headers": {"x-a": 5}}, "cred.headers"),
        ("webhook", {"url": URL, "headers": {"bad name": "1"}}, "cred.headers"),
        ("webhook", {"url": URL, "headers": {"x-a": "1\r\nx-b: 2"}}, "cred.headers"),
        ("webhook", {"url": URL, "header": {"x-a": "1"}}, "cred.header"),
        ("webhook", {"url": URL, "secret": "too short"}, "cred.secret"),
        ("queue", {"name": ""}, "cred.name"),
        ("queue", {"name": "mine/ack"}, "cred.name"),
        ("queue", {"name": "q", "nmae": "q"}, "cred.nmae"),
        ("live", {}, "cred.channel"),
        ("live", {"channel": "c", "chanel": "c"}, "cred.chanel"),
    ],
)
def test_what_could_never_arrive_is_refused_by_its_path(kind: Any, cred: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequest) as refused:
        checked(Delivery(kind, cred))
    assert (refused.value.param, refused.value.code) == (f"response_format.{path}", "response_format_invalid")
    assert refused.value.message.startswith(f"response_format.{path}: ")


@pytest.mark.parametrize(
    ("kind", "cred"),
    [
        ("webhook", {"url": URL, "headers": {"x-a": "1"}, "secret": "whsec_" + "QUJD" * 8}),
        ("queue", {}),
        ("queue", {"queue": "q"}),
        ("live", {"channel": "c"}),
    ],
)
def test_what_can_arrive_is_taken(kind: Any, cred: dict[str, Any]) -> None:
    checked(Delivery(kind, cred))
