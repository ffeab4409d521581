"""Secrets as a test looks at them: one by its name, in the clear."""

from __future__ import annotations

from midstream.store.reading import missing
from midstream.store.secrets import Secrets

SEALED = "SELECT id, org_id, key_id, name, sealed FROM secrets WHERE org_id = $1 AND name = $2"


async def put(secrets: Secrets, name: str, value: str) -> None:
    await secrets._db.write([secrets.putting(name, value)])


async def secret_of(secrets: Secrets, name: str) -> str:
    """Raises errors.NotFound."""
    rows = await secrets._db.look_up(SEALED, secrets._org, name)
    if not rows:
        raise missing("secret", name)
    return secrets.opened(rows)[name].reveal()
