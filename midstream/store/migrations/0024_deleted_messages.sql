-- What deleted messages have said is let go of after a while (store/retention.py asks in the same words): they are found
-- without reading through all that others say.
CREATE INDEX messages_to_empty ON messages (deleted_at) WHERE deleted_at IS NOT NULL AND length(content) > 0;
