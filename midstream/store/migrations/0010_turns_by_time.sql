-- What the operator asks of all orgs together is found by its time, as that of one org is.
CREATE INDEX metrics_raw_of_all_by_time ON metrics_raw_data (created_at, id);
CREATE INDEX metrics_rollups_of_all_by_time ON metrics_rollups (span, start);
