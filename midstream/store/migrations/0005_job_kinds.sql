-- Turns that somebody waits for are found without reading through those of batches.
CREATE INDEX jobs_due_by_kind ON jobs (status, kind, available_at);
DROP INDEX jobs_due;
