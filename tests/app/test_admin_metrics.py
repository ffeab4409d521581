from __future__ import annotations

from typing import Any, get_args

from midstream.core.account import TurnAccount
from midstream.core.usage import Usage
from midstream.store.ledger import AttemptStarted, RunStarted
from midstream.store.metrics import MetricsGroup, Transaction, transaction_added, turn_counted
from midstream.store.reading import UsageGroup

from .asgi import Here, here

DAY = 1_764_028_800.0
ORG = "org_default"


def a_turn(name: str, **more: Any) -> TurnAccount:
    facts: dict[str, Any] = {"org": ORG, "agent": "agt_1", "created_at": DAY + 1, "thread": "t1", **more}
    return TurnAccount(
        f"msg_{name}", run=f"run_{name}", key="key_1", service="s", model="m", attempts=1, latency_ms=30, cost="0.5",
        usage=Usage(uncached_in=3, out_text=4), parameters={"temperature": 0.5}, tools=("news",), **facts,
    )  # fmt: skip


async def fill(app: Here) -> str:
    """Two turns of the default org and one of another; the key of an admin of that one."""
    org = (await app.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type="application/json")).json["id"]
    made = await app.ask(
        "POST", "/v1/admin/keys", {"name": "k", "org_id": org, "scopes": ["admin"]}, content_type="application/json"
    )
    for turn in (a_turn("1"), a_turn("2", thread="t2", created_at=DAY + 400), a_turn("3", org=org)):
        await app.services.store.db.write(turn_counted(turn))
        one = Transaction(
            f"att_{turn.id}", turn.org, turn.run, turn.agent, turn.thread, "k", "s", "m", "ok", 3, 4, 0, 0, "0.5",
            turn.created_at,
        )  # fmt: skip
        await app.services.store.db.write(transaction_added(one))
    return str(made.json["key"])


def test_metrics_are_summed_by_group_and_bucket(tmp_path):
    async def test(app: Here) -> None:
        await fill(app)
        rows = (await app.ask("GET", "/v1/admin/metrics?group_by=org&bucket=day")).json["data"]
        assert sorted(row["turns"] for row in rows) == [1, 2]
        [mine] = [row for row in rows if row["group"] == ORG]
        assert mine == {
            "group": ORG, "start": int(DAY), "turns": 2, "failures": 0, "attempts": 2, "input_tokens": 6,
            "output_tokens": 8, "cached_tokens": 0, "reasoning_tokens": 0, "total_tokens": 14, "cost": "1",
            "latency_ms": 60, "latency_ms_mean": 30.0,
        }  # fmt: skip
        rows = (await app.ask("GET", f"/v1/admin/metrics?group_by=model&bucket=5min&from={DAY + 300}")).json["data"]
        assert [(row["start"], row["group"], row["turns"]) for row in rows] == [(int(DAY) + 300, "m", 1)]
        assert (await app.ask("GET", "/v1/admin/metrics?agent_id=nobody")).status == 404
        rows = (await app.ask("GET", "/v1/admin/metrics?group_by=thread&agent_id=agt_1")).json["data"]
        assert [(row["group"], row["start"], row["turns"]) for row in rows] == [("t1", None, 2), ("t2", None, 1)]

    here(tmp_path, test)


def test_sums_between_two_times_are_those_of_the_turns_that_began_between_them(tmp_path):
    async def test(app: Here) -> None:
        await fill(app)  # at 1, 1 and 400 seconds of the day
        for bounds, began in (
            (f"from={DAY + 2}", [400]), (f"to={DAY + 400}", [1, 1]), (f"from={DAY + 1}&to={DAY + 400.5}", [1, 1, 400]),
            (f"from={DAY + 1.5}&to={DAY + 300}", []), (f"from={DAY + 400}&to={DAY + 1}", []),
        ):  # fmt: skip
            raw = (await app.ask("GET", f"/v1/admin/metrics?bucket=raw&{bounds}")).json["data"]
            assert [row["created_at"] - DAY for row in raw] == began
            for bucket in ("none", "5min", "day"):
                for group in ("org", "thread"):
                    query = f"/v1/admin/metrics?bucket={bucket}&group_by={group}&{bounds}"
                    rows = (await app.ask("GET", query)).json["data"]
                    assert sum(row["turns"] for row in rows) == len(began), query

    here(tmp_path, test)


def test_sums_are_not_paged_and_say_so(tmp_path):
    async def test(app: Here) -> None:
        await fill(app)
        for query in ("limit=5", "after=run_1", "bucket=day&limit=5", "bucket=5min&after=run_1", "order=begun"):
            reply = await app.ask("GET", f"/v1/admin/metrics?{query}")
            name = next(name for name in ("limit", "after", "order") if name in query)
            assert (reply.status, reply.json["error"]["param"]) == (400, name)
            assert "bucket=raw" in reply.json["error"]["message"]

    here(tmp_path, test)


