"""What users have given before a line of messages begins: found by an index of its own, and read without its words."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from msgspec import Struct

from .agents import among, listed
from .branches import Line, Step, chain_of
from .database import Database, DialectName
from .rows import ThreadMessage, ThreadRow, detail_in, kept_back

#: Messages that are looked at together.
PAGE = 100
#: Most messages between them: on a way that is longer nothing is found.
MANY = 10_000

#: Of a text in a detail.
_HOLDS: dict[DialectName, tuple[str, str]] = {
    "sqlite": ("instr(detail, '", "') > 0"),
    "postgres": ("position(CAST('", "' AS BYTEA) IN detail) > 0"),
}
#: As in the index messages_that_give. What another face has stored says nothing of files beside its words.
_GIVEN = """
SELECT id, seq, dialect, detail FROM messages
WHERE conversation_id = $1 AND org_id = $2 AND seq >= $3 AND seq <= $4 AND (seq < $4 OR id < $5)
    AND deleted_at IS NULL AND role = 'user' AND (dialect <> '' OR @{"document_ids"} OR @{"kind":"file"})
ORDER BY seq DESC, id DESC LIMIT $6"""
_WAY = f"""
SELECT {Step.COLUMNS} FROM messages
WHERE conversation_id = $1 AND org_id = $2 AND seq >= $3 AND seq <= $4 ORDER BY seq DESC, id DESC LIMIT $5"""
_ANSWERS = """
SELECT id, detail FROM messages WHERE org_id = $1 AND id IN @listed AND (@{"blocked"} OR @{"unchecked"})"""
_WORDS = f"""
SELECT {ThreadMessage.COLUMNS} FROM messages WHERE org_id = $1 AND id IN @listed ORDER BY seq DESC, id DESC"""

_TEXT = re.compile(r"@\{([^}]*)\}")


def holding(sql: str, dialect: DialectName) -> str:
    """`@{text}` in a statement asks whether that stands in the detail."""
    before, behind = _HOLDS[dialect]
    return _TEXT.sub(lambda found: f"{before}{found[1]}{behind}", sql)


class Given(Struct, frozen=True):
    """A user's message, without its words. detail: as in ThreadMessage."""

    id: str
    seq: int
    dialect: str
    detail: bytes | None

    @property
    def document_ids(self) -> tuple[str, ...]:
        return detail_in(self.detail).document_ids

    @property
    def may_hold_files(self) -> bool:
        return bool(self.dialect) or b'"kind":"file"' in (self.detail or b"")


class GivenBefore:
    """line: with messages; what comes before them on their branch is looked at, deleted messages and those that a
    guardrail has kept back left out."""

    def __init__(self, db: Database, org: str, thread: ThreadRow, line: Line) -> None:
        self._db = db
        self._org = org
        self._thread = thread
        first = line.messages[0]
        #: The message before which nothing has been looked at, and the one up to which the branch is known.
        self._place = (first.seq, first.id)
        self._known = (first.seq, first.id)
        self._over = not line.more

    async def page(self) -> Sequence[Given]:
        """The next ones, the newest first; none when there are no more."""
        found: Sequence[Given] = ()
        while not found and not self._over:
            found = await self._page()
        return found

    async def _page(self) -> Sequence[Given]:
        first = self._thread.reset_seq or 0
        sql = holding(_GIVEN, self._db.dialect)
        rows = await self._db.read(sql, self._thread.id, self._org, first, *self._place, PAGE)
        self._over = len(rows) < PAGE
        if not rows:
            return ()
        found = [Given(*row) for row in rows]
        self._place = (found[-1].seq, found[-1].id)
        behind = await self._behind(found[-1].seq)
        found = [one for one in found if one.id in behind]
        kept = await self._kept_back([behind[one.id] for one in found]) if found else ()
        return [one for one in found if one.id not in kept]

    async def _behind(self, first: int) -> dict[str, Step]:
        """By the messages of the branch from that number on: the one behind each."""
        seq, head = self._known
        rows = await self._db.read(_WAY, self._thread.id, self._org, first, seq, MANY)
        chain, complete = chain_of([Step(*row) for row in reversed(rows)], head)
        self._known = (chain[0].seq, chain[0].id)
        self._over = self._over or complete or len(rows) == MANY
        return {one.id: behind for one, behind in pairwise(chain)}

    async def _kept_back(self, answers: Sequence[Step]) -> set[str | None]:
        """Ids of what was asked."""
        sql = among(holding(_ANSWERS, self._db.dialect), self._db.dialect)
        rows = await self._db.read(sql, self._org, listed(one.id for one in answers))
        back = {id for id, detail in rows if kept_back(detail)}
        return {one.parent_id for one in answers if one.id in back}

    async def words(self, some: Iterable[Given]) -> list[ThreadMessage]:
        """These messages, the newest first."""
        ids = listed(one.id for one in some)
        return [ThreadMessage(*row) for row in await self._db.read(among(_WORDS, self._db.dialect), self._org, ids)]
