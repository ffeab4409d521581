"""What happened in a run, in order: told from its own rows, so that nothing is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..store.rows import AttemptRow, MessageRow, RunRow


def history(run: RunRow, attempts: Sequence[AttemptRow], messages: Sequence[MessageRow]) -> list[dict[str, Any]]:
    """[{sequence, type, at, data}], sequence from 0. Types: run.started, message, attempt.started, attempt.ended,
    run.ended."""
    told: list[tuple[float, int, str, dict[str, Any]]] = [
        (run.created_at, 0, "run.started", {"face": run.face, "model": run.model, "conversation": run.conversation_id})
    ]
    for message in messages:
        content = msgspec.Raw(message.content or b"null")  # of a deleted one, once [retention] has emptied it
        told.append(
            (message.created_at, 1 if message.role != "assistant" else 4, "message", _message(message, content))
        )
    for attempt in attempts:
        start = {"id": attempt.id, "number": attempt.number, "provider": attempt.provider, "model": attempt.model}
        told.append((attempt.started_at, 2, "attempt.started", start))
        if attempt.ended_at is not None:
            end = {"id": attempt.id, "status": attempt.status, "cost": attempt.cost, "error": attempt.error_code}
            told.append((attempt.ended_at, 3, "attempt.ended", end))
    if run.ended_at is not None:
        told.append((run.ended_at, 5, "run.ended", {"status": run.status, "error": run.error_code}))
    told.sort(key=lambda one: one[:2])
    return [
        {"sequence": number, "type": kind, "at": at, "data": data} for number, (at, _, kind, data) in enumerate(told)
    ]


def _message(message: MessageRow, content: msgspec.Raw) -> dict[str, Any]:
    return {"id": message.id, "role": message.role, "dialect": message.dialect or "midstream", "content": content}
