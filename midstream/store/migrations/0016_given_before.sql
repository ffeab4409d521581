-- Files and documents that users give stay in sight when their messages do not: found among all that was said before.
-- (store/given.py asks in the same words. What another face has stored says nothing of files beside its words.)
CREATE INDEX messages_that_give ON messages (conversation_id, seq)
    WHERE conversation_id IS NOT NULL AND role = 'user' AND (dialect <> ''
-- sqlite:    OR instr(detail, '"document_ids"') > 0 OR instr(detail, '"kind":"file"') > 0
-- postgres:  OR position(CAST('"document_ids"' AS BYTEA) IN detail) > 0
-- postgres:  OR position(CAST('"kind":"file"' AS BYTEA) IN detail) > 0
    );
