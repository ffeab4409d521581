"""Which tools of an MCP server an org has agreed to, each by the hash of what it was then."""

from __future__ import annotations

from collections.abc import Mapping

from . import changes
from .database import Statement
from .owned import Owned

_PIN = """
INSERT INTO mcp_approvals (org_id, server, tool, hash, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (org_id, server, tool) DO NOTHING"""
_APPROVE = """
INSERT INTO mcp_approvals (org_id, server, tool, hash, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (org_id, server, tool) DO UPDATE SET hash = $4, created_at = $5"""
_OF_SERVER = "SELECT tool, hash FROM mcp_approvals WHERE org_id = $1 AND server = $2"


class Approvals(Owned):
    """One org's. server: the id of an MCP server."""

    async def of(self, server: str) -> dict[str, str]:
        """Hash by name of tool; empty for a server that was never listed."""
        rows = await self._db.look_up(_OF_SERVER, self._org, server)
        return {str(tool): str(hash) for tool, hash in rows}

    async def pin(self, server: str, hashes: Mapping[str, str]) -> None:
        """Those that stand already are left as they are."""
        await self._db.write(self._rows(_PIN, server, hashes))

    async def approve(self, server: str, hashes: Mapping[str, str]) -> None:
        """Every server of ours hears of it."""
        await self._db.write([*self._rows(_APPROVE, server, hashes), changes.mcp_raised(self._org)])

    async def changed(self) -> None:
        """Some tool is no longer what it was: every server of ours is to look."""
        await self._db.write([changes.mcp_raised(self._org)])

    def _rows(self, sql: str, server: str, hashes: Mapping[str, str]) -> list[Statement]:
        now = self._clock()
        return [(sql, (self._org, server, tool, hash, now)) for tool, hash in sorted(hashes.items())]
