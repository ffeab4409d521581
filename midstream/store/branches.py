"""The shape of a conversation: a message follows its parent, a branch is the chain that ends in one of them. Pure.

Rows are in order. Messages that another face added have no parent of their own and follow the one before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from msgspec import Struct

from .rows import BLOCKED, UNCHECKED, ThreadMessage, kept_back


class Step(Struct, frozen=True):
    """A message as a step on the way to another."""

    id: str
    parent_id: str | None
    seq: int

    COLUMNS = "id, parent_id, seq"


class Node(Step, frozen=True):
    """A message without its words."""

    created_at: float
    role: str
    deleted_at: float | None

    COLUMNS = f"{Step.COLUMNS}, created_at, role, deleted_at"


class Line(Struct, frozen=True):
    """The end of a branch: its messages, oldest first, deleted ones left out. seq: number of the next message.
    head: id of the last message, deleted or not, "" when there is none. hidden: ids of questions that no guardrail has
    let pass, and of what was said to them. more: others come before them on the branch."""

    messages: tuple[ThreadMessage, ...]
    seq: int
    head: str
    hidden: frozenset[str] = frozenset()
    more: bool = False

    def shown(self) -> list[ThreadMessage]:
        """What a model may see of it."""
        return [row for row in self.messages if row.id not in self.hidden]


_Placed: TypeAlias = Sequence[Step] | Sequence[ThreadMessage]
_P = TypeVar("_P", Step, Node, ThreadMessage)


def parents_of(rows: _Placed) -> dict[str, str]:
    """Every message's parent, "" = none."""
    parents: dict[str, str] = {}
    before = ""
    for row in rows:
        parents[row.id] = before if row.parent_id is None else row.parent_id
        before = row.id
    return parents


def head_of(rows: _Placed, current: str | None) -> str:
    """The last message of the branch in use: the current one, or what another face has added behind it."""
    place = next((at for at in range(len(rows) - 1, -1, -1) if rows[at].id == current), None)
    if place is None:
        return rows[-1].id if rows and current is None else current or ""
    added = [row.id for row in rows[place + 1 :] if row.parent_id is None]
    return added[-1] if added else rows[place].id


def chain_of(rows: Sequence[_P], head: str) -> tuple[list[_P], bool]:
    """The messages that lead to head, oldest first, as far as they are among the rows; whether it reaches a root."""
    known = {row.id: row for row in rows}
    parents = parents_of(rows)
    chain = []
    at = head
    while at in known:
        chain.append(known[at])
        at = parents[at]
    chain.reverse()
    return chain, not at and not (chain and chain[0].parent_id is None)


def hidden_in(chain: Sequence[ThreadMessage]) -> frozenset[str]:
    """Also when a refusal was deleted: its question is then no more to be shown than before."""
    told = [row for row in chain if row.detail is not None and (BLOCKED in row.detail or UNCHECKED in row.detail)]
    return frozenset(id for row in told if kept_back(row.detail) for id in (row.id, row.parent_id) if id)


def beginning_of(chain: Sequence[ThreadMessage], limit: int, hidden: frozenset[str] | None) -> tuple[int, int]:
    """Where the last `limit` messages of a chain begin, and how many of these it lacks. hidden: only those count that
    a model may see."""
    there = [at for at, row in enumerate(chain) if row.deleted_at is None]
    if hidden is not None:
        there = [at for at in there if not (chain[at].says_nothing() or chain[at].id in hidden)]
    missing = limit - len(there)
    return (0, missing) if missing > 0 else (there[-limit] if limit else len(chain), 0)


def number_behind(role: str, seq: int, *, detailed: bool) -> int:
    """The number that follows a question of an agent's turn is its answer's, however late that comes."""
    return seq + (2 if role == "user" and detailed else 1)


def leading(there: set[str], parents: dict[str, str]) -> set[str]:
    """The messages that are there, and the deleted ones that such a message follows."""
    found: set[str] = set()
    for id in there:
        while id in parents and id not in found:
            found.add(id)
            id = parents[id]
    return found


def last_of(there: set[str], parents: dict[str, str], id: str) -> str:
    """The last message up to this one that is there, "" = none."""
    while id and id not in there:
        id = parents.get(id, "")
    return id


def depth_of(there: set[str], parents: dict[str, str], id: str) -> int:
    depth = 0
    while id:
        depth += id in there
        id = parents.get(id, "")
    return depth
