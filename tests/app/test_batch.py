from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from .agent_things import other_org, published
from .asgi import KEY, Here, Reply, here

BATCH = "/api/v2/model/batch"
#: Nobody listens there: what is sent stays where it can be seen.
HOOK = {"url": "http://127.0.0.1:9/hook", "headers": {"x-mine": "hush"}}


async def ask(app: Here, body: Any, key: str = KEY) -> Reply:
    return await app.ask("POST", f"{BATCH}/chat/completion", body, key, content_type="application/json")


async def asked(app: Here, **more: Any) -> Any:
    reply = await ask(app, {"agent_id": (await published(app))["id"], "variables": {"name": "Ada"}, **more})
    assert reply.status == 200, reply.body
    return reply.json


async def ended(app: Here, id: str) -> Any:
    for _ in range(1000):
        told = (await app.ask("GET", f"{BATCH}/{id}")).json
        if told["status"] == "completed":
            return told
        await asyncio.sleep(0.01)
    raise AssertionError(told)


async def sent(app: Here, count: int) -> list[Any]:
    """Messages on their way to webhooks."""
    for _ in range(300):
        rows = (await app.ask("GET", "/v1/admin/deliveries")).json["data"]
        if len(rows) >= count:
            break
        await asyncio.sleep(0.01)
    return [(await app.ask("GET", f"/v1/admin/deliveries/{row['id']}")).json for row in rows]


def test_each_turn_of_a_batch_has_its_own_variables_and_its_own_end_in_the_order_asked(tmp_path: Path):
    async def test(app: Here) -> None:
        batch = ["say 3 words", {"user": "say 4 words", "variables": {"name": "Bob"}}, "fail:400", "say 5 words"]
        made = await asked(app, batch=batch, webhook=HOOK)
        assert made["success"] is True
        assert [one["index"] for one in made["messages"]] == [0, 1, 2, 3]
        told = await ended(app, made["batch_id"])
        assert [one["message_id"] for one in told["data"]] == [one["message_id"] for one in made["messages"]]
        assert [(one["index"], one["status"], one["success"]) for one in told["data"]] == [
            (0, "done", True), (1, "done", True), (2, "failed", False), (3, "done", True),
        ]  # fmt: skip
        assert [told["data"][place]["data"]["content"].split()[-1] for place in (0, 1, 3)] == [
            "word3", "word4", "word5",
        ]  # fmt: skip
        assert told["data"][2]["error"]
        prompts = []
        for place in (0, 1):
            job = (await app.ask("GET", f"/v1/admin/jobs/{told['data'][place]['message_id']}")).json
            assert (job["kind"], job["batch_id"]) == ("batch", made["batch_id"])
            prompts.append(told["data"][place]["data"]["missing_variables"])
        assert prompts == [[], []]
        [message] = await sent(app, 1)
        assert message["payload"] == told
        assert message["target"] == {"url": HOOK["url"], "headers": ["x-mine"], "own_secret": False}

    here(tmp_path, test)


def test_the_end_of_a_batch_that_a_dead_server_did_not_tell_is_told_once(tmp_path: Path):
    async def test(app: Here) -> None:
        ends = app.process.workers.batches
        whole, ends.ended = ends.ended, _dies  # type: ignore[method-assign]
        made = await asked(app, batch=["say 1 words"], webhook=HOOK)
        told = await ended(app, made["batch_id"])
        assert await sent(app, 0) == []
        await asyncio.gather(ends.sweep(), ends.sweep())
        await ends.sweep()
        job = (await app.ask("GET", f"/v1/admin/jobs/{told['data'][0]['message_id']}")).json
        assert job["status"] == "done"
        [message] = await sent(app, 1)
        assert message["payload"] == told
        ends.ended = whole  # type: ignore[method-assign]

    here(tmp_path, test)


async def _dies(job: Any) -> None:
    pass


def test_a_batch_without_a_webhook_is_only_read(tmp_path: Path):
    async def test(app: Here) -> None:
        made = await asked(app, batch=["say 1 words"])
        await ended(app, made["batch_id"])
        await app.process.workers.batches.sweep()
        assert await sent(app, 0) == []

    here(tmp_path, test)


