"""The account of one model call as it is published: what billing systems downstream count."""

from __future__ import annotations

import msgspec

from ..core.usage import Usage
from ..store.ledger import OutboxAdded
from .attempt import Attempt
from .order import Order

TOPIC = "transaction"
_encode = msgspec.json.Encoder().encode


def transaction(order: Order, run_id: str, attempt: Attempt, usage: Usage, cost: str | None, now: float) -> OutboxAdded:
    """Its id is the attempt's, so that whoever reads it twice knows it again."""
    target, act = attempt.next.target, order.act
    data = {
        "id": attempt.id,
        "org_id": order.org,
        "run_id": run_id,
        "agent_id": act.agent if act is not None else None,
        "thread_id": act.thread if act is not None else None,
        "key_id": order.key_id,
        "service": target.provider,
        "model": target.model,
        "status": attempt.status,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.out_reasoning,
        "cost": cost,
        "created_at": now,
    }
    envelope = {"pattern": TOPIC, "data": data, "id": attempt.id}
    return OutboxAdded(attempt.id, order.org, TOPIC, _encode(envelope), now, now)
