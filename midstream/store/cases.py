"""What agents are tried with, and how their versions did."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..core.errors import Conflict
from ..core.ids import new_id
from .database import Database, in_turn
from .owned import Owned
from .reading import missing

#: Cases of one agent, and scores of one version that are looked at.
MOST, SCORES = 200, 10_000


class CaseRow(Struct, frozen=True):
    """body: JSON text of an object."""

    id: str
    agent_id: str
    body: bytes
    created_at: float

    COLUMNS = "id, agent_id, body, created_at"

    def value(self) -> Any:
        return msgspec.json.decode(self.body)


class ScoreRow(Struct, frozen=True):
    """batch_id: of those that were tried together. score: from 0 to 1. body: JSON text {answer, error, ...}."""

    id: str
    version_id: str
    case_id: str
    batch_id: str
    score: float
    body: bytes
    created_at: float

    COLUMNS = "id, version_id, case_id, batch_id, score, body, created_at"

    def value(self) -> Any:
        return msgspec.json.decode(self.body)


_ADD = """
INSERT INTO test_cases (id, org_id, agent_id, body, created_at) SELECT $1, $2, $3, $4, $5
WHERE (SELECT COUNT(*) FROM test_cases WHERE org_id = $2 AND agent_id = $3 AND deleted_at IS NULL) < $6
ON CONFLICT (id) DO NOTHING"""
_CASE = "SELECT 1 FROM test_cases WHERE id = $1"
_CASES = f"""
SELECT {CaseRow.COLUMNS} FROM test_cases WHERE org_id = $1 AND agent_id = $2 AND deleted_at IS NULL
ORDER BY created_at, id LIMIT $3"""
_DELETE = """
UPDATE test_cases SET deleted_at = $4 WHERE id = $1 AND org_id = $2 AND agent_id = $3 AND deleted_at IS NULL"""
_SCORED = """
INSERT INTO test_scores (id, org_id, agent_id, version_id, case_id, batch_id, score, body, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING"""
_SCORES = f"""
SELECT {ScoreRow.COLUMNS} FROM test_scores WHERE org_id = $1 AND agent_id = $2 AND version_id = $3
ORDER BY created_at DESC, id DESC LIMIT $4"""


class Cases(Owned):
    """One agent's. An id of another agent's is as unknown as one of another org's."""

    def __init__(self, db: Database, org_id: str, agent_id: str, clock: Callable[[], float]) -> None:
        super().__init__(db, org_id, clock)
        self._agent = agent_id

    async def add(self, body: bytes) -> CaseRow:
        """Raises errors.Conflict when there are MOST already."""
        row = CaseRow(new_id("case_"), self._agent, body, self._clock())
        turn = in_turn(f"test_cases {self._agent}", self._db.dialect)
        await self._db.write([*turn, (_ADD, (row.id, self._org, self._agent, body, row.created_at, MOST))])
        if not await self._db.look_up(_CASE, row.id):
            raise Conflict(f"an agent has at most {MOST} test cases", code="too_many")
        return row

    async def all(self) -> list[CaseRow]:
        """Oldest first."""
        return [CaseRow(*row) for row in await self._db.read(_CASES, self._org, self._agent, MOST)]

    async def delete(self, id: str) -> None:
        """Scores stay."""
        if id not in {row.id for row in await self.all()}:
            raise missing("test case", id)
        await self._db.write([(_DELETE, (id, self._org, self._agent, self._clock()))])

    async def scored(self, version: str, batch: str, scores: Sequence[tuple[str, float, bytes]]) -> None:
        """scores: (case, score, body), all at once."""
        now = self._clock()
        await self._db.write(
            [
                (_SCORED, (new_id("score_"), self._org, self._agent, version, case, batch, score, body, now))
                for case, score, body in scores
            ]
        )

    async def latest(self, version: str) -> dict[str, ScoreRow]:
        """The newest score of each case."""
        rows = await self._db.read(_SCORES, self._org, self._agent, version, SCORES)
        return {row.case_id: row for row in reversed([ScoreRow(*one) for one in rows])}
