from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from midstream.core.account import TurnAccount, accounted
from midstream.core.errors import Cut
from midstream.core.outcome import Outcome, Step
from midstream.core.usage import Usage
from midstream.metering.turns import TRANSACTION, TURN, account_in, after_turn, count_turn, keep_transaction
from midstream.store.outbox import OutboxRow

ACCOUNT = TurnAccount("msg_1", "org_a", "agt_1", "run_1", 5.0, service="openai", model="o3", thread="t")


def row(payload: bytes, topic: str = TURN) -> OutboxRow:
    return OutboxRow("x", "org_a", topic, payload, 0.0, 1)


def test_an_outcome_fills_the_account_and_an_error_keeps_what_the_run_knew():
    end = Outcome(
        "Hi", model="gpt-4o", service="openai", usage=Usage(out_text=3), cost="0.5", rounds=2, fallback=True,
        steps=(Step("1", "b", {}, "ok"), Step("2", "a", {}, "ok"), Step("3", "b", {}, "failed")), first_error="busy",
        missing=("x",), dropped=("top_k",), blocked="why", answer="msg_2",
    )  # fmt: skip
    made = accounted(ACCOUNT, end)
    assert (made.model, made.tools, made.cost, made.rounds, made.thread) == ("gpt-4o", ("b", "a"), "0.5", 2, "t")
    assert (made.success, made.fallback, made.first_error, made.answer) == (True, True, "busy", "msg_2")
    assert (made.missing, made.dropped, made.blocked) == (("x",), ("top_k",), "why")
    known = msgspec.structs.replace(ACCOUNT, usage=Usage(out_text=1), cost="0.1", attempts=2)
    failed = accounted(known, Cut("it ended"))
    assert (failed.success, failed.failure, failed.failure_message) == (False, "upstream_cut", "it ended")
    assert (failed.usage, failed.cost, failed.attempts) == (Usage(out_text=1), "0.1", 2)


def test_a_turn_has_one_row_for_each_topic_that_is_interested():
    rows = after_turn(ACCOUNT, 9.0, (TURN, "memory"))
    assert [(one.id, one.org_id, one.topic, one.available_at) for one in rows] == [
        ("turn:run_1", "org_a", "turn", 9.0), ("memory:run_1", "org_a", "memory", 9.0),
    ]  # fmt: skip
    assert account_in(rows[0].payload) == ACCOUNT


def test_accounts_become_statements_and_anything_else_an_error():
    assert len(asyncio.run(count_turn(row(after_turn(ACCOUNT, 0.0)[0].payload)))) == 5
    data: dict[str, Any] = {
        "id": "att_1", "org_id": "org_a", "run_id": "run_1", "agent_id": None, "thread_id": None, "key_id": "k",
        "service": "s", "model": "m", "status": "ok", "input_tokens": 1, "output_tokens": 2, "cached_tokens": 0,
        "reasoning_tokens": 0, "cost": None, "created_at": 3.0,
    }  # fmt: skip
    envelope = msgspec.json.encode({"pattern": TRANSACTION, "data": data, "id": "att_1"})
    [_, (_, values)] = asyncio.run(keep_transaction(row(envelope, TRANSACTION)))
    assert values == tuple(data.values())
    for handle in (count_turn, keep_transaction):
        with pytest.raises(msgspec.DecodeError):
            asyncio.run(handle(row(b"{}")))


def test_a_message_that_is_answered_anew_is_another_turn():
    again = replace(ACCOUNT, run="run_2")
    assert after_turn(ACCOUNT, 9.0)[0].id != after_turn(again, 9.0)[0].id
