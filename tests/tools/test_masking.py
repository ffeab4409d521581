from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.tools._masking import credentials, masked
from midstream.tools._mcp_links import Ears
from midstream.tools._mcp_servers import McpServer, secrets_of
from midstream.wire.jsonrpc import Result

SECRETS = ["canary-token-12345", 'pa"ss\\word-1', "a/b+c=d e&f", "<käse>'🧀'\\", '\\\\\\"""', "¬¬¬¬¬¬¬"]


def ways(text: str) -> list[str]:
    """How services write a text."""
    coded = [text, json.dumps(text), json.dumps(text, ensure_ascii=False), json.dumps(text).replace("/", "\\/")]
    coded += [quote(text), quote(text, safe=""), quote_plus(text), quote(text, safe="").lower(), html.escape(text)]
    coded += ["".join(one if one.isalnum() and one.isascii() else f"&#{ord(one)};" for one in text)]
    coded += ["".join(one if one.isalnum() else f"\\u{ord(one):04X}" for one in text)] if text.isascii() else []
    return [*coded, json.dumps({"body": json.dumps({"k": text})}), json.dumps(json.dumps(json.dumps([text])))]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_however_it_is_written(secret: str):
    for way in ways(secret):
        told = masked(f"before {way} after {way}".encode(), [secret]).decode()
        assert told.startswith("before ")
        assert " after " in told
        assert told.count("***") == 2, (way, told)
        assert not any(one in told for one in ways(secret)), told


@given(st.from_regex(r"[A-Z][A-Za-z0-9_./+=\"\\ é<-]{7,30}[a-z]", fullmatch=True), st.text(), st.text())
def test_json_stays_json(secret: str, before: str, after: str):
    before, after = (one.encode("utf-8", "replace").decode() for one in (before, after))
    value = {"k": [before + secret + after, 1], "l": before}
    for written in (json.dumps(value).encode(), msgspec.json.encode(value)):
        told = json.loads(masked(written, [secret]))
        assert (told["l"], told["k"][1]) == (before, 1)
        assert secret not in told["k"][0]
        assert "***" in told["k"][0]


def test_what_is_short_or_not_there_is_left_alone():
    data = b'{"k": "12345 \\u00e9 *"}'
    assert masked(data, ["12345", "", "other-token"]) is data


def test_what_is_secret_of_headers():
    headers = {
        "Authorization": "Bearer tok-abcdef", "x-api-key": "kkkkkk", "X-Auth": "a1b2c3", "x-region": "europe",
        "x-trace": "abcdefgh12345678", "cookie": "s=1; t=22", "x-author": "Jane Doe", "x-token": "short",
    }  # fmt: skip
    assert credentials(headers) == ["tok-abcdef", "kkkkkk", "a1b2c3", "abcdefgh12345678", "s=1; t=22"]
    assert credentials({"authorization": "Basic dXNlcjpwYXNzd29yZA=="}) == ["dXNlcjpwYXNzd29yZA==", "password"]
    assert credentials({"authorization": "Basic !"}) == []


def test_what_a_command_is_started_with_is_secret_by_its_name():
    server = McpServer("id", "a", command=("x",), env={"API_TOKEN": "tok-123456", "LANG": "C.UTF-8"}, trusted=True)
    assert secrets_of(server) == ("tok-123456",)
    assert Ears(server).read(b'{"jsonrpc":"2.0","id":1,"result":{"env":"API_TOKEN=tok-123456"}}') == [
        Result(1, {"env": "API_TOKEN=***"})
    ]
