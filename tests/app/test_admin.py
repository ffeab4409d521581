from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from midstream.app import edge, live
from midstream.store.orgs import DEFAULT_ORG

from .asgi import KEY, Here, here

JSON = "application/json"


async def new_key(app: Here, **more: Any) -> Any:
    return await app.ask("POST", "/v1/admin/keys", {"name": "k", **more}, content_type=JSON)


def test_a_key_is_shown_once_works_and_is_gone_at_once_when_revoked(tmp_path: Path):
    async def test(app: Here) -> None:
        made = await new_key(app)
        assert made.status == 201
        key = made.json["key"]
        assert (await app.ask("GET", "/v1/models", key=key)).status == 200
        listed = await app.ask("GET", "/v1/admin/keys")
        assert key not in listed.body.decode()
        assert [one["id"] for one in listed.json["data"]] == [made.json["id"]]
        assert key.startswith(listed.json["data"][0]["prefix"])
        for _ in range(2):
            assert (await app.ask("DELETE", f"/v1/admin/keys/{made.json['id']}")).status == 200
        assert (await app.ask("GET", "/v1/models", key=key)).status == 401
        assert (await app.ask("DELETE", "/v1/admin/keys/key_nobody")).status == 404

    here(tmp_path, test)


def test_a_key_ends_when_it_was_said_to(tmp_path: Path):
    async def test(app: Here) -> None:
        later = (await new_key(app, expires_at=time.time() + 60)).json["key"]
        soon = (await new_key(app, expires_at=time.time() + 1)).json["key"]
        assert (await app.ask("GET", "/v1/models", key=soon)).status == 200
        await asyncio.sleep(1.05)
        assert (await app.ask("GET", "/v1/models", key=soon)).status == 401
        assert (await app.ask("GET", "/v1/models", key=later)).status == 200

    here(tmp_path, test)


