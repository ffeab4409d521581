from __future__ import annotations

import asyncio

import msgspec
import pytest

from midstream import __version__
from midstream.app.operations import Operations, plain_error
from midstream.core.errors import BadRequest, MethodNotAllowed
from midstream.core.web import Reply
from midstream.metering.metrics import Metrics


def answer(path: str, method: str = "GET", reason: str | None = None) -> Reply:
    async def ready() -> str | None:
        return reason

    return asyncio.run(Operations(ready, Metrics()).answer(method, path))


def test_alive_does_not_depend_on_anything():
    assert answer("/healthz", reason="the store is away").status == 200


def test_ready_says_why_not_and_when_to_ask_again():
    assert answer("/readyz").status == 200
    reply = answer("/readyz", reason="the store is away")
    assert reply.status == 503
    assert msgspec.json.decode(reply.body)["reason"] == "the store is away"
    assert dict(reply.headers)["retry-after"] == "1"


def test_the_version_is_the_packages():
    assert msgspec.json.decode(answer("/v1/version").body) == {"name": "midstream", "version": __version__}


def test_metrics_are_text_for_prometheus_and_need_a_key():
    assert answer("/metrics").content_type.startswith("text/plain; version=0.0.4")
    operations = Operations(lambda: asyncio.sleep(0, None), Metrics())
    assert not operations.is_open("/metrics")
    assert operations.knows("/metrics")
    assert all(operations.is_open(path) for path in ("/healthz", "/readyz", "/v1/version"))
    assert not operations.knows("/healthz/")


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_they_are_read_only(method: str):
    with pytest.raises(MethodNotAllowed):
        answer("/healthz", method)
    assert answer("/healthz", "HEAD").status == 200


def test_a_plain_error_has_what_one_needs_to_report_it():
    written = msgspec.json.decode(plain_error(BadRequest("wrong", param="a.b"), "req_1"))
    error = {"code": "invalid_request", "message": "wrong", "param": "a.b", "request_id": "req_1"}
    assert written == {"error": error}
