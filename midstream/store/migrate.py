"""Brings a database to the version that this code knows: numbered files, each applied once, in one transaction."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

from msgspec import Struct

from ..core.errors import Conflict, StoreDown
from .database import Database, DialectName, Statement, with_clock

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
#: PostgreSQL's advisory lock of everybody who migrates (any number that no other program uses).
_LOCK = 7_236_151_948_021
_KEEPER = """
CREATE TABLE IF NOT EXISTS schema_version (
    number BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at DOUBLE PRECISION NOT NULL
)"""
_IS_KEPT: dict[DialectName, str] = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
    "postgres": "SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL",
}
_RECORD = "INSERT INTO schema_version (number, name, checksum, applied_at) VALUES ($1, $2, $3, @clock)"


class Migration(Struct, frozen=True):
    """checksum: of the file's text, so that a file changed after it was applied is noticed."""

    number: int
    name: str
    text: str
    checksum: str


def migrations() -> list[Migration]:
    """In the order of their numbers."""
    found = []
    for file in files(__package__).joinpath("migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            text = file.read_text("utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], text, checksum))
    return sorted(found, key=lambda migration: migration.number)


def statements(text: str, dialect: DialectName) -> list[str]:
    """The statements of a file as one database reads them. A statement ends with `;` at the end of a line."""
    mine = f"-- {dialect}:"
    lines = []
    for line in text.splitlines():
        if line.startswith(mine):
            lines.append(line[len(mine) :])
        elif not line.startswith("--"):
            lines.append(line)
    pieces = re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE)
    return [piece.strip() for piece in pieces if piece.strip()]


async def migrate(db: Database, known: list[Migration] | None = None) -> int:
    """Applies what is missing; the version reached. Several processes may do this at once.

    Raises errors.StoreDown when the database is newer than this code, or was made from other files."""
    known = migrations() if known is None else known
    lock: list[Statement] = [("SELECT pg_advisory_xact_lock($1)", (_LOCK,))] if db.dialect == "postgres" else []
    await db.alter([*lock, (_KEEPER, ())])
    while True:
        applied = await db.read("SELECT number, name, checksum FROM schema_version ORDER BY number")
        _compare(known, {number: (name, checksum) for number, name, checksum in applied})
        done = {number for number, _, _ in applied}  # two versions of the program may each have brought a step
        missing = [migration for migration in known if migration.number not in done]
        if not missing:
            return known[-1].number if known else 0
        step = missing[0]
        record = with_clock(_RECORD, db.dialect)
        work: list[Statement] = [*lock, (record, (step.number, step.name, step.checksum))]
        work += [(sql, ()) for sql in statements(step.text, db.dialect)]
        try:
            await db.alter(work)
        except Conflict:  # another process was first: its row is there now
            continue


async def behind(db: Database, known: list[Migration] | None = None) -> str:
    """What `migrate` would do here, in words; "" = nothing. It changes nothing. Raises as that does."""
    known = migrations() if known is None else known
    applied = {}
    if await db.read(_IS_KEPT[db.dialect]):
        rows = await db.read("SELECT number, name, checksum FROM schema_version")
        applied = {number: (name, checksum) for number, name, checksum in rows}
    _compare(known, applied)
    missing = [migration.number for migration in known if migration.number not in applied]
    if not missing:
        return ""
    old = f"the database is of an older version ({len(missing)} of {len(known)} steps are missing)"
    return f"{old if applied else 'the database is empty'}: `midstream migrate` or the next start brings it up to date"


def _compare(known: list[Migration], applied: dict[int, tuple[str, str]]) -> None:
    numbers = {migration.number: migration for migration in known}
    newest = max(applied, default=0)
    if newest > max(numbers, default=0):
        raise StoreDown(
            f"the database is at version {newest}, this midstream knows {max(numbers, default=0)}: "
            "it was made by a newer midstream; run that one, or restore an older backup"
        )
    for number, (name, checksum) in applied.items():
        migration = numbers.get(number)
        if migration is None or migration.checksum != checksum:
            raise StoreDown(
                f"the database was made with another text of migration {number:04} ({name}): "
                "run the midstream that made it"
            )
