"""Keys and orgs over a real server: what a key may do, when it ends, and that nobody sees what is another's."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from .serving import ADMIN_KEY, Reply, Serving
from .test_chat import DONE, REPLY, chunk
from .upstream import Asked, Said, Upstream, stream, whole

PROVIDER_KEY = "sk-canary/provider+0123456789=="
HEADER_SECRET = "canary-header-abcdef"
TOML = f"""
[server]
lame_duck_seconds = 0
[providers.up]
kind = "openai_compatible"
base_url = "{{url}}/v1"
api_key = "{PROVIDER_KEY}"
headers = {{{{ x-secret = "{HEADER_SECRET}" }}}}
[providers.claude]
kind = "anthropic"
base_url = "{{url}}"
api_key = "{PROVIDER_KEY}"
[providers.flash]
kind = "gemini"
base_url = "{{url}}"
api_key = "{PROVIDER_KEY}"
[providers.gone]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
api_key = "{PROVIDER_KEY}"
"""
CLOSE = "connection: close\r\n"
HI = [{"role": "user", "content": "hi"}]


class Watched(Serving):
    """Keeps every byte that it answered."""

    seen: bytes = b""

    def ask(self, *args: object, **more: object) -> Reply:
        reply = super().ask(*args, **more)  # type: ignore[arg-type]
        self.seen += reply.body + json.dumps(reply.headers).encode()
        return reply


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("keys"), TOML.format(url=upstream.url)) as running:
        yield running


def make(serving: Serving, **more: object) -> dict[str, str]:
    made = serving.ask("POST", "/v1/admin/keys", {"name": "k", **more})
    assert made.status == 201, made.body
    return dict(made.json)


def chat(serving: Serving, key: str, **more: object) -> Reply:
    return serving.ask("POST", "/v1/chat/completions", {"model": "up/m", "messages": HI, **more}, key=key)


def test_a_key_ends_within_a_second_of_being_revoked(serving: Watched, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    made = make(serving)
    assert chat(serving, made["key"]).status == 200
    assert serving.ask("GET", "/v1/admin/attempts", key=made["key"]).status == 403
    assert serving.ask("POST", "/v1/admin/keys", {"name": "x"}, key=made["key"]).status == 403
    assert serving.ask("DELETE", f"/v1/admin/keys/{made['id']}", key=made["key"]).status == 403
    assert serving.ask("DELETE", f"/v1/admin/keys/{made['id']}").status == 200
    deadline = time.monotonic() + 1.0
    while chat(serving, made["key"]).status != 401:
        assert time.monotonic() < deadline
    assert serving.ask("DELETE", "/v1/admin/keys/key_unknown").status == 404


def test_a_stream_that_began_before_its_key_was_revoked_ends_whole(serving: Watched, upstream: Upstream):
    upstream.answer = lambda asked: stream(chunk("one"), 0.5, chunk("two"), chunk(None, "stop"), DONE)
    made = make(serving)
    bodies: list[bytes] = []
    reading = threading.Thread(target=lambda: bodies.append(chat(serving, made["key"], stream=True).body))
    reading.start()
    while not upstream.asked:
        time.sleep(0.01)
    serving.ask("DELETE", f"/v1/admin/keys/{made['id']}")
    reading.join(10)
    assert bodies[0].endswith(DONE)
    assert chat(serving, made["key"]).status == 401


def test_a_key_is_refused_after_its_time(serving: Watched, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    expires = time.time() + 3
    made = make(serving, expires_at=expires)
    assert chat(serving, made["key"]).status == 200
    time.sleep(max(0.0, expires + 1.1 - time.time()))
    assert chat(serving, made["key"]).status == 401
    past = serving.ask("POST", "/v1/admin/keys", {"name": "k", "expires_at": time.time() - 1})
    assert (past.status, past.json["error"]["param"]) == (400, "expires_at")


def test_a_secret_is_shown_once_and_kept_nowhere(serving: Watched):
    made = make(serving)
    listed = serving.ask("GET", "/v1/admin/keys")
    assert made["key"].encode() not in listed.body
    assert made["id"] in [row["id"] for row in listed.json["data"]]
    kept = b"".join(file.read_bytes() for file in serving.data.rglob("*") if file.is_file())
    assert made["id"].encode() in kept
    assert made["key"].encode() not in kept
    assert PROVIDER_KEY.encode() not in kept


def test_a_thousand_connections_at_once_get_as_many_answers_as_the_limit_says(serving: Watched, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    key = make(serving, requests_per_minute=100)["key"]
    body = json.dumps({"model": "up/m", "messages": HI}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{CLOSE}"
    request = f"{head}authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(request)
        reply = await reader.read()
        writer.close()
        return reply

    async def everybody() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(1000)))

    replies = asyncio.run(everybody())
    served = [reply for reply in replies if reply.startswith(b"HTTP/1.1 200")]
    limited = [reply for reply in replies if reply.startswith(b"HTTP/1.1 429")]
    assert (len(served), len(limited), len(upstream.asked)) == (100, 900, 100)
    assert all(b"\r\nretry-after: " in reply and b'"error"' in reply for reply in limited)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": ""}, {"name": 5}, {"name": "x" * 201}, {"name": "k", "org_id": "org_unknown"},
        {"name": "k", "scopes": "admin"}, {"name": "k", "scopes": [5]}, {"name": "k", "scopes": ["all"]},
        {"name": "k", "requests_per_minute": 0},
        {"name": "k", "zz": 1}, [], None, 5,
        {"name": "k", "expires_at": "never"}, {"name": "k", "expires_at": 1e400}, {"name": "k\x00"},
        {"name": "k", "org_id": "' OR 1=1 --"}, {"name": "k", "scopes": ["admin"] * 33},
    ],
)  # fmt: skip
def test_a_key_made_wrongly_is_no_key(serving: Watched, body: object):
    data = json.dumps(body).encode()
    reply = serving.ask("POST", "/v1/admin/keys", data)
    assert reply.status in (400, 404, 422), reply.body
    assert reply.json["error"]["message"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=1e9", "limit=1001", "after=att_unknown", "after=%00", "after=' OR 1=1",
     "run_id=run_unknown", "run_id=%00", "after=" + "a" * 5000, "after=%ff%fe", "limit=99999999999999999999"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/admin/attempts", "/v1/admin/runs"])
def test_odd_questions_about_accounts_are_answered_or_refused(serving: Watched, path: str, query: str):
    reply = serving.ask("GET", f"{path}?{quote(query, safe='=%&')}")
    assert reply.status in (200, 400, 404, 422), reply.body
    assert reply.status == 200 or reply.json["error"]["message"]


def test_orgs_see_nothing_of_each_other(serving: Watched, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    orgs = [serving.ask("POST", "/v1/admin/orgs", {"name": f"org {n}"}).json["id"] for n in range(2)]
    plain = [make(serving, org_id=org)["key"] for org in orgs]
    admin = [make(serving, org_id=org, scopes=["admin"])["key"] for org in orgs]
    told = [chat(serving, key, conversation={}, messages=[{"role": "user", "content": f"secret of {n}"}])
            for n, key in enumerate(plain)]  # fmt: skip
    ids = [(reply.headers["x-conversation-id"], reply.headers["x-run-id"]) for reply in told]
    for mine, other in ((0, 1), (1, 0)):
        rows = serving.ask("GET", "/v1/admin/attempts?limit=1000", key=admin[mine]).json["data"]
        assert {row["org_id"] for row in rows} == {orgs[mine]}
        assert [row["run_id"] for row in rows] == [ids[mine][1]]
        runs = serving.ask("GET", "/v1/admin/runs", key=admin[mine]).json["data"]
        assert [row["id"] for row in runs] == [ids[mine][1]]
        usage = serving.ask("GET", "/v1/admin/usage?group_by=org", key=admin[mine]).json["data"]
        assert [row["group"] for row in usage] == [orgs[mine]]
        conversation, run = ids[other]
        for path in ("/v1/admin/runs/{}", "/v1/admin/runs/{}/events"):
            _same(serving.ask("GET", path.format(run), key=admin[mine]),
                  serving.ask("GET", path.format(_unknown(run)), key=admin[mine]), run)  # fmt: skip
        foreign, unknown = (
            chat(serving, plain[mine], conversation=id) for id in (conversation, _unknown(conversation))
        )
        _same(foreign, unknown, conversation)
        foreign, unknown = (
            serving.ask("GET", f"/v1/admin/attempts?run_id={id}", key=admin[mine]) for id in (run, _unknown(run))
        )
        assert (foreign.status, unknown.status) == (200, 200) or _same(foreign, unknown, run)
        foreign, unknown = (
            serving.ask("GET", f"/v1/admin/keys?org_id={id}", key=admin[mine])
            for id in (orgs[other], _unknown(orgs[0]))
        )
        _same(foreign, unknown, orgs[other])
        listed = serving.ask("GET", "/v1/admin/keys", key=admin[mine]).json["data"]
        assert {row["org_id"] for row in listed} == {orgs[mine]}
        made = serving.ask("POST", "/v1/admin/keys", {"name": "k", "org_id": orgs[other]}, key=admin[mine])
        assert made.status in (403, 404) or made.json["org_id"] == orgs[mine]
        assert serving.ask("GET", "/v1/admin/orgs", key=admin[mine]).status == 403
    theirs = [row["id"] for row in serving.ask("GET", f"/v1/admin/keys?org_id={orgs[1]}").json["data"]]
    for id in theirs:
        _same(serving.ask("DELETE", f"/v1/admin/keys/{id}?org_id={orgs[1]}", key=admin[0]),
              serving.ask("DELETE", f"/v1/admin/keys/{_unknown(id)}?org_id={orgs[1]}", key=admin[0]), id)  # fmt: skip
    assert chat(serving, plain[1]).status == 200, "the other org's key was revoked"


def _unknown(id: str) -> str:
    """An id of the same shape that nobody has."""
    return id[:-4] + ("0000" if id[-4:] != "0000" else "0001")


def _same(foreign: Reply, unknown: Reply, id: str) -> bool:
    """What is another's and what is not there look the same, but for the id itself and the request's own."""
    assert (foreign.status, unknown.status) == (404, 404)
    bodies = [
        json.dumps({k: v for k, v in reply.json["error"].items() if k != "request_id"})
        .replace(id, "*")
        .replace(_unknown(id), "*")
        for reply in (foreign, unknown)
    ]
    assert bodies[0] == bodies[1]
    return True


def _rude(asked: Asked) -> Said:
    """Repeats everything that it was told, in every way that an error can."""
    number = len(asked.path) % 3
    said = f"{asked.path} {json.dumps(asked.headers)} {asked.body.decode()}"
    if number == 0:
        return whole({"error": {"message": said, "code": said[:200], "type": "x"}}, 400)
    if number == 1:
        return whole(said.encode(), 500)
    return whole({"type": "error", "error": {"type": "api_error", "message": said}}, 401)


def test_no_secret_is_in_any_answer_or_log(serving: Watched, upstream: Upstream):
    upstream.answer = _rude
    bodies = [
        ("/v1/chat/completions", m) for m in ("up/a", "up/ab", "up/abc", "claude/a", "flash/a", "flash/ab", "gone/a")
    ]
    bodies += [("/v1/messages", m) for m in ("up/x", "claude/xy", "flash/x", "gone/x")]
    for path, model in bodies:
        for more in ({}, {"stream": True}):
            reply = serving.ask("POST", path, {"model": model, "messages": HI, "max_tokens": 5, **more})
            assert reply.status >= 400
    for path in ("/v1/admin/attempts?limit=1000", "/v1/admin/runs", "/v1/admin/keys", "/metrics", "/openapi.json",
                 "/v1/models", "/healthz", "/readyz", "/nothing"):  # fmt: skip
        serving.ask("GET", path)
    assert any(PROVIDER_KEY in json.dumps(asked.headers) for asked in upstream.asked), "the canary never flew"
    kept = b"".join(file.read_bytes() for file in serving.data.rglob("*") if file.is_file() and file.suffix != ".key")
    for secret in (PROVIDER_KEY, HEADER_SECRET, ADMIN_KEY):
        for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")):
            for name, text in (("answers", serving.seen), ("log", serving.log().encode()), ("data", kept)):
                at = text.find(form.encode())
                assert at < 0, f"{secret!r} in the {name}: {text[max(0, at - 200) : at + 60]!r}"
