"""A number per org that every change of its agents, tools and nouns raises: what was loaded is good while it stands."""

from __future__ import annotations

from typing import NamedTuple

from .database import Database, Statement

#: Raised by what concerns every org: a model that one of them owns.
ALL = "*"

_RAISE = """
INSERT INTO org_changes (org_id, number) VALUES ($1, 1)
ON CONFLICT (org_id) DO UPDATE SET number = org_changes.number + 1"""
_NUMBERS = "SELECT org_id, number FROM org_changes WHERE org_id = $1 OR org_id = '*'"


def raised(org_id: str) -> Statement:
    """To stand last in the transaction of each change: servers wait for each other here, so for as short as can be."""
    return _RAISE, (org_id,)


class Numbers(NamedTuple):
    """Compare with what they were before: any difference is a change. own: of the org. all: of what concerns every
    org."""

    own: int
    all: int


async def numbers(db: Database, org_id: str) -> Numbers:
    found = {str(org): int(number) for org, number in await db.look_up(_NUMBERS, org_id)}
    return Numbers(found.get(org_id, 0), found.get(ALL, 0))
