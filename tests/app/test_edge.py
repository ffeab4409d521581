from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.app import edge

from .asgi import KEY, MODEL, Here, here

HI = [{"role": "user", "content": "hi"}]
BODY = {"model": MODEL, "messages": HI}
JSON = "application/json"


def test_every_answer_has_a_request_id_the_callers_own_when_it_is_one(tmp_path: Path):
    async def test(app: Here) -> None:
        for path in ("/healthz", "/nothing", "/v1/models", "/v1/admin/runs"):
            assert re.fullmatch(r"req_[0-9a-f]{24}", (await app.ask("GET", path)).headers["x-request-id"])
            given = await app.ask("GET", path, **{"x-request-id": "abc-1.2:3"})
            assert given.headers["x-request-id"] == "abc-1.2:3"
            for wrong in ("a b", "x" * 129, "\u00e9", ""):
                assert (await app.ask("GET", path, **{"x-request-id": wrong})).headers["x-request-id"] != wrong

    here(tmp_path, test)


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/healthz", 405),
        ("POST", "/v1/administrators", 404),
        ("PUT", "/v1/messages", 405),
        ("POST", "/v1beta/models/m:inventContent", 405),
        ("PATCH", "/v1/admin/keys", 405),
        ("PUT", "/api/v1/conversation", 405),
        ("PUT", "/v1/admin/agents/agt_1", 405),
    ],
)
def test_a_path_or_method_that_is_not_here_says_so(tmp_path: Path, method: str, path: str, status: int):
    async def test(app: Here) -> None:
        reply = await app.ask(method, path, b"{}", content_type=JSON)
        assert reply.status == status
        assert reply.json["error"]
        if status == 405:
            allowed = reply.headers["allow"].split(", ")
            assert method not in allowed
            for other in allowed:
                assert (await app.ask(other, path, b"{}", content_type=JSON)).status != 405, other
        else:
            assert "allow" not in reply.headers

    here(tmp_path, test)


def test_errors_are_in_the_grammar_of_the_face_that_was_asked(tmp_path: Path):
    async def test(app: Here) -> None:
        chat = (await app.ask("POST", "/v1/chat/completions", {}, key="")).json
        assert set(chat["error"]) >= {"message", "type", "param", "code"}
        messages = (await app.ask("POST", "/v1/messages", {}, key="")).json
        assert (messages["type"], messages["error"]["type"]) == ("error", "authentication_error")
        google = (await app.ask("POST", "/v1beta/models/m:generateContent", {}, key="")).json
        assert (google["error"]["code"], google["error"]["status"]) == (401, "UNAUTHENTICATED")
        for path in ("/v1/models/", "/v1/chat/completions/"):
            assert (await app.ask("GET", path)).json["error"]["type"] == "invalid_request_error"
        plain = (await app.ask("GET", "/nothing")).json
        assert set(plain["error"]) == {"code", "message", "param", "request_id"}

    here(tmp_path, test)


CLAUDES, GOOGLES = {"anthropic-version": "2023-06-01"}, {"x-goog-api-client": "google-genai-sdk/2"}


def grammar(error: Any) -> str:
    """Whose error it is."""
    if error.get("type") == "error":
        return "anthropic"
    inner = error["error"]
    return "google" if isinstance(inner["code"], int) else "openai" if "type" in inner else "ours"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/nobody/knows", "/v1/files", "/v1/nothing"])
@pytest.mark.parametrize("mark, whose", [(CLAUDES, "anthropic"), (GOOGLES, "google")])
def test_where_several_vendors_have_a_path_errors_are_in_the_grammar_of_who_asks(
    tmp_path: Path, mark: dict[str, str], whose: str, path: str, method: str
):
    async def test(app: Here) -> None:
        key = "" if (method, path) == ("GET", "/v1/models") else KEY
        reply = await app.ask(method, path, {} if method == "POST" else b"", key=key, **mark)
        assert reply.status in (401, 404, 405, 501)
        assert grammar(reply.json) == whose

    here(tmp_path, test)


def test_a_path_of_one_vendor_has_its_errors_whatever_headers_come(tmp_path: Path):
    async def test(app: Here) -> None:
        for path, whose in (
            ("/v1/chat/completions", "openai"), ("/v1/messages", "anthropic"), ("/v1beta/models/m", "google"),
            ("/v1/messages/batches", "anthropic"), ("/v1beta/files", "google"),
        ):  # fmt: skip
            for mark in (CLAUDES, GOOGLES, {}):
                assert grammar((await app.ask("DELETE", path, **mark)).json) == whose, (path, mark)
        for path in ("/v1/cachedContents", "/upload/v1beta/files", "/upload/v1/files"):
            reply = await app.ask("POST", path, {})
            assert (reply.status, grammar(reply.json)) == (501, "google"), path
        assert "statusCode" in (await app.ask("GET", "/api/v1/nothing", **CLAUDES)).json
        assert grammar((await app.ask("GET", "/nothing", **CLAUDES)).json) == "ours"

    here(tmp_path, test)


