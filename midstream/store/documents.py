"""Documents given to agents: their text in pieces, found by words: FTS5 on SQLite, tsvector on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ..core.ids import new_id
from .cjk import apart
from .database import DialectName
from .owned import Owned
from .reading import LAST

PAGE = 100
#: Pieces that are written at once: other writes wait for no more of a large document than that.
AT_ONCE = 200
#: Documents that one search may be limited to.
MOST_IDS = 100


class DocumentRow(Struct, frozen=True):
    """bytes, pieces: of its text."""

    id: str
    name: str
    bytes: int
    pieces: int
    created_at: float


class Piece(Struct, frozen=True):
    """shared: how many of its first characters are the last ones of the piece before it. None: nobody knows, and the
    white space at its ends was not kept, as it was stored before that was."""

    text: str
    shared: int | None = 0


class PieceRow(Struct, frozen=True):
    """score: higher is nearer."""

    document_id: str
    name: str
    place: int
    text: str
    score: float


class _Body(Struct):
    bytes: int
    pieces: int


_ADD = """
INSERT INTO documents (id, org_id, name, body, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING"""
_ADD_PIECE = """
INSERT INTO pieces (id, org_id, document_id, place, text, shared) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING"""
_ONE = "SELECT id, name, body, created_at FROM documents WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_LIST = """
SELECT id, name, body, created_at FROM documents
WHERE org_id = $1 AND deleted_at IS NULL AND (created_at < $2 OR (created_at = $2 AND id < $3))
ORDER BY created_at DESC, id DESC LIMIT $4"""
_DELETE = "UPDATE documents SET deleted_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_DELETE_PIECES = "DELETE FROM pieces WHERE document_id = $1 AND org_id = $2"
_PIECES = "SELECT text, shared FROM pieces WHERE document_id = $1 AND org_id = $2 ORDER BY place"

#: $2: the words; $3: ids of documents as JSON text of an array, or NULL for all.
_AMONG: dict[DialectName, str] = {
    "sqlite": "($3 IS NULL OR p.document_id IN (SELECT value FROM json_each($3)))",
    "postgres": "(CAST($3 AS TEXT) IS NULL OR p.document_id IN "
    "(SELECT jsonb_array_elements_text(CAST(CAST($3 AS TEXT) AS jsonb))))",
}
_SEARCH: dict[DialectName, str] = {
    "sqlite": """
SELECT p.document_id, d.name, p.place, p.text, -bm25(pieces_words) AS score
FROM pieces_words JOIN pieces p ON p.seq = pieces_words.rowid
    JOIN documents d ON d.id = p.document_id AND d.org_id = p.org_id
WHERE pieces_words MATCH $2 AND p.org_id = $1 AND d.deleted_at IS NULL AND @among
ORDER BY score DESC, p.document_id, p.place LIMIT $4""",
    "postgres": """
SELECT p.document_id, d.name, p.place, p.text,
    CAST(ts_rank_cd(p.words, to_tsquery('simple', $2), 1) AS DOUBLE PRECISION) AS score
FROM pieces p JOIN documents d ON d.id = p.document_id AND d.org_id = p.org_id
WHERE p.words @@ to_tsquery('simple', $2) AND p.org_id = $1 AND d.deleted_at IS NULL AND @among
ORDER BY score DESC, p.document_id, p.place LIMIT $4""",
}
_SEARCH = {dialect: sql.replace("@among", _AMONG[dialect]) for dialect, sql in _SEARCH.items()}


class Documents(Owned):
    """One org's."""

    async def add(self, name: str, pieces: Sequence[Piece]) -> DocumentRow:
        """All of it is found afterwards, or nothing: its pieces come first, and none is found without it. Texts hold no
        NUL."""
        size = sum(len(piece.text[piece.shared or 0 :].encode()) for piece in pieces)
        row = DocumentRow(new_id("doc_"), name, size, len(pieces), self._clock())
        body = msgspec.json.encode(_Body(row.bytes, row.pieces))
        adding = [(_ADD_PIECE, (f"{row.id}:{place}", self._org, row.id, place, piece.text, piece.shared))
                  for place, piece in enumerate(pieces)]  # fmt: skip
        for begin in range(0, len(adding), AT_ONCE):
            await self._db.write(adding[begin : begin + AT_ONCE])
        await self._db.write([(_ADD, (row.id, self._org, name, body, row.created_at))])
        return row

    async def one(self, id: str) -> DocumentRow:
        return _row(*await self._found("document", _ONE, id))

    async def page(self, *, after: str | None = None, limit: int = PAGE) -> list[DocumentRow]:
        """Newest first."""
        place: tuple[float, str] = (float(LAST), "")
        if after is not None:
            row = await self.one(after)
            place = (row.created_at, row.id)
        return [_row(*row) for row in await self._db.read(_LIST, self._org, *place, limit)]

    async def pieces(self, id: str) -> list[Piece]:
        """Those of a document, in order."""
        await self.one(id)
        return [Piece(*row) for row in await self._db.read(_PIECES, id, self._org)]

    async def delete(self, id: str) -> None:
        await self.one(id)
        await self._db.write([
            (_DELETE, (id, self._org, self._clock())), (_DELETE_PIECES, (id, self._org)),
        ])  # fmt: skip

    async def search(self, words: Sequence[str], document_ids: Sequence[str], limit: int) -> list[PieceRow]:
        """Pieces with any of the words, nearest first. words: as of cjk.words_in, or parts of one.
        document_ids: [] = all."""
        among = None
        if document_ids:
            # What is no id of ours is no document's, and might not be text to the database.
            known = [id for id in document_ids if id.isascii() and id.isprintable()]
            among = msgspec.json.encode(known[:MOST_IDS]).decode()
        if not words:
            return []
        rows = await self._db.read(_SEARCH[self._db.dialect], self._org, _any(words, self._db.dialect), among, limit)
        return [PieceRow(*row) for row in rows]


def _row(id: str, name: str, body: bytes, created_at: float) -> DocumentRow:
    sizes = msgspec.json.decode(body, type=_Body)
    return DocumentRow(id, name, sizes.bytes, sizes.pieces, created_at)


def _any(words: Sequence[str], dialect: DialectName) -> str:
    """A query for any of the words, quoted, so that neither database reads one as its own. Signs, each of which is a
    word there, stand side by side."""
    if dialect == "sqlite":
        return " OR ".join(f'"{apart(word)}"' for word in words)
    # In the locale C it folds ASCII only.
    forms = [form for word in words for form in dict.fromkeys((word, word.capitalize(), word.upper()))]
    return " | ".join("(" + " <-> ".join(f"'{sign}'" for sign in apart(form).split()) + ")" for form in forms)
