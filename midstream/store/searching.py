"""Finding messages by their words: each database's own full-text index of the same folded words (see store.folding)."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

import asyncio
import re

import msgspec
from msgspec.structs import replace

from ..core.errors import BadRequest
from .cjk import in_signs, words_in
from .database import Database, DialectName
from .folding import folded, words_of
from .reading import LAST, missing
from .rows import FoundMessage

#: Words of one search; characters of a message that are looked through.
MAX_WORDS, MAX_TEXT = 16, 100_000
#: Characters shown before and after the word that was found.
BEFORE, AFTER = 40, 120

#: A thread with the name of a tool's call (`run_…:1:0`): in it an agent was asked by another one, not by a user.
OF_A_CALL = "LIKE 'run!_________________________:%:%' ESCAPE '!'"
_PIECE = re.compile(r"\S+")
#: Characters of a text in which a word is looked for that is written another way: of others the beginning is shown.
ALIKE = 20_000
_OF_A_CALL = re.compile(r"run_.{24}:.*:.*", re.DOTALL)

_FOUND = f"""
SELECT m.id, m.conversation_id, c.title, m.role, t.text, m.created_at
FROM message_texts t JOIN messages m ON m.id = t.message_id JOIN conversations c ON c.id = m.conversation_id
WHERE t.org_id = $1 AND m.org_id = $1 AND c.org_id = $1 AND m.deleted_at IS NULL AND c.deleted_at IS NULL
    AND COALESCE(c.thread_id, '') NOT {OF_A_CALL} AND (m.created_at, m.id) < ($3, $4) AND @match
ORDER BY m.created_at DESC, m.id DESC LIMIT $5"""
#: $2: the query; $6: JSON text of an array, the words in signs, which the index holds sign by sign.
_MATCH: dict[DialectName, str] = {
    "sqlite": "t.seq IN (SELECT rowid FROM message_words WHERE message_words MATCH $2) "
    "AND NOT EXISTS (SELECT 1 FROM json_each($6) WHERE instr(t.text, value) = 0)",
    "postgres": "array_to_tsvector(string_to_array(t.folded, ' ')) @@ CAST(CAST($2 AS TEXT) AS tsquery) "
    "AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text(CAST(CAST($6 AS TEXT) AS jsonb)) AS word "
    "WHERE strpos(t.text, word) = 0)",
}
_BY_DIALECT: dict[DialectName, str] = {name: _FOUND.replace("@match", match) for name, match in _MATCH.items()}
#: How a word stands in a query, how the beginning of one, and what stands between two.
_AND: dict[DialectName, tuple[str, str, str]] = {
    "sqlite": ('"{}"', '"{}"*', " "), "postgres": ("'{}'", "'{}':*", " & "),
}  # fmt: skip
_PLACE = "SELECT created_at, id FROM messages WHERE id = $1 AND org_id = $2"


def of_a_call(thread: str) -> bool:
    """Has the thread such a name?"""
    return _OF_A_CALL.fullmatch(thread) is not None


def query_of(words: list[str], dialect: DialectName) -> str:
    """Every word, or one that begins with it, in any order; of a word in signs, every sign. words: letters and digits
    only, so that none means anything to a query language."""
    whole, begun, between = _AND[dialect]
    terms = [[whole.format(sign) for sign in word] if in_signs(word) else [begun.format(word)] for word in words]
    return between.join(dict.fromkeys(one for some in terms for one in some))


def snippet(text: str, words: list[str]) -> str:
    """What stands around the first of the words that is found, in one line. words: as they were asked for."""
    lowered = text.lower()
    places = [place for word in words if (place := lowered.find(word.lower())) >= 0]
    at = min(places) if places else _alike(text, [folded(word) for word in words])
    begin, end = max(0, at - BEFORE), min(len(text), at + AFTER)
    shown = " ".join(text[begin:end].split())
    return ("…" if begin else "") + shown + ("…" if end < len(text) else "")


def _alike(text: str, words: list[str]) -> int:
    """Where something begins in which one of the folded words stands, written another way; 0 when nothing does."""
    if text.isascii():
        return 0
    for one in _PIECE.finditer(text, 0, ALIKE):
        piece = folded(one[0])
        if any(word in piece for word in words):
            return one.start()
    return 0


async def search_messages(db: Database, org: str, text: str, after: str | None, limit: int) -> list[FoundMessage]:
    """Newest first; text of each is what stands around the words."""
    words = words_of(text)
    if not words:
        raise BadRequest("q: name at least one word to look for", param="q")
    if len(words) > MAX_WORDS:
        raise BadRequest(f"q: at most {MAX_WORDS} words", param="q", code="too_many_words")
    time, id = float(LAST), ""
    if after is not None:
        rows = await db.look_up(_PLACE, after, org)
        if not rows:
            raise missing("message", after)
        time, id = rows[0]
    said = words_in(text)
    together = msgspec.json.encode([word for word in said if in_signs(word)]).decode()
    found = await db.read(_BY_DIALECT[db.dialect], org, query_of(words, db.dialect), time, id, limit, together)
    hits = [FoundMessage(*row) for row in found]
    shown = await asyncio.to_thread(lambda: [snippet(hit.text, said) for hit in hits])  # it takes long of long texts
    return [replace(hit, text=text) for hit, text in zip(hits, shown, strict=True)]
