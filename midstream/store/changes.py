"""Numbers per org: one that every change of its agents, tools and nouns raises, so that what was loaded is good while
it stands; one that is raised by what is agreed to of MCP servers' tools, and when these are seen to have changed."""

from __future__ import annotations

from typing import NamedTuple

from .database import Database, Statement

#: Raised by what concerns every org: a model that one of them owns.
ALL = "*"

_RAISE = """
INSERT INTO org_changes (org_id, number) VALUES ($1, 1)
ON CONFLICT (org_id) DO UPDATE SET number = org_changes.number + 1"""
_NUMBERS = "SELECT org_id, number FROM org_changes WHERE org_id IN ($1, $2, '*')"
#: Before an org's id, in the table.
_MCP = "mcp:"


def raised(org_id: str) -> Statement:
    """To stand last in the transaction of each change: servers wait for each other here, so for as short as can be."""
    return _RAISE, (org_id,)


def mcp_raised(org_id: str) -> Statement:
    return _RAISE, (_MCP + org_id,)


class Numbers(NamedTuple):
    """Compare with what they were before: any difference is a change. own: of the org. all: of what concerns every
    org. mcp: of the tools of MCP servers."""

    own: int
    all: int
    mcp: int = 0


async def numbers(db: Database, org_id: str) -> Numbers:
    found = {str(org): int(number) for org, number in await db.look_up(_NUMBERS, org_id, _MCP + org_id)}
    return Numbers(found.get(org_id, 0), found.get(ALL, 0), found.get(_MCP + org_id, 0))
