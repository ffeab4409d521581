-- What is due of each batch is found without reading through the others'.
CREATE INDEX jobs_of_batch ON jobs (org_id, batch_id, status, available_at);
DROP INDEX jobs_by_batch;
