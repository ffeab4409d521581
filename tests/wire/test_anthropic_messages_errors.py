"""Errors in both directions, and the small answers: models, token counts."""

from __future__ import annotations

import json

import pytest

from midstream.core.errors import BadRequest, Refused, TooLarge
from midstream.wire import anthropic_messages as dialect


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"), (403, "permission_error"),
     (404, "not_found_error"), (405, "invalid_request_error"), (409, "conflict_error"), (413, "request_too_large"),
     (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"), (503, "overloaded_error"),
     (504, "timeout_error"), (529, "overloaded_error")],
)  # fmt: skip
def test_errors_have_the_type_of_their_status(status: int, kind: str) -> None:
    body = json.loads(dialect.write_error(Refused("no", status=status), "req_9"))
    assert body == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_9"}
    assert json.loads(dialect.write_error(TooLarge("big"), ""))["request_id"] is None


def test_an_errors_message_names_the_field() -> None:
    body = json.loads(dialect.write_error(BadRequest("is required", param="messages"), "r"))
    assert body["error"]["message"] == "messages: is required"
    body = json.loads(dialect.write_error(BadRequest("messages: is required", param="messages"), "r"))
    assert body["error"]["message"] == "messages: is required"


def test_error_bodies_are_read_with_what_they_say_about_waiting() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"},"request_id":"r"}'
    error = dialect.read_error(429, {"retry-after": "7"}, body)
    assert (error.message, error.code, error.retry_after, error.native) == ("slow", "rate_limit_exceeded", 7.0, body)
    assert dialect.read_error(429, {"retry-after": "7", "retry-after-ms": "250"}, body).retry_after == 0.25
    dates = {"date": "Sat, 01 Aug 2026 10:00:00 GMT", "retry-after": "Sat, 01 Aug 2026 10:00:09 GMT"}
    assert dialect.read_error(429, dates, body).retry_after == 9.0
    for odd in ("", "soon", "-1", "1e9", "9" * 99, "٣"):
        assert dialect.read_error(429, {"retry-after": odd}, body).retry_after is None
    long = b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}'
    assert dialect.read_error(400, {}, long).code == "context_length_exceeded"


@pytest.mark.parametrize(
    "body", [b"", b"<html>bad gateway", b"\xff\xfe", b"[]", b"{}", b'{"error":"odd"}', b'{"error":{}}']
)
def test_an_error_body_of_any_other_kind_is_a_message_and_not_relayed(body: bytes) -> None:
    error = dialect.read_error(502, {}, body)
    assert (error.status, error.native, error.dialect) == (502, None, None)
    assert error.message
    assert json.loads(dialect.write_error(error, "r"))["error"]["type"] == "api_error"


def test_an_error_that_is_only_a_message_is_told_in_its_words() -> None:
    """A cloud's gateway before the service."""
    error = dialect.read_error(403, {}, b'{"message":"no access to this model"}')
    assert (error.message, error.native) == ("no access to this model", None)
    assert dialect.read_error(403, {}, b'{"message":5}').message == 'the provider answered 403: {"message":5}'


def test_models_and_counts_there_and_back() -> None:
    assert dialect.read_models(dialect.write_models(["a", "b"], {})) == ["a", "b"]
    page = json.loads(dialect.write_models(["a", "b"], {}))
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("a", "b", False)
    assert json.loads(dialect.write_models([], {}))["first_id"] is None
    assert json.loads(dialect.write_model("a")) == page["data"][0]
    assert page["data"][0]["lifecycle"] == "active"
    assert dialect.read_count(dialect.write_count(12)) == 12
