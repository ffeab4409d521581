"""Scopes, requests a minute and requests under way, asked over every face."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from midstream.app import last_used as last_used_module
from midstream.core.errors import StoreDown

from .asgi import MODEL, Here, Reply, here

JSON = "application/json"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
GENERATE = f"/v1beta/models/{MODEL}:generateContent"
#: One way to ask for a chat and one for embeddings of each face, and the type that its refusals have.
ASKS: list[tuple[str, str, Any]] = [
    ("chat", "/v1/chat/completions", CHAT),
    ("chat", "/v1/messages", CHAT),
    ("chat", "/v1/messages/count_tokens", {name: CHAT[name] for name in ("model", "messages")}),
    ("chat", GENERATE, GEMINI),
    ("chat", f"/v1beta/models/{MODEL}:streamGenerateContent", GEMINI),
    ("chat", f"/v1beta/models/{MODEL}:countTokens", GEMINI),
    ("embeddings", "/v1/embeddings", {"model": MODEL, "input": "x"}),
    ("embeddings", f"/v1beta/models/{MODEL}:embedContent", {"content": {"parts": [{"text": "x"}]}}),
]


async def made(app: Here, **more: Any) -> Any:
    reply = await app.ask("POST", "/v1/admin/keys", {"name": "k", **more}, content_type=JSON)
    assert reply.status == 201, reply.body
    return reply.json


async def new_key(app: Here, **more: Any) -> str:
    return str((await made(app, **more))["key"])


def refused_as(path: str, reply: Reply) -> tuple[Any, str]:
    """The face's own word for what went wrong, and its sentence."""
    error = reply.json["error"]
    if path.startswith("/v1beta"):
        assert error["code"] == reply.status
        return error["status"], error["message"]
    if path.startswith("/v1/messages"):
        assert reply.json["type"] == "error"
    return error["type"], error["message"]


@pytest.mark.parametrize("needed, path, body", ASKS, ids=[path for _, path, _ in ASKS])
def test_a_key_may_do_what_its_scopes_say_and_is_told_what_it_lacks(tmp_path: Path, needed: str, path: str, body: Any):
    async def test(app: Here) -> None:
        for scopes in ([], [needed], ["admin"], ["read", needed]):
            reply = await app.ask("POST", path, body, await new_key(app, scopes=scopes), content_type=JSON)
            assert reply.status != 403, (scopes, reply.body)
        for scope in {"chat", "embeddings", "read"} - {needed}:
            reply = await app.ask("POST", path, body, await new_key(app, scopes=[scope]), content_type=JSON)
            assert reply.status == 403
            kind, message = refused_as(path, reply)
            assert kind in ("PERMISSION_DENIED", "permission_error", "invalid_request_error")
            assert f"lacks the scope `{needed}`" in message
        assert len(await app.services.store.all_orgs().attempts()) <= 4

    here(tmp_path, test)


def test_a_vector_of_our_own_format_needs_the_scope_of_embeddings(tmp_path: Path):
    async def test(app: Here) -> None:
        path, body = "/api/v2/model/embedding", {"model": MODEL, "user": "x"}
        for scopes in ([], ["embeddings"], ["chat", "embeddings"], ["admin"]):
            reply = await app.ask("POST", path, body, await new_key(app, scopes=scopes), content_type=JSON)
            assert reply.status != 403, (scopes, reply.body)
        for scope in ("chat", "read"):
            reply = await app.ask("POST", path, body, await new_key(app, scopes=[scope]), content_type=JSON)
            assert (reply.status, reply.json["code"]) == (403, "permission_denied")
            assert "lacks the scope `embeddings`" in reply.json["error"]

    here(tmp_path, test)


@pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", f"/v1/models/{MODEL}"])
def test_the_lists_of_models_are_for_whoever_may_use_one(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        for scopes, status in (([], 200), (["chat"], 200), (["embeddings"], 200), (["admin"], 200), (["read"], 403)):
            assert (await app.ask("GET", path, key=await new_key(app, scopes=scopes))).status == status

    here(tmp_path, test)


def test_metrics_which_count_all_orgs_are_for_the_operator_alone_as_the_list_of_orgs_is(tmp_path: Path):
    async def test(app: Here) -> None:
        org = (await app.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type=JSON)).json["id"]
        await app.chat("hi").end()
        assert b'model="rehearsal"' in (await app.ask("GET", "/metrics")).body
        for more in ({"org_id": org}, {}):
            boss = await new_key(app, scopes=["admin"], **more)
            told = []
            for path in ("/metrics", "/v1/admin/orgs"):
                reply = await app.ask("GET", path, key=boss)
                told.append((reply.status, {**reply.json["error"], "request_id": ""}))
            assert told[0] == told[1]
            assert told[0][0] == 403
        for scopes in ([], ["chat"], ["read"]):
            assert (await app.ask("GET", "/metrics", key=await new_key(app, scopes=scopes))).status == 403

    here(tmp_path, test)


def test_a_reader_sees_the_accounts_of_its_own_org_and_changes_nothing(tmp_path: Path):
    async def test(app: Here) -> None:
        org = (await app.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type=JSON)).json["id"]
        ours, theirs = await made(app, scopes=["read"]), await made(app, scopes=["read"], org_id=org)
        await app.chat("hi").end()
        [run] = (await app.ask("GET", "/v1/admin/runs", key=ours["key"])).json["data"]
        for path in ("attempts", "usage", f"runs/{run['id']}", "metrics", "transactions"):
            assert (await app.ask("GET", f"/v1/admin/{path}", key=ours["key"])).status == 200
        assert (await app.ask("GET", "/v1/admin/runs", key=theirs["key"])).json["data"] == []
        assert (await app.ask("GET", f"/v1/admin/runs/{run['id']}", key=theirs["key"])).status == 404
        said = f"/v1/admin/runs/{run['id']}/events"
        for path in ("/v1/admin/keys", "/v1/admin/orgs", "/metrics", said):
            assert (await app.ask("GET", path, key=ours["key"])).status == 403, path
        for method, path in (("POST", "keys"), ("PATCH", f"keys/{ours['id']}"), ("DELETE", f"keys/{ours['id']}")):
            reply = await app.ask(method, f"/v1/admin/{path}", {"name": "x"}, ours["key"], content_type=JSON)
            assert reply.status == 403
        for scopes in ([], ["chat"]):
            assert (await app.ask("GET", "/v1/admin/runs", key=await new_key(app, scopes=scopes))).status == 403

    here(tmp_path, test)


def test_a_scope_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path):
    async def test(app: Here) -> None:
        body = {"name": "k", "scopes": ["chat", "everything"]}
        reply = await app.ask("POST", "/v1/admin/keys", body, content_type=JSON)
        assert (reply.status, reply.json["error"]["param"]) == (400, "scopes.1")
        assert "chat, embeddings, read, admin" in reply.json["error"]["message"]
        assert (await app.ask("GET", "/v1/admin/keys")).json["data"] == []

    here(tmp_path, test)


