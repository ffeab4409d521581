"""The account of an agent's turn: what everything that happens after it is written from."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from .errors import MidstreamError
from .outcome import Outcome
from .usage import Usage


class TurnAccount(Struct, frozen=True, omit_defaults=True):
    """Payload of the outbox topic "turn", JSON. id: the user's message's, the run's when nothing is kept.
    service, model: who answered, or who was asked when nobody did. key: the caller's key id. attempts, usage, cost: of
    all model calls, failed ones and children included (cost: decimal USD, None when one has no known price).
    failure: the error's code. latency_ms: of the whole turn; steps_ms: of its steps by name ("prepare", "model",
    "tools", ...). parameters: what was sent, by name. tools: names of those that were called, each once.
    asked, answered: the texts, for memory, titles and alerts ("" when content is not kept). type: the agent's.
    title: the conversation's, when nobody has named it yet.
    created_at: unix seconds of the turn's beginning."""

    id: str
    org: str
    agent: str
    run: str
    created_at: float
    version: str = ""
    type: str = "chat"
    user: str = ""
    thread: str = ""
    sub_thread: str = ""
    conversation: str = ""
    key: str = ""
    request: str = ""
    face: str = ""
    service: str = ""
    model: str = ""
    success: bool = True
    failure: str = ""
    failure_message: str = ""
    attempts: int = 0
    usage: Usage = Usage()
    cost: str | None = None
    latency_ms: int = 0
    steps_ms: dict[str, int] = {}
    parameters: dict[str, Any] = {}
    tools: tuple[str, ...] = ()
    rounds: int = 0
    fallback: bool = False
    first_error: str = ""
    missing: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    blocked: str = ""
    asked: str = ""
    answered: str = ""
    answer: str = ""
    title: str = ""


def accounted(account: TurnAccount, end: Outcome | MidstreamError) -> TurnAccount:
    """The account with all that the turn's end says. What only a run knows stays as it was given: attempts, usage
    and cost of a turn that failed, latency, identity."""
    if isinstance(end, MidstreamError):
        return replace(account, success=False, failure=end.code, failure_message=end.message)
    return replace(
        account,
        service=end.service or account.service,
        model=end.model or account.model,
        thread=end.thread or account.thread,
        sub_thread=end.sub_thread or account.sub_thread,
        conversation=end.conversation or account.conversation,
        usage=end.usage,
        cost=end.cost,
        tools=tuple(dict.fromkeys(step.name for step in end.steps)),
        rounds=end.rounds,
        fallback=end.fallback,
        first_error=end.first_error,
        missing=end.missing,
        dropped=end.dropped,
        blocked=end.blocked,
        answer=end.answer,
    )