@pytest.mark.parametrize(
    "more, param",
    [
        ({"name": ""}, "name"), ({"name": 7}, "name"), ({"nmae": "x"}, "nmae"), ({"scopes": "admin"}, "scopes"),
        ({"scopes": ["a admin"]}, "scopes.0"), ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": time.time() - 1}, "expires_at"), ({"expires_at": 0}, "expires_at"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_nothing_is_made(tmp_path: Path, more: dict[str, Any], param: str):
    async def test(app: Here) -> None:
        reply = await new_key(app, **more)
        assert reply.status == 400
        assert reply.json["error"]["param"] == param
        assert reply.json["error"]["request_id"] == reply.headers["x-request-id"]
        assert await app.services.store.keys.list(DEFAULT_ORG) == []

    here(tmp_path, test)


@pytest.mark.parametrize("body", [b"{", b'{"name":"k","expires_at":NaN}', b"[]", b""])
def test_a_body_that_is_no_request_is_refused(tmp_path: Path, body: bytes):
    async def test(app: Here) -> None:
        assert (await app.ask("POST", "/v1/admin/keys", body, content_type=JSON)).status == 400

    here(tmp_path, test)


def test_who_asks_is_known_before_a_body_is_read_and_no_body_is_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(edge, "MAX_BODY", 100)

    async def test(app: Here) -> None:
        long = b'{"name":"' + b"x" * 100 + b'"}'
        assert (await app.ask("POST", "/v1/admin/keys", long, key="", content_type=JSON)).status == 401
        assert (await app.ask("POST", "/v1/admin/keys", long, content_type=JSON)).status == 413

    here(tmp_path, test)


def test_the_keys_of_an_org_that_is_not_there_are_not_an_empty_list(tmp_path: Path):
    async def test(app: Here) -> None:
        assert (await app.ask("GET", "/v1/admin/keys?org_id=org_nope")).status == 404
        assert (await app.ask("GET", f"/v1/admin/keys?org_id={DEFAULT_ORG}")).status == 200

    here(tmp_path, test)


def test_an_orgs_own_admin_stays_in_its_org(tmp_path: Path):
    async def test(app: Here) -> None:
        org = (await app.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type=JSON)).json["id"]
        boss = (await new_key(app, org_id=org, scopes=["admin"])).json["key"]
        for named in ({}, {"org_id": org}):
            mine = await app.ask("POST", "/v1/admin/keys", {"name": "k", **named}, boss, content_type=JSON)
            assert mine.json["org_id"] == org
        theirs = await app.ask("POST", "/v1/admin/keys", {"name": "k", "org_id": DEFAULT_ORG}, boss, content_type=JSON)
        assert theirs.status == 404
        assert (await app.ask("GET", f"/v1/admin/keys?org_id={DEFAULT_ORG}", key=boss)).status == 404
        for query in ("", f"?org_id={org}"):
            listed = await app.ask("GET", f"/v1/admin/keys{query}", key=boss)
            assert {one["org_id"] for one in listed.json["data"]} == {org}
        ours = (await new_key(app)).json["id"]
        assert (await app.ask("DELETE", f"/v1/admin/keys/{ours}?org_id={DEFAULT_ORG}", key=boss)).status == 404
        assert (await app.ask("GET", "/v1/admin/orgs", key=boss)).status == 403
        assert (await app.ask("GET", "/v1/admin/orgs")).status == 200

    here(tmp_path, test)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1"])
def test_a_page_has_its_bounds(tmp_path: Path, query: str):
    async def test(app: Here) -> None:
        for path in ("attempts", "runs"):
            assert (await app.ask("GET", f"/v1/admin/{path}?{query}")).status == 400

    here(tmp_path, test)


def test_every_route_is_shown_under_a_tag_that_is_described(tmp_path: Path):
    async def test(app: Here) -> None:
        document = (await app.ask("GET", "/openapi.json")).json
        tags = {tag["name"] for tag in document["tags"]}
        shown = (await app.ask("GET", "/docs")).body.decode()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                assert set(operation["tags"]) & tags, (method, path)
            assert path in shown
        channel = document["paths"]["/v1/live"]["get"]
        assert channel["responses"].keys() == {"101", "426", "4XX", "5XX"}
        assert [one["name"] for one in channel["parameters"]] == list(live.KNOWN)

    here(tmp_path, test)


def test_a_query_parameter_that_is_not_known_is_refused_by_name_with_those_that_are(tmp_path: Path):
    async def test(app: Here) -> None:
        paths = (await app.ask("GET", "/openapi.json")).json["paths"]
        routes = [(path, method) for path in paths if path.startswith("/v1/admin") for method in paths[path]]
        assert len(routes) > 60
        for path, method in routes:
            known = [one["name"] for one in paths[path][method].get("parameters", []) if one["in"] == "query"]
            told = f"known here: {', '.join(known)}" if known else "there are none here"
            address = re.sub(r"{.*?}", "x", path) + "?" + "".join(f"{name}=1&" for name in known)
            for wrong in ("colour", "org_Id", "", "a.b"):
                reply = await app.ask(method.upper(), f"{address}{wrong}=blue", {}, content_type=JSON)
                error = reply.json["error"]
                assert (reply.status, error["param"], error["code"]) == (400, wrong, "unknown_parameter"), path
                assert error["message"] == f"{wrong}: unknown query parameter; {told}"
                assert error["request_id"] == reply.headers["x-request-id"]
            reply = await app.ask(method.upper(), address, {}, content_type=JSON)
            assert "unknown query parameter" not in reply.body.decode(), path

    here(tmp_path, test)


def test_who_may_not_ask_is_not_told_what_can_be_asked(tmp_path: Path):
    async def test(app: Here) -> None:
        plain = (await new_key(app)).json["key"]
        for key, status in (("", 401), ("wrong", 401), (plain, 403)):
            assert (await app.ask("GET", "/v1/admin/runs?colour=blue", key=key)).status == status

    here(tmp_path, test)


def test_runs_and_attempts_are_listed_by_status(tmp_path: Path):
    async def test(app: Here) -> None:
        await app.chat("hi").end()
        await app.chat("fail:503").end()
        for path, good, bad in (("runs", "completed", "failed"), ("attempts", "ok", "failed")):
            for status in (good, bad):
                rows = (await app.ask("GET", f"/v1/admin/{path}?status={status}")).json["data"]
                assert rows
                assert {row["status"] for row in rows} == {status}
            wrong = await app.ask("GET", f"/v1/admin/{path}?status=lost")
            assert (wrong.status, wrong.json["error"]["param"]) == (400, "status")

    here(tmp_path, test)


def test_pages_hold_every_attempt_once(tmp_path: Path):
    async def test(app: Here) -> None:
        for _ in range(5):
            await app.chat("hi").end()
        seen: list[str] = []
        after = ""
        while True:
            page = (await app.ask("GET", f"/v1/admin/attempts?limit=2{after}")).json
            seen += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert len(seen) == len(set(seen)) == 5
        assert KEY not in str(page)

    here(tmp_path, test)