def test_who_asks_is_known_before_the_body_is_read(tmp_path: Path):
    async def test(app: Here) -> None:
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/v1beta/models/m:generateContent"):
            assert (await app.ask("POST", path, b"{", key="")).status == 401
            assert (await app.ask("POST", path, b"{")).status == 400
        for path in ("/v1/models", "/v1beta/models", "/v1/admin/runs", "/metrics", "/v1/admin/keys"):
            assert (await app.ask("GET", path, key="")).status == 401
        for path in ("/healthz", "/readyz", "/v1/version", "/openapi.json", "/docs"):
            assert (await app.ask("GET", path, key="")).status == 200

    here(tmp_path, test)


def test_a_key_in_the_address_is_for_geminis_clients_only(tmp_path: Path):
    async def test(app: Here) -> None:
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        for version in ("v1beta", "v1"):
            path = f"/{version}/models/{MODEL}:generateContent?key={KEY}"
            assert (await app.ask("POST", path, body, key="")).status == 200
        assert (await app.ask("POST", f"/v1beta/{MODEL}:generateContent?key={KEY}", body, key="")).status == 200
        assert (await app.ask("GET", f"/v1beta/models?key={KEY}", key="")).status == 200
        for method, path in (
            ("POST", "/v1/chat/completions"), ("POST", "/v1/messages"), ("GET", "/v1/models"),
            ("GET", "/v1/admin/runs"), ("GET", "/metrics"),
        ):  # fmt: skip
            assert (await app.ask(method, f"{path}?key={KEY}", BODY, key="")).status == 401

    here(tmp_path, test)


@pytest.mark.parametrize(
    "path, body",
    [
        ("/api/v1/conversation", {"agentId": "a", "message": "hi"}),
        ("/api/v1/completions", BODY),
        ("/api/v1/agent/run", BODY),
        ("/api/v2/model/chat/completion", {"agent_id": "a", "user": "hi"}),
        ("/api/v2/model/playground/chat/completion/a", {"user": "hi"}),
        ("/api/v2/model/embedding", {"agent_id": "a", "user": "hi"}),
    ],
)
def test_our_own_faces_refuse_what_an_address_says_besides(tmp_path: Path, path: str, body: Any):
    async def test(app: Here) -> None:
        for query, name in (("version_id=ver_1", "version_id"), ("stream", "stream"), (f"key={KEY}", "key")):
            told = (await app.ask("POST", f"{path}?{query}", body)).json
            words = f"{name}: unknown query parameter; there are none here"
            assert words in (told["error"], told.get("message"))
            assert "unknown_parameter" in (told["error"], told.get("code"))
            assert told.get("param", name) == name
            assert (await app.ask("POST", f"{path}?{query}", body, key="")).status == 401

    here(tmp_path, test)


def test_other_vendors_faces_take_what_their_clients_say_in_the_address(tmp_path: Path):
    async def test(app: Here) -> None:
        assert (await app.ask("POST", "/v1/chat/completions?api-version=1", BODY)).status == 200
        assert (await app.ask("POST", "/v1/messages?beta=true", {**BODY, "max_tokens": 9})).status == 200

    here(tmp_path, test)


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "text/plain"}, {"content-type": JSON, "content-encoding": "gzip"}, {"content-type": ""}],
)
def test_what_is_not_plain_json_is_not_taken(tmp_path: Path, headers: dict[str, str]):
    async def test(app: Here) -> None:
        assert (await app.ask("POST", "/v1/chat/completions", BODY, **headers)).status == 415

    here(tmp_path, test)


#: Where FastAPI answers.
NOUNS = ("/v1/admin/tools", "/v1/admin/documents", "/mcp/v1/tools/call-tool", "/v1/live/tokens", "/v1/queues/q")
NOUNS += ("/api/v1/conversation/conv_1/reset", "/api/v2/model/batch/chat/completion")