def test_a_batch_is_taken_whole_or_refused_with_the_field_that_is_wrong(tmp_path: Path):
    async def test(app: Here) -> None:
        agent = (await published(app))["id"]
        for body, status, param in (
            ({"agent_id": agent, "batch": []}, 400, "batch"),
            ({"agent_id": agent, "batch": ["a"] * 1001}, 400, "batch"),
            ({"agent_id": agent, "batch": ["a", {"user": " "}]}, 400, "batch.1.user"),
            ({"agent_id": agent, "batch": ["a", 5]}, 400, "batch.1"),
            ({"agent_id": agent, "batch": [{}]}, 400, "batch.0.user"),
            ({"agent_id": agent, "batch": [{"user": "a", "usr": 1}]}, 400, "batch.0.usr"),
            ({"agent_id": agent, "batch": [{"user": "a", "variables": [1]}]}, 400, "batch.0.variables"),
            ({"agent_id": agent, "batch": ["a"], "webhook": {"url": "ftp://x.example.org"}}, 400, "webhook.url"),
            ({"agent_id": agent, "batch": ["a"], "webhook": {"url": "http://a:b@x.example.org"}}, 400, "webhook.url"),
            (
                {"agent_id": agent, "batch": ["a"], "webhook": {"url": "http://x.org", "headers": {"Host": "a"}}},
                400,
                "webhook.headers.Host",
            ),
            (
                {"agent_id": agent, "batch": ["a"], "webhook": {"url": "http://x.org", "headers": {"Webhook-Id": "a"}}},
                400,
                "webhook.headers.Webhook-Id",
            ),
            *(
                (
                    {"agent_id": agent, "batch": ["a"], "webhook": {"url": "http://x.org", "headers": {"x-a": value}}},
                    400,
                    "webhook.headers.x-a",
                )
                for value in ("日本", "a\x01b", "a\x7f", "a\r\nb", "a\n")  # what cannot be sent
            ),
            ({"agent_id": agent, "batch": ["a"], "webhook": {"url": "http://[x"}}, 400, "webhook.url"),
            ({"agent_id": agent, "batch": ["a"], "configuration": {"apikey": "k"}}, 400, "configuration.apikey"),
            ({"agent_id": "agt_nobody", "batch": ["a"]}, 404, None),
        ):
            reply = await ask(app, body)
            assert (reply.status, reply.json["success"]) == (status, False), reply.body
            assert reply.json["error"]
            assert reply.json["code"]
            if param is not None:
                assert reply.json["param"] == param
        reply = await ask(app, {"agent_id": agent, "batch": ["a"], "sream": True})
        assert reply.json["error"] == "sream: not known here"
        assert (reply.json["code"], reply.json["param"]) == ("unknown_parameter", "sream")
        jobs = await app.services.store.db.read("SELECT count(*) FROM jobs")
        batches = await app.services.store.db.read("SELECT count(*) FROM batches")
        assert (jobs, batches) == ([(0,)], [(0,)])

    here(tmp_path, test)


def test_a_thousand_turns_are_taken_at_once(tmp_path: Path):
    async def test(app: Here) -> None:
        text = "say 1 words " + "x" * 2000
        made = await asked(app, batch=[text] * 1000)
        assert len({one["message_id"] for one in made["messages"]}) == 1000
        [(count,)] = await app.services.store.db.read("SELECT count(*) FROM jobs WHERE kind = 'batch'")
        assert count == 1000

    here(tmp_path, test)


def test_a_batch_of_another_org_is_not_there(tmp_path: Path):
    async def test(app: Here) -> None:
        made = await asked(app, batch=["say 1 words"])
        await ended(app, made["batch_id"])
        _, key = await other_org(app)
        for id in (made["batch_id"], "batch_nobody"):
            reply = await app.ask("GET", f"{BATCH}/{id}", key=key)
            assert (reply.status, reply.json["success"], reply.json["code"]) == (404, False, "not_found")
        assert (await app.ask("GET", f"{BATCH}/{made['batch_id']}", key="nobody's")).status == 401

    here(tmp_path, test)


