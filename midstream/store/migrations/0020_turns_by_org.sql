-- Whose later turns are due is found by leaps, so that many of one org hold up no other's.
CREATE INDEX jobs_due_by_org ON jobs (status, kind, org_id, available_at);
DROP INDEX jobs_due_by_kind;
