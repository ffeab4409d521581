"""Error bodies: a provider's, read; ours, written."""

from __future__ import annotations

import json

import pytest

from midstream.core.errors import BadRequest, LimitReached, Refused, StoreDown
from midstream.wire import openai_responses as dialect

MINE = dialect.NAME


def test_an_error_body_keeps_its_words_and_the_wait() -> None:
    body = b'{"error":{"message":"slow","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'
    refused = dialect.read_error(429, {"retry-after": "7", "retry-after-ms": "1500"}, body)
    assert (refused.message, refused.kind, refused.code, refused.status) == (
        "slow", "tokens", "rate_limit_exceeded", 429,
    )  # fmt: skip
    assert refused.retry_after == 1.5
    assert dialect.write_error(refused, "req_1") == body


@pytest.mark.parametrize("wait", ["", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "inf", "nan"])
def test_a_wait_that_is_no_number_of_seconds_is_none(wait: str) -> None:
    assert dialect.read_error(429, {"retry-after": wait}, b"").retry_after is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (b"", "the provider answered with status 502"),
        (b'{"error":"broken"}', "broken"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'"words"', "words"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"error":{"message":3}}', "the provider answered with status 502"),
    ],
)
def test_an_error_body_of_any_shape_is_read_and_only_an_error_object_is_relayed(body: bytes, message: str) -> None:
    refused = dialect.read_error(502, {}, body)
    assert refused.message == message
    written = json.loads(dialect.write_error(refused, "req_1"))
    assert isinstance(written["error"], dict)


def test_our_own_errors_are_openai_error_objects() -> None:
    assert json.loads(dialect.write_error(BadRequest("no", param="input[0]"), "")) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "input[0]", "code": "invalid_request"}
    }
    assert json.loads(dialect.write_error(LimitReached("wait"), ""))["error"]["type"] == "rate_limit_error"
    assert json.loads(dialect.write_error(StoreDown(), ""))["error"]["type"] == "server_error"


def test_an_error_of_another_dialect_is_written_anew() -> None:
    refused = Refused("no", status=529, kind="overloaded_error", dialect="another", native=b'{"error":{}}')
    assert json.loads(dialect.write_error(refused, ""))["error"]["type"] == "overloaded_error"