def test_of_a_thousand_at_once_exactly_as_many_as_the_limit_says_are_served(tmp_path: Path):
    async def test(app: Here) -> None:
        key = await new_key(app, requests_per_minute=100)
        replies = await asyncio.gather(
            *(app.ask("POST", "/v1/chat/completions", CHAT, key, content_type=JSON) for _ in range(1000))
        )
        assert sorted(reply.status for reply in replies) == [200] * 100 + [429] * 900
        refused = next(reply for reply in replies if reply.status == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert len(await app.services.store.all_orgs().attempts(limit=1000)) == 100
        assert (await app.chat("hi").end()).status == 200, "other keys are not held up"

    here(tmp_path, test)


@pytest.mark.parametrize("path, body", [ask[1:] for ask in ASKS], ids=[path for _, path, _ in ASKS])
def test_a_limit_is_told_in_the_grammar_of_the_face(tmp_path: Path, path: str, body: Any):
    async def test(app: Here) -> None:
        key = await new_key(app, requests_per_minute=1)
        assert (await app.ask("POST", path, body, key, content_type=JSON)).status != 429
        reply = await app.ask("POST", path, body, key, content_type=JSON)
        assert (reply.status, reply.headers["retry-after"]) == (429, "60")
        kind, message = refused_as(path, reply)
        assert kind in ("RESOURCE_EXHAUSTED", "rate_limit_error", "rate_limit_exceeded", "requests"), kind
        assert "1 requests a minute" in message

    here(tmp_path, test)


def test_a_limit_can_be_changed_and_holds_at_once(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await made(app, requests_per_minute=2)

        async def served() -> int:
            asks = [app.ask("POST", "/v1/chat/completions", CHAT, one["key"], content_type=JSON) for _ in range(4)]
            return sum(reply.status == 200 for reply in await asyncio.gather(*asks))

        async def change(limit: Any, key: str | None = None) -> Reply:
            body = {"requests_per_minute": limit}
            more = {"key": key} if key else {}
            return await app.ask("PATCH", f"/v1/admin/keys/{one['id']}", body, content_type=JSON, **more)

        assert one["requests_per_minute"] == 2
        assert await served() == 2
        assert (await change(3)).json["requests_per_minute"] == 3
        assert await served() == 1
        assert (await change(None)).json["requests_per_minute"] is None
        assert await served() == 4
        org = (await app.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type=JSON)).json["id"]
        assert (await change(9, await new_key(app, org_id=org, scopes=["admin"]))).status == 404
        for wrong in (0, -1, 1.5, "9", True, 10**10):
            reply = await change(wrong)
            assert (reply.status, reply.json["error"]["param"]) == (400, "requests_per_minute")
        nothing = await app.ask("PATCH", f"/v1/admin/keys/{one['id']}", {}, content_type=JSON)
        assert (nothing.status, nothing.json["error"]["param"]) == (400, "requests_per_minute")

    here(tmp_path, test)


def test_an_org_has_so_many_requests_under_way_and_others_have_theirs(tmp_path: Path):
    async def test(app: Here) -> None:
        org = (await app.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type=JSON)).json["id"]
        theirs = await new_key(app, org_id=org)
        running = [app.chat("say 500 words pace 20", stream=True) for _ in range(3)]
        for one in running:
            await one.until(lambda reply: bool(reply.pieces))
        refused = await app.chat("hi").end()
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "3 requests of this org" in refused.json["error"]["message"]
        assert (await app.ask("POST", "/v1/chat/completions", CHAT, theirs, content_type=JSON)).status == 200
        assert (await app.ask("GET", "/v1/models")).status == 200, "only what makes work counts"
        running[0].leave()
        await running[0].end()
        assert (await app.chat("hi").end()).status == 200
        for one in running[1:]:
            one.leave()
            await one.end()
        assert app.services.limits._in_flight == {}

    here(tmp_path, test, org_in_flight=3)


def test_when_a_key_was_used_last_is_written_behind_the_requests_once_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(last_used_module, "EVERY", 0.3)

    async def test(app: Here) -> None:
        used, idle = await made(app), await made(app)
        touches: list[dict[str, float]] = []
        touch = app.services.store.keys.touch

        async def counted(used: Any) -> None:
            touches.append(dict(used))
            await touch(used)

        app.services.store.keys.touch = counted  # type: ignore[method-assign]
        began = app.services.clock.wall()
        for _ in range(20):
            await app.ask("GET", "/v1/models", key=used["key"])
        assert len(touches) <= 1
        while not touches:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        shown = {one["id"]: one["last_used_at"] for one in (await app.ask("GET", "/v1/admin/keys")).json["data"]}
        assert shown[idle["id"]] is None
        assert began <= shown[used["id"]] <= app.services.clock.wall()
        await asyncio.sleep(0.7)
        assert len(touches) == 1, "nothing is written when nobody has asked"

    here(tmp_path, test)


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError])
def test_a_last_use_is_not_lost_when_the_server_stops_or_the_store_was_away(tmp_path: Path, error: type[Exception]):
    made_here: dict[str, Any] = {}

    async def test(app: Here) -> None:
        made_here.update(await made(app))
        await app.ask("GET", "/v1/models", key=made_here["key"])
        keys = app.services.store.keys
        touch = keys.touch

        async def away(used: Any) -> None:
            keys.touch = touch  # type: ignore[method-assign]
            raise error

        keys.touch = away  # type: ignore[method-assign]
        with pytest.raises(error):
            await app.process.last_used.write()
        assert [*app.services.identify.used] == [made_here["id"]]

    async def after(app: Here) -> None:
        [shown] = (await app.ask("GET", "/v1/admin/keys")).json["data"]
        assert shown["last_used_at"] is not None

    here(tmp_path, test)
    here(tmp_path, after)