def test_raw_turns_and_transactions_are_paged_and_an_org_sees_its_own(tmp_path):
    async def test(app: Here) -> None:
        key = await fill(app)
        first = (await app.ask("GET", "/v1/admin/metrics?bucket=raw&limit=2")).json
        assert ([row["id"] for row in first["data"]], first["has_more"]) == (["run_1", "run_3"], True)
        [last] = (await app.ask("GET", f"/v1/admin/metrics?bucket=raw&after={first['last_id']}")).json["data"]
        assert (last["id"], last["tools"], last["parameters"], last["cost"]) == (
            "run_2", ["news"], {"temperature": 0.5}, "0.5",
        )  # fmt: skip
        for path, id in (("metrics?bucket=raw", "run_3"), ("transactions?limit=5", "att_msg_3")):
            rows = (await app.ask("GET", f"/v1/admin/{path}", key=key)).json["data"]
            assert [row["id"] for row in rows] == [id]
        assert (await app.ask("GET", "/v1/admin/transactions?after=att_msg_1", key=key)).status == 404
        rows = (await app.ask("GET", "/v1/admin/transactions")).json["data"]
        assert [row["id"] for row in rows] == ["att_msg_1", "att_msg_3", "att_msg_2"]
        assert rows[0]["cost"] == "0.5"
        for path, ids in (("metrics?bucket=raw&", ["run_2", "run_3"]), ("transactions?", ["att_msg_2", "att_msg_3"])):
            after = ids[0].replace("2", "1")
            rows = (await app.ask("GET", f"/v1/admin/{path}order=arrived&after={after}")).json["data"]
            assert [row["id"] for row in rows] == ids

    here(tmp_path, test)


def test_what_is_no_group_bucket_or_time_is_refused_by_name(tmp_path):
    async def test(app: Here) -> None:
        for query in ("group_by=mood", "bucket=week", "from=x", "to=-1", "limit=0", "from=nan"):
            reply = await app.ask("GET", f"/v1/admin/metrics?{query}")
            assert (reply.status, reply.json["error"]["param"]) == (400, query.partition("=")[0])
        for query in ("group_by=mood", "from=x", "to=-1", "from=nan"):
            reply = await app.ask("GET", f"/v1/admin/usage?{query}")
            assert (reply.status, reply.json["error"]["param"]) == (400, query.partition("=")[0])
        for path, known in (("metrics", get_args(MetricsGroup)), ("usage", get_args(UsageGroup))):
            for group in known:
                assert (await app.ask("GET", f"/v1/admin/{path}?group_by={group}")).status == 200
            for wrong in ("mood", "", "Model"):
                told = (await app.ask("GET", f"/v1/admin/{path}?group_by={wrong}")).json["error"]["message"]
                assert all(repr(group) in told for group in known), told
        plain = (await app.ask("POST", "/v1/admin/keys", {"name": "plain"}, content_type="application/json")).json[
            "key"
        ]
        for path in ("metrics", "transactions", "agents/agt_1/memories"):
            assert (await app.ask("GET", f"/v1/admin/{path}", key=plain)).status == 403

    here(tmp_path, test)


def test_a_reader_sees_the_accounts_of_its_org_and_no_memories(tmp_path):
    async def test(app: Here) -> None:
        body = {"name": "reader", "scopes": ["read"]}
        key = (await app.ask("POST", "/v1/admin/keys", body, content_type="application/json")).json["key"]
        for path in ("metrics", "transactions"):
            assert (await app.ask("GET", f"/v1/admin/{path}", key=key)).status == 200
        assert (await app.ask("GET", "/v1/admin/agents/agt_1/memories", key=key)).status == 403

    here(tmp_path, test)


def test_memories_are_seen_changed_and_forgotten_within_their_org_and_all_of_them_only_when_none_is_named(tmp_path):
    async def test(app: Here) -> None:
        key = await fill(app)
        agent, _ = await app.services.store.org(ORG).agents.create("Kind", "kind", b"{}")
        path = f"/v1/admin/agents/{agent.id}/memories"
        put = await app.ask("PUT", path, {"thread_id": "t1", "text": "Ada"}, content_type="application/json")
        assert (put.status, put.json["text"]) == (200, "Ada")
        await app.ask(
            "PUT", "/v1/admin/agents/kind/memories", {"thread_id": "t2", "text": "Bob"}, content_type="application/json"
        )
        rows = (await app.ask("GET", path)).json["data"]
        assert [(row["thread_id"], row["text"]) for row in rows] == [("t1", "Ada"), ("t2", "Bob")]
        for method, body in (("GET", None), ("PUT", {"thread_id": "t1", "text": "x"}), ("DELETE", None)):
            assert (await app.ask(method, path, body, key=key, content_type="application/json")).status == 404
        assert (await app.ask("DELETE", f"{path}?thread_id=t1")).json["deleted"]
        assert (await app.ask("DELETE", f"{path}?thread_id=t1")).status == 404
        empty = await app.ask("DELETE", f"{path}?thread_id=")
        assert (empty.status, empty.json["error"]["param"]) == (400, "thread_id")
        assert len((await app.ask("GET", path)).json["data"]) == 1
        assert (await app.ask("DELETE", path)).status == 200
        assert (await app.ask("GET", path)).json["data"] == []
        for body, param in (({"thread_id": "t"}, "text"), ({"thread_id": "t", "text": 5}, "text"), (
            {"thread_id": "t", "text": "x", "more": 1}, "more"
        ), ({"thread_id": "a\0", "text": "x"}, "thread_id")):  # fmt: skip
            reply = await app.ask("PUT", path, body, content_type="application/json")
            assert (reply.status, reply.json["error"]["param"]) == (400, param)

    here(tmp_path, test)


def test_usage_is_summed_by_agent_and_what_has_none_is_one_group(tmp_path):
    async def test(app: Here) -> None:
        for name, agent in (("1", "agt_1"), ("2", "agt_1"), ("3", None), ("4", "")):
            await app.services.store.ledger.commit(
                RunStarted(f"run_{name}", ORG, "k", "chat", "f", "m", None, "req", DAY, agent),
                AttemptStarted(f"att_{name}", f"run_{name}", ORG, "k", 1, "p", "m", 5, DAY),
            )
        rows = (await app.ask("GET", "/v1/admin/usage?group_by=agent")).json["data"]
        assert sorted((row["group"] or "none", row["attempts"]) for row in rows) == [("agt_1", 2), ("none", 2)]

    here(tmp_path, test)
