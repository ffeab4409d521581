"""What operators want to be told of: what a turn came to that somebody should look at, and who wants to know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from ..core.account import TurnAccount
from ..core.errors import Cancelled
from ..core.ids import spelled
from ..core.outcome import Step
from ..store.ledger import OutboxAdded

#: Topic of the outbox.
ALERT = "alert"

#: Error: a turn failed. Variable: it lacked required variables. retry_mechanism: another model than the agent's own
#: answered. metrix_limit_reached: points were used up. knowledge_base: documents could not be searched.
#: thumbsdown: a user disliked an answer.
AlertType: TypeAlias = Literal[
    "Error", "Variable", "retry_mechanism", "metrix_limit_reached", "knowledge_base", "thumbsdown"
]
WINDOW = 300.0


class Alarm(Struct, frozen=True, omit_defaults=True):
    """Something that happened. what: tells it from others of its type and agent, for a window. text: for people.
    at: unix seconds."""

    type: AlertType
    agent: str
    what: str
    text: str
    at: float
    detail: dict[str, Any] = {}
    version: str = ""
    thread: str = ""
    message: str = ""
    run: str = ""


class Target(Struct, frozen=True):
    url: str


class Alert(Struct, frozen=True):
    """As an operator has made it. agent_ids: empty = every agent's. window_seconds: in it the same is told once."""

    name: str
    type: AlertType
    webhook: Target
    agent_ids: tuple[str, ...] = ()
    window_seconds: float = WINDOW

    def wants(self, alarm: Alarm) -> bool:
        agents = {spelled("agt_", one) for one in self.agent_ids}
        return self.type == alarm.type and (not agents or alarm.agent in agents)


#: What a row of the topic says. Raises msgspec.DecodeError.
alarms_in = msgspec.json.Decoder(list[Alarm]).decode
_encode = msgspec.json.Encoder().encode


def alarms_of(turn: TurnAccount, searches: Iterable[Step] = ()) -> list[Alarm]:
    """What there is to tell of a turn. searches: its calls of tools that search documents."""
    found: list[tuple[AlertType, str, str, dict[str, Any]]] = []
    if not turn.success and turn.failure != Cancelled.code:  # its caller left: nobody need look at it
        found.append(("Error", turn.failure, turn.failure_message, {"code": turn.failure}))
    if turn.missing:
        names = sorted(turn.missing)
        found.append(("Variable", " ".join(names), f"missing: {', '.join(names)}", {"missing": names}))
    if turn.fallback:
        detail = {"service": turn.service, "model": turn.model}
        found.append(("retry_mechanism", f"{turn.service}/{turn.model}", turn.first_error, detail))
    for step in searches:
        if step.status != "ok":
            detail = {"tool": step.name, "error": step.error or step.status}
            found.append(("knowledge_base", step.name, step.result or step.error, detail))
    place = {"version": turn.version, "thread": turn.thread, "message": turn.id, "run": turn.run}
    return [
        Alarm(type=type, agent=turn.agent, what=what, text=text[:500], at=turn.created_at, detail=detail, **place)
        for type, what, text, detail in found
    ]


def raised(id: str, org: str, alarms: Sequence[Alarm], now: float) -> tuple[OutboxAdded, ...]:
    """Into the outbox, under an id that says which occasion it is: the same one is there once."""
    return (OutboxAdded(f"{ALERT}:{id}", org, ALERT, _encode(alarms), now, now),) if alarms else ()


def fingerprint(alarm: Alarm) -> str:
    return digest(alarm.type, alarm.agent, alarm.what)


def digest(*words: str) -> str:
    """24 hexadecimal digits."""
    return hashlib.sha256(_encode(words)).hexdigest()[:24]


def told(id: str, alert: Alert, org: str, alarm: Alarm) -> bytes:
    """As the webhook gets it, JSON text."""
    return _encode(
        {
            "alert_id": id,
            "name": alert.name,
            "type": alarm.type,
            "org_id": org,
            "agent_id": alarm.agent,
            "version_id": alarm.version,
            "thread_id": alarm.thread,
            "message_id": alarm.message,
            "run_id": alarm.run,
            "at": alarm.at,
            "message": alarm.text,
            "detail": alarm.detail,
        }
    )
