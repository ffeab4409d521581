"""Which alerts were sent, so that the same one is not sent again before its window is over."""

from __future__ import annotations

from .database import Statement
from .ledger import DeliveryAdded

_CLAIM = """
INSERT INTO alerts_sent (org_id, alert_id, fingerprint, occasion, sent_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (org_id, alert_id, fingerprint) DO UPDATE SET occasion = excluded.occasion, sent_at = excluded.sent_at
WHERE alerts_sent.sent_at <= $6 AND alerts_sent.occasion <> excluded.occasion"""
_TELL = """
INSERT INTO deliveries (id, org_id, kind, target, payload, created_at, available_at, status)
SELECT $1, $2, $3, $4, $5, $6, $7, 'waiting' WHERE EXISTS (
    SELECT 1 FROM alerts_sent WHERE org_id = $2 AND alert_id = $8 AND fingerprint = $9 AND occasion = $10)
ON CONFLICT (id) DO NOTHING"""


def told_once(message: DeliveryAdded, alert: str, fingerprint: str, occasion: str, window: float) -> list[Statement]:
    """The message, unless the same was told of another occasion less than `window` seconds before: both in one
    transaction, so that of several servers exactly one tells it, however often each tries."""
    now = message.created_at
    claim = (message.org_id, alert, fingerprint, occasion, now, now - window)
    fields = (message.id, message.org_id, message.kind, message.target, message.payload, now, message.available_at)
    return [(_CLAIM, claim), (_TELL, (*fields, alert, fingerprint, occasion))]