@pytest.mark.parametrize("path", NOUNS)
def test_what_is_not_plain_json_is_not_taken_wherever_it_goes(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        for headers in ({"content-type": "text/plain"}, {"content-type": JSON, "content-encoding": "gzip"}):
            reply = await app.ask("POST", path, b"{}", **headers)
            assert (reply.status, "content-" in reply.body.decode()) == (415, True)
        for wrong in (b'{"name": 1, "name": 2}', b'{"a": NaN}', b"{}{}", b'{"a": "\\u0000"}', b'{"a": "\xff"}'):
            reply = await app.ask("POST", path, wrong, content_type=JSON)
            assert (reply.status, "invalid_json" in reply.body.decode() or path.startswith("/api/")) == (400, True)
        deep = b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}"
        assert "nested" in (await app.ask("POST", path, deep, content_type=JSON)).body.decode()

    here(tmp_path, test)


def test_what_has_no_body_needs_no_content_type_for_it(tmp_path: Path):
    async def test(app: Here) -> None:
        for method in ("POST", "PATCH", "PUT", "DELETE", "GET"):
            reply = await app.ask(method, "/v1/admin/agents/agt_1/pause", content_type="text/plain")
            assert reply.status in (404, 405)

    here(tmp_path, test)


def test_json_with_a_charset_is_json(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.ask("POST", "/v1/chat/completions", BODY, content_type="Application/JSON; charset=utf-8")
        assert reply.status == 200

    here(tmp_path, test)


def test_the_time_that_a_client_takes_to_send_its_body_is_none_of_ours(tmp_path: Path):
    async def test(app: Here) -> None:
        body = msgspec.json.encode(BODY)
        pieces = [body[:10], body[10:]]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.5)
            return {"type": "http.request", "body": pieces.pop(0), "more_body": len(pieces) > 0}

        said: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + KEY.encode())],
        }  # fmt: skip
        await app.process.application(scope, receive, send)
        assert said[0]["status"] == 200
        assert int(dict(said[0]["headers"])[b"x-midstream-overhead-us"]) < 900_000

    here(tmp_path, test)


def test_a_body_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("midstream.app.serve.MAX_BODY", 100)

    async def test(app: Here) -> None:
        reply = await app.ask("POST", "/v1/chat/completions", b"{" + b" " * 100)
        assert reply.status == 413

    here(tmp_path, test)


def test_a_body_has_at_most_20_mib_wherever_it_goes(tmp_path: Path):
    paths = [
        "/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent", "/api/v1/conversation",
        "/api/v1/agent/run", "/api/v2/model/chat/completion", "/api/v2/model/batch/chat/completion",
        "/api/v1/conversation/one/messages", "/mcp/v1/tools/call-tool", "/v1/queues/q", "/v1/live/tokens",
        "/v1/admin/agents", "/v1/admin/agents/import", "/v1/admin/documents", "/v1/admin/tools",
    ]  # fmt: skip
    most = b"{}" + b" " * (20 * 1024 * 1024 - 2)

    async def test(app: Here) -> None:
        for path in paths:
            assert (await app.ask("POST", path, most, content_type=JSON)).status in (400, 404, 405), path
            assert (await app.ask("POST", path, most + b" ", content_type=JSON)).status == 413, path

    here(tmp_path, test)


def test_who_does_not_say_who_asks_sends_little(tmp_path: Path):
    async def test(app: Here) -> None:
        for path in ("/docs", "/openapi.json"):
            assert (await app.ask("GET", path, b" " * 1024 * 1024, key="")).status == 200
            assert (await app.ask("GET", path, b" " * (1024 * 1024 + 1), key="")).status == 413

    here(tmp_path, test)


ORIGIN = "https://app.example.org"


def test_browsers_of_a_listed_origin_may_ask_and_read_our_headers(tmp_path: Path):
    async def test(app: Here) -> None:
        preflight = await app.ask("OPTIONS", "/v1/chat/completions", key="", origin=ORIGIN)
        assert preflight.status == 204
        assert not {"content-length", "content-type"} & {*preflight.headers}
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        for path in ("/v1/chat/completions", "/v1/admin/runs", "/nothing"):
            reply = await app.ask("GET", path, origin=ORIGIN)
            assert reply.headers["access-control-allow-origin"] == ORIGIN
            assert reply.headers["vary"] == "origin"
            assert reply.headers["access-control-expose-headers"] == "*"
            assert "access-control-allow-credentials" not in reply.headers

    here(tmp_path, test, cors_origins=(ORIGIN,))


