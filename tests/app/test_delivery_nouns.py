from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from midstream.delivery.signing import org_secret
from midstream.delivery.webhook import Webhook
from midstream.store.ledger import DeliveryAdded

from .agent_things import other_org, post, published
from .asgi import Here, here

ASK = "/api/v2/model/chat/completion"
JSON = "application/json"


async def later(app: Here, way: dict[str, Any], agent: str, key: str | None = None) -> str:
    body = {"agent_id": agent, "user": "say 3 words", "variables": {"name": "Ada"}, "response_format": way}
    keyed = {} if key is None else {"key": key}
    reply = await app.ask("POST", ASK, body, content_type=JSON, **keyed)
    assert reply.json["success"] is True, reply.body
    return str(reply.json["message_id"])


async def ended(app: Here, message: str) -> Any:
    for _ in range(500):
        job = (await app.ask("GET", f"/v1/admin/jobs/{message}")).json
        if job["ended_at"] is not None:
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


async def hooked(app: Here, *ids: str, org: str = "org_default", url: str = "", secret: str = "") -> None:
    """Messages to a webhook, not due before tomorrow."""
    hooks = app.process.workers.webhooks
    target = Webhook(url or "https://ada:pw@hook.example.org/in?token=sesame", {"x-api-key": "hush"}, secret)
    now = app.services.clock.wall()
    for place, id in enumerate(ids):
        sealed = hooks.sealed(target, org, id)
        await app.services.store.ledger.commit(
            DeliveryAdded(id, org, "webhook", sealed, b'{"success":true}', now + place, now + 86400.0)
        )


def test_a_queue_gives_its_messages_oldest_first_until_they_are_acknowledged(tmp_path: Path):
    async def test(app: Here) -> None:
        agent = (await published(app))["id"]
        first = await later(app, {"type": "queue", "cred": {"name": "mine"}}, agent)
        job = await ended(app, first)
        assert (job["status"], job["kind"], job["tries"]) == ("done", "turn", 1)
        assert job["result"]["data"]["content"]
        second = await later(app, {"type": "queue", "cred": {"name": "mine"}}, agent)
        await ended(app, await later(app, {"type": "queue", "cred": {"name": "yours"}}, agent))
        await ended(app, second)
        listed = (await app.ask("GET", "/v1/queues/mine")).json
        assert [one["payload"]["data"]["message_id"] for one in listed["data"]] == [first, second]
        one = (await app.ask("GET", "/v1/queues/mine?limit=1")).json
        assert (one["data"], one["has_more"]) == (listed["data"][:1], True)
        ids = [row["id"] for row in listed["data"]]
        asked = {"ids": [ids[0], "dlv_nobody", ids[0]]}
        told = {"acknowledged": [ids[0]], "unknown": ["dlv_nobody"]}
        for _ in range(2):
            assert (await app.ask("POST", "/v1/queues/mine/ack", asked, content_type=JSON)).json == told
        elsewhere = await app.ask("POST", "/v1/queues/yours/ack", {"ids": [ids[1]]}, content_type=JSON)
        assert elsewhere.json == {"acknowledged": [], "unknown": [ids[1]]}
        assert [row["id"] for row in (await app.ask("GET", "/v1/queues/mine")).json["data"]] == ids[1:]
        wrong = await app.ask("POST", "/v1/queues/mine/ack", {"ids": []}, content_type=JSON)
        assert (wrong.status, wrong.json["error"]["param"]) == (400, "ids")
        assert (await app.ask("GET", "/v1/queues/mine", key="nobody's")).status == 401
        misread = await app.ask("GET", "/v1/queues/mine/ack")
        assert (misread.status, misread.headers["allow"]) == (405, "POST")

    here(tmp_path, test)


def test_a_queue_of_another_org_is_another_queue(tmp_path: Path):
    async def test(app: Here) -> None:
        agent = (await published(app))["id"]
        message = await later(app, {"type": "queue", "cred": {"name": "mine"}}, agent)
        await ended(app, message)
        [row] = (await app.ask("GET", "/v1/queues/mine")).json["data"]
        _, key = await other_org(app)
        assert (await app.ask("GET", "/v1/queues/mine", key=key)).json["data"] == []
        told = await app.ask("POST", "/v1/queues/mine/ack", {"ids": [row["id"]]}, key=key, content_type=JSON)
        assert told.json == {"acknowledged": [], "unknown": [row["id"]]}
        assert len((await app.ask("GET", "/v1/queues/mine")).json["data"]) == 1
        for path in (f"/v1/admin/jobs/{message}", f"/v1/admin/deliveries/{row['id']}"):
            assert (await app.ask("GET", path, key=key)).status == 404
        assert (await app.ask("POST", f"/v1/admin/deliveries/{row['id']}/replay", {}, key=key)).status == 404
        assert (await app.ask("GET", "/v1/admin/deliveries", key=key)).json["data"] == []

    here(tmp_path, test)


