-- accounted: an agent's turn that the metrics count, also when its server dies before its end.
ALTER TABLE runs ADD COLUMN accounted BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX jobs_by_run ON jobs (run_id) WHERE status IN ('queued', 'running');
