"""Opens the store: finds the database by its URL, brings it up to date, ends what a dead server left behind."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ..core.errors import StoreDown
from .approvals import Approvals
from .database import Database
from .documents import Documents
from .folding import fold_old
from .keys import Keys
from .ledger import Ledger
from .memories import Memories
from .metrics import Metrics
from .migrate import behind, migrate
from .orgs import AllOrgs, OrgStore
from .outbox import Outbox
from .postgres import PostgresDatabase
from .presence import Presence
from .reading import Scope
from .recovery import Estimate, unpriced
from .rekey import Resealed, in_use, replace_key
from .searches import Searches
from .secrets import SealingKey, key_of, settle
from .sqlite import SqliteDatabase
from .tool_calls import ToolCalls


class Store:
    """What is remembered. worker: this process's name in the ledger, unlike any other's.
    clock: unix seconds, for the times of rows made here. price: of what dead workers left behind."""

    def __init__(self, db: Database, worker: str, clock: Callable[[], float], price: Estimate = unpriced) -> None:
        self.db = db
        self.worker = worker
        self._clock = clock
        self.presence = Presence(db, worker, price)
        self.ledger = Ledger(db, worker)
        self.outbox = Outbox(db, worker, clock)
        self.keys = Keys(db, clock)
        self._sealing = SealingKey(os.urandom(32))

    def seal_with(self, key: bytes) -> None:
        """key: 32 bytes that secrets are sealed with; until it is given they are lost with the process."""
        self._sealing = SealingKey(key)

    async def key_id(self) -> str | None:
        """See store.secrets.key_of."""
        return await key_of(self.db)

    async def settle_key(self) -> str:
        """See store.secrets.settle; for the key of `seal_with`."""
        return await settle(self.db, self._sealing)

    async def in_use(self) -> bool:
        """See store.rekey.in_use."""
        return await in_use(self.db)

    async def replace_key(self, old: bytes, new: bytes) -> Resealed:
        """See store.rekey.replace_key; 32 bytes each."""
        return await replace_key(self.db, SealingKey(old), SealingKey(new))

    def org(self, org_id: str) -> OrgStore:
        return OrgStore(self.db, org_id, self._clock, self._sealing)

    def tool_calls(self, org_id: str) -> ToolCalls:
        return ToolCalls(self.db, org_id, self._clock)

    def memories(self, org_id: str) -> Memories:
        return Memories(self.db, org_id, self._clock)

    def metrics(self, scope: Scope) -> Metrics:
        """scope: one org; None, for the operator only, is all of them."""
        return Metrics(self.db, scope)

    def approvals(self, org_id: str) -> Approvals:
        return Approvals(self.db, org_id, self._clock)

    def documents(self, org_id: str) -> Documents:
        return Documents(self.db, org_id, self._clock)

    def searches(self, org_id: str) -> Searches:
        return Searches(self.db, org_id, self._clock)

    def all_orgs(self) -> AllOrgs:
        """For the operator only."""
        return AllOrgs(self.db, self._clock)

    async def behind(self) -> str:
        """See store.migrate.behind."""
        return await behind(self.db)

    async def ping(self) -> None:
        """Raises errors.StoreDown when the database does not answer, or takes nothing that is written."""
        await self.db.look_up("SELECT 1")
        if trouble := self.db.trouble:
            raise StoreDown(trouble)

    async def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(StoreDown):  # gone, or closed before: its silence will say the same
            await self.presence.leave()
        await self.db.close()


@contextlib.asynccontextmanager
async def visited(url: str, *, looks: bool = False, full_sync: bool = False) -> AsyncIterator[Store]:
    """The store as it is, for a command beside the servers: nothing is migrated, and nothing settled that a dead server
    left behind. looks: SQLite's file, of whatever version, is only read. url, full_sync, errors: as of `open_store`."""
    db = await _database(url, looks=looks, full_sync=full_sync)
    try:
        yield Store(db, "", time.time)
    finally:
        await db.close()


async def migrated(url: str) -> None:
    """Brings it up to date. url and errors: as of `open_store`."""
    async with visited(url) as store:
        await migrate(store.db)
        await fold_old(store.db)


async def open_store(
    url: str, *, worker: str, full_sync: bool = False, clock: Callable[[], float] = time.time,
    price: Estimate = unpriced,
) -> Store:  # fmt: skip
    """url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://:memory:` or `postgresql://...`.
    full_sync: on SQLite, a commit also survives the machine's power failing, at the price of a disk flush.
    price: of the calls that a dead server left behind.

    Raises errors.StoreDown with the reason: the server is away, the directory is in use, the database is newer."""
    db = await _database(url, full_sync=full_sync)
    try:
        await migrate(db)
        await fold_old(db)
        store = Store(db, f"{worker}:{os.urandom(4).hex()}", clock, price)
        await store.presence.join()
    except BaseException:
        await db.close()
        raise
    return store


def file_of(url: str) -> Path | None:
    """The file of a database that is one; None for others."""
    scheme, _, rest = url.partition("://")
    return Path(rest[1:]) if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1 else None


async def _database(url: str, *, full_sync: bool = False, looks: bool = False) -> Database:
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest == ":memory:":
        return SqliteDatabase(None)
    if (file := file_of(url)) is not None:
        return SqliteDatabase(file, full_sync=full_sync, looks=looks)
    if scheme in ("postgresql", "postgres"):
        return await PostgresDatabase.connect(url)
    raise StoreDown("a database URL begins with sqlite:/// (and a path) or postgresql://")