def test_each_turn_of_a_batch_costs_a_point_and_waits_for_it_and_leaves_half_of_them_to_others(tmp_path: Path):
    async def test(app: Here) -> None:
        agent = (await published(app, limits={"agent": 6}))["id"]
        made = (await ask(app, {"agent_id": agent, "batch": ["say 1 words"] * 5})).json
        for _ in range(300):
            jobs = await app.services.store.db.read("SELECT status, available_at FROM jobs ORDER BY available_at")
            if sorted(status for status, _ in jobs) == ["done"] * 3 + ["queued"] * 2:
                break
            await asyncio.sleep(0.01)
        waits = [at - app.services.clock.wall() for status, at in jobs if status == "queued"]
        assert len(waits) == 2, jobs
        assert all(50 < wait <= 60 for wait in waits)  # until the window is over
        body = {"agent_id": agent, "user": "say 1 words"}
        said = [await app.ask("POST", "/api/v2/model/chat/completion", body) for _ in range(4)]
        assert [one.status for one in said] == [200, 200, 200, 429]
        assert (await ask(app, {"agent_id": agent, "batch": ["say 1 words"]})).status == 429
        assert (await app.ask("GET", f"{BATCH}/{made['batch_id']}")).json["status"] == "running"

    here(tmp_path, test)


def test_a_turn_that_somebody_waits_for_does_not_stand_in_line_behind_a_batch(tmp_path: Path):
    async def test(app: Here) -> None:
        agent = (await published(app, limits={"agent": 1000}))["id"]
        made = await ask(app, {"agent_id": agent, "batch": ["stall"] * 40})
        assert made.status == 200
        await asyncio.sleep(0.2)
        body = {"agent_id": agent, "user": "say 1 words", "response_format": {"type": "queue", "cred": {}}}
        later = (await app.ask("POST", "/api/v2/model/chat/completion", body)).json["message_id"]
        status = ""
        while status != "done":
            await asyncio.sleep(0.01)
            status = (await app.ask("GET", f"/v1/admin/jobs/{later}")).json["status"]
        jobs = await app.services.store.db.read(
            "SELECT status, count(*) FROM jobs WHERE kind = 'batch' GROUP BY status"
        )
        assert dict(jobs) == {"running": 24, "queued": 16}
        await app.process.drain(0)

    here(tmp_path, test)


def test_a_batch_of_another_org_does_not_stand_in_line_behind_a_long_one(tmp_path: Path):
    async def test(app: Here) -> None:
        agent = (await published(app, limits={"agent": 1000}))["id"]
        made = await ask(app, {"agent_id": agent, "batch": ["say 30 words pace 10"] * 200})
        assert made.status == 200
        org, key = await other_org(app)
        body = {"service": "midstream", "model": "rehearsal", "batch": ["say 1 words"] * 10}
        short = (await ask(app, body, key)).json["batch_id"]
        status = ""
        while status != "completed":
            await asyncio.sleep(0.01)
            status = (await app.ask("GET", f"{BATCH}/{short}", key=key)).json["status"]
        jobs = await app.services.store.db.read(
            "SELECT status, count(*) FROM jobs WHERE org_id <> $1 GROUP BY status", org
        )
        assert dict(jobs)["queued"] > 100
        await app.process.drain(0)

    here(tmp_path, test)


def test_a_batch_is_asked_by_who_may_chat_and_counts_as_one_request_of_its_key(tmp_path: Path):
    async def test(app: Here) -> None:
        body = {"agent_id": (await published(app))["id"], "variables": {"name": "Ada"}, "batch": ["say 1 words"]}
        kept: dict[str, Any] = {"name": "k", "scopes": ["embeddings"]}
        vectors = (await app.ask("POST", "/v1/admin/keys", kept, content_type="application/json")).json["key"]
        assert (await ask(app, body, key=vectors)).status == 403
        for path in ("/v1/queues/mine", "/api/v1/conversation/chat-history"):
            assert (await app.ask("GET", path, key=vectors)).status == 403
        kept = {"name": "k", "scopes": ["chat"], "requests_per_minute": 2}
        slow = (await app.ask("POST", "/v1/admin/keys", kept, content_type="application/json")).json["key"]
        assert [(await ask(app, body, key=slow)).status for _ in range(3)] == [200, 200, 429]

    here(tmp_path, test)
