"""Accounts of agents' turns on their way into the metrics: put into the outbox with the turn's end, counted from it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..core.account import TurnAccount
from ..store.database import Statement
from ..store.ledger import OutboxAdded
from ..store.metrics import Transaction, transaction_added, turn_counted
from ..store.outbox import OutboxRow

#: Topics of the outbox: an agent's turn has ended; a model call has.
TURN, TRANSACTION = "turn", "transaction"

#: What a row of the topic "turn" says. Raises msgspec.DecodeError.
account_in = msgspec.json.Decoder(TurnAccount).decode
_encode = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct):
    data: Transaction


_transaction = msgspec.json.Decoder(_Envelope).decode


def after_turn(turn: TurnAccount, now: float, topics: Iterable[str] = (TURN,)) -> tuple[OutboxAdded, ...]:
    """What shall happen because a turn has ended, to be committed with its end: one row a topic, each done or tried
    again by itself. By the run: a message that is answered anew is another turn."""
    payload = _encode(turn)
    return tuple(OutboxAdded(f"{topic}:{turn.run}", turn.org, topic, payload, now, now) for topic in topics)


async def count_turn(row: OutboxRow) -> list[Statement]:
    """The topic "turn": raw row and sums."""
    return turn_counted(account_in(row.payload))


async def keep_transaction(row: OutboxRow) -> list[Statement]:
    """The topic "transaction": one row of `model_transactions`."""
    return transaction_added(_transaction(row.payload).data)
