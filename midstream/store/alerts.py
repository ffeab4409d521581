"""Which alerts were sent, so that the same one is not sent again before its window is over."""

from __future__ import annotations

from .database import Database

_CLAIM = """
INSERT INTO alerts_sent (org_id, alert_id, fingerprint, occasion, sent_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (org_id, alert_id, fingerprint) DO UPDATE SET occasion = excluded.occasion, sent_at = excluded.sent_at
WHERE alerts_sent.sent_at <= $6 AND alerts_sent.occasion <> excluded.occasion"""
_OCCASION = "SELECT occasion FROM alerts_sent WHERE org_id = $1 AND alert_id = $2 AND fingerprint = $3"


class AlertsSent:
    """One org's."""

    def __init__(self, db: Database, org_id: str) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._org = org_id

    async def claim(self, alert: str, fingerprint: str, occasion: str, now: float, window: float) -> bool:
        """May this occasion be told? Of several within a window one may, however often it asks."""
        values = (self._org, alert, fingerprint, occasion, now, now - window)
        await self._db.write([(_CLAIM, values)])
        [(told,)] = await self._db.look_up(_OCCASION, self._org, alert, fingerprint)
        return bool(told == occasion)
