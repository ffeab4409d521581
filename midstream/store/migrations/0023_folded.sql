-- The words of a message as they are compared (store/folding.py), each once, with spaces between them: the same on both
-- databases. NULL: stored before, and to be filled in at the next start.
ALTER TABLE message_texts ADD COLUMN folded TEXT;
CREATE INDEX message_texts_not_folded ON message_texts (message_id) WHERE folded IS NULL;
-- sqlite: DROP TRIGGER message_texts_in;
-- sqlite: DROP TRIGGER message_texts_out;
-- sqlite: DROP TABLE message_words;
-- sqlite: CREATE VIRTUAL TABLE message_words USING fts5 (folded, content='message_texts', content_rowid='seq', tokenize='ascii');
-- sqlite: CREATE TRIGGER message_texts_in AFTER INSERT ON message_texts WHEN new.folded IS NOT NULL BEGIN INSERT INTO message_words (rowid, folded) VALUES (new.seq, new.folded); END;
-- sqlite: CREATE TRIGGER message_texts_folded AFTER UPDATE OF folded ON message_texts WHEN old.folded IS NULL BEGIN INSERT INTO message_words (rowid, folded) VALUES (new.seq, new.folded); END;
-- sqlite: CREATE TRIGGER message_texts_out AFTER DELETE ON message_texts WHEN old.folded IS NOT NULL BEGIN INSERT INTO message_words (message_words, rowid, folded) VALUES ('delete', old.seq, old.folded); END;
-- postgres: DROP INDEX message_texts_by_words;
-- postgres: ALTER TABLE message_texts DROP COLUMN words;
-- postgres: CREATE INDEX message_texts_by_folded ON message_texts USING GIN (array_to_tsvector(string_to_array(folded, ' ')));
