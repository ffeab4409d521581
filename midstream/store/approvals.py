"""Which tools of an MCP server an org has agreed to, each by the hash of what it was then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .database import Database

_PIN = """
INSERT INTO mcp_approvals (org_id, server, tool, hash, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (org_id, server, tool) DO NOTHING"""
_APPROVE = """
INSERT INTO mcp_approvals (org_id, server, tool, hash, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (org_id, server, tool) DO UPDATE SET hash = $4, created_at = $5"""
_OF_SERVER = "SELECT tool, hash FROM mcp_approvals WHERE org_id = $1 AND server = $2"
_FORGET = "DELETE FROM mcp_approvals WHERE org_id = $1 AND server = $2"


class Approvals:
    """One org's. server: the id of an MCP server."""

    def __init__(self, db: Database, org_id: str, clock: Callable[[], float]) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._org = org_id
        self._clock = clock

    async def of(self, server: str) -> dict[str, str]:
        """Hash by name of tool; empty for a server that was never listed."""
        rows = await self._db.look_up(_OF_SERVER, self._org, server)
        return {str(tool): str(hash) for tool, hash in rows}

    async def pin(self, server: str, hashes: Mapping[str, str]) -> None:
        """Those that stand already are left as they are."""
        await self._write(_PIN, server, hashes)

    async def approve(self, server: str, hashes: Mapping[str, str]) -> None:
        await self._write(_APPROVE, server, hashes)

    async def forget(self, server: str) -> None:
        await self._db.write([(_FORGET, (self._org, server))])

    async def _write(self, sql: str, server: str, hashes: Mapping[str, str]) -> None:
        now = self._clock()
        await self._db.write([(sql, (self._org, server, tool, hash, now)) for tool, hash in sorted(hashes.items())])