def test_messages_are_listed_by_status_and_shown_without_what_opens_their_target(tmp_path: Path):
    async def test(app: Here) -> None:
        await hooked(app, "dlv_1", "dlv_2", "dlv_3")
        first = (await app.ask("GET", "/v1/admin/deliveries?status=waiting&limit=2")).json
        assert ([row["id"] for row in first["data"]], first["has_more"]) == (["dlv_1", "dlv_2"], True)
        rest = (await app.ask("GET", f"/v1/admin/deliveries?after={first['last_id']}")).json
        assert [row["id"] for row in rest["data"]] == ["dlv_3"]
        assert (await app.ask("GET", "/v1/admin/deliveries?status=dead")).json["data"] == []
        assert (await app.ask("GET", "/v1/admin/deliveries?status=lost")).status == 400
        shown = await app.ask("GET", "/v1/admin/deliveries/dlv_1")
        assert shown.json["payload"] == {"success": True}
        assert shown.json["target"] == {
            "url": "https://hook.example.org/in?...", "headers": ["x-api-key"], "own_secret": False,
        }  # fmt: skip
        assert not any(word in shown.body for word in (b"sesame", b"hush", b"pw"))
        plain = "https://hook.example.org/in"
        await hooked(app, "dlv_4", url=plain, secret="whsec_" + "A" * 32)
        told = (await app.ask("GET", "/v1/admin/deliveries/dlv_4")).json["target"]
        assert told == {"url": plain, "headers": ["x-api-key"], "own_secret": True}

    here(tmp_path, test)


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a\u2100b.com/x", "http://ada:pw@hook.example.org/", "http://x:0/"]
)
def test_an_alert_tells_an_address_that_can_be_one(tmp_path: Path, url: str):
    async def test(app: Here) -> None:
        alert = {"name": "a", "type": "Error", "webhook": {"url": url}}
        refused = await post(app, "/alerts", alert)
        assert (refused.status, refused.json["error"]["param"]) == (400, "webhook.url")
        made = (await post(app, "/alerts", {**alert, "webhook": {"url": "http://hook.example.org/"}})).json["id"]
        refused = await post(app, f"/alerts/{made}", {"webhook": {"url": url}}, method="PATCH")
        assert (refused.status, refused.json["error"]["param"]) == (400, "webhook.url")

    here(tmp_path, test)


def test_a_message_whose_address_cannot_be_read_is_listed(tmp_path: Path):
    async def test(app: Here) -> None:
        await hooked(app, "dlv_1", url="http://[::1")
        await hooked(app, "dlv_2")
        [one, other] = (await app.ask("GET", "/v1/admin/deliveries")).json["data"]
        assert (one["target"]["url"], other["target"]["url"]) == (None, "https://hook.example.org/in?...")

    here(tmp_path, test)


def test_only_a_dead_message_is_sent_anew_and_at_once(tmp_path: Path):
    async def test(app: Here) -> None:
        await hooked(app, "dlv_1", url="http://127.0.0.1:9/closed")
        waiting = await post(app, "/deliveries/dlv_1/replay")
        assert (waiting.status, waiting.json["error"]["code"]) == (409, "delivery_not_dead")
        await app.process.workers.webhooks._deliveries.failed("dlv_1", "refused", None)
        again = await post(app, "/deliveries/dlv_1/replay")
        assert (again.status, again.json["status"]) == (200, "waiting")
        for _ in range(300):
            row = (await app.ask("GET", "/v1/admin/deliveries/dlv_1")).json
            if row["tries"]:
                break
            await asyncio.sleep(0.01)
        assert row["tries"] == 1
        assert (await post(app, "/deliveries/dlv_9/replay")).status == 404

    here(tmp_path, test)


def test_an_org_reads_the_secret_that_its_webhooks_are_signed_with(tmp_path: Path):
    async def test(app: Here) -> None:
        org, key = await other_org(app)
        mine = (await app.ask("GET", "/v1/admin/webhook_secret", key=key)).json["secret"]
        assert mine == org_secret(app.process.workers.webhooks._key, org)
        assert mine == (await app.ask("GET", f"/v1/admin/webhook_secret?org_id={org}")).json["secret"]
        assert mine != (await app.ask("GET", "/v1/admin/webhook_secret")).json["secret"]
        reader = (await post(app, "/keys", {"name": "r", "scopes": ["read"]})).json["key"]
        assert (await app.ask("GET", "/v1/admin/webhook_secret", key=reader)).status == 403

    here(tmp_path, test)
