"""What web searches have found, kept for a while; an org's own, as in every cache."""

from __future__ import annotations

from .owned import Owned

#: Kept at most per org; older ones go.
MOST = 1000

_FOUND = "SELECT found, created_at FROM search_cache WHERE org_id = $1 AND query = $2"
_KEEP = """
INSERT INTO search_cache (org_id, query, found, created_at)
VALUES ($1, $2, $3, $4) ON CONFLICT (org_id, query) DO UPDATE SET found = $3, created_at = $4"""
_CLEAR = """
DELETE FROM search_cache WHERE org_id = $1 AND created_at < (
    SELECT created_at FROM search_cache WHERE org_id = $1 ORDER BY created_at DESC LIMIT 1 OFFSET $2)"""


class Searches(Owned):
    """One org's."""

    async def find(self, query: str) -> tuple[bytes, float] | None:
        """What was found, and how many seconds ago."""
        rows = await self._db.look_up(_FOUND, self._org, query)
        return (bytes(rows[0][0]), self._clock() - float(rows[0][1])) if rows else None

    async def keep(self, query: str, found: bytes) -> None:
        await self._db.write([(_KEEP, (self._org, query, found, self._clock())), (_CLEAR, (self._org, MOST))])