@pytest.mark.parametrize(
    "asked",
    [
        "authorization,content-type,x-stainless-arch,x-stainless-retry-count,x-stainless-timeout",
        "anthropic-dangerous-direct-browser-access, anthropic-version, x-api-key",
        "x-goog-api-client,x-goog-api-key",
        ",".join(f"x-{number}" for number in range(100)),
    ],
)
def test_a_preflight_is_told_the_very_headers_that_it_asks_for(tmp_path: Path, asked: str):
    async def test(app: Here) -> None:
        asks = {"origin": ORIGIN, "access-control-request-headers": asked}
        reply = await app.ask("OPTIONS", "/v1/chat/completions", key="", **asks)
        assert (reply.status, reply.headers["access-control-allow-headers"]) == (204, asked)
        assert reply.headers["vary"] == "origin, access-control-request-headers"
        assert "access-control-allow-credentials" not in reply.headers
        asks["origin"] = "https://evil.example"
        reply = await app.ask("OPTIONS", "/v1/chat/completions", key="", **asks)
        assert not any(name.startswith("access-control") for name in reply.headers)

    here(tmp_path, test, cors_origins=(ORIGIN,))


@pytest.mark.parametrize(
    "asked",
    [
        "", "x-a;x-b", "x-a,,x-b", "x-a,", "x a", "x-a\x00", "\u00e9", "x" * 201,
        ",".join(f"x-{number}" for number in range(101)), ",".join(["x" * 199] * 50),
    ],
)  # fmt: skip
def test_a_preflight_that_names_no_headers_or_no_sane_ones_is_told_the_usual_ones(tmp_path: Path, asked: str):
    async def test(app: Here) -> None:
        asks = {"origin": ORIGIN, "access-control-request-headers": asked}
        reply = await app.ask("OPTIONS", "/v1/chat/completions", key="", **asks)
        assert reply.headers["access-control-allow-headers"] == edge.ALLOWED_HEADERS.decode()

    here(tmp_path, test, cors_origins=(ORIGIN,))


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.org.evil.example", "null", "\u00e9"])
def test_browsers_of_another_origin_may_not(tmp_path: Path, origin: str):
    async def test(app: Here) -> None:
        preflight = await app.ask("OPTIONS", "/v1/chat/completions", key="", origin=origin)
        assert preflight.status == 405
        reply = await app.ask("GET", "/v1/models", origin=origin)
        assert not any(name.startswith("access-control") for name in reply.headers)

    here(tmp_path, test, cors_origins=(ORIGIN,))


@pytest.mark.parametrize(
    "named, sent",
    [
        ("https://App.Example.org", "https://app.example.org"),
        ("HTTPS://b.example.org:443", "https://b.example.org"),
        ("http://b.example.org:80", "http://b.example.org"),
        ("http://b.example.org:443", "http://b.example.org:443"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
        ("http://localhost:3000", "http://localhost:3000"),
    ],
)
def test_an_origin_may_be_named_in_other_words_than_browsers_say_it(tmp_path: Path, named: str, sent: str):
    async def test(app: Here) -> None:
        reply = await app.ask("GET", "/v1/models", origin=sent)
        assert reply.headers["access-control-allow-origin"] == sent

    here(tmp_path, test, cors_origins=(named,))


def test_a_star_lets_every_origin_ask(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.ask("OPTIONS", "/v1/models", key="", origin="https://any.example")
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, "https://any.example")

    here(tmp_path, test, cors_origins=("*",))


def test_head_is_get_without_its_body(tmp_path: Path):
    async def test(app: Here) -> None:
        for path in ("/healthz", "/v1/models"):
            assert (await app.ask("HEAD", path)).status == 200
        assert (await app.ask("HEAD", "/v1/chat/completions")).status == 405

    here(tmp_path, test)


def test_a_bug_is_a_500_with_an_id_that_the_log_knows_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(*arguments: Any) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(edge, "serve", broken)

    async def test(app: Here) -> None:
        reply = await app.ask("POST", "/v1/chat/completions", BODY)
        assert reply.status == 500
        [bug] = re.findall(r"bug_[0-9a-f]+", reply.json["error"]["message"])
        assert bug in caplog.text
        assert reply.headers["x-request-id"] in caplog.text
        assert KEY not in caplog.text
        assert "surprise" not in reply.body.decode()

    here(tmp_path, test)


def test_when_our_attempts_are_spent_clients_are_told_not_to_try_again_themselves(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.chat("fail:400").end()
        assert (reply.status, reply.headers["x-should-retry"]) == (400, "false")

    here(tmp_path, test)


def test_the_server_may_ask_whether_it_can_start_and_stop(tmp_path: Path):
    async def test(app: Here) -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "lifespan.shutdown"}

        await asyncio.wait_for(app.process.application({"type": "lifespan"}, receive, send), 5)
        assert sent[-1] == {"type": "lifespan.shutdown.complete"}

    here(tmp_path, test)
