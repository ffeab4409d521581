-- The number of the newest transaction that brought rows to lists which are read on from their last row: each takes the
-- next one and holds it until its end, so that no row comes before one that may have been read.
CREATE TABLE arrivals (last BIGINT NOT NULL);
INSERT INTO arrivals (last) VALUES (0);
-- Rows from before are numbered in the order of their beginnings.
ALTER TABLE metrics_raw_data ADD COLUMN arrival BIGINT NOT NULL DEFAULT 0;
ALTER TABLE model_transactions ADD COLUMN arrival BIGINT NOT NULL DEFAULT 0;
UPDATE metrics_raw_data SET arrival = numbered.place FROM
    (SELECT id, row_number() OVER (ORDER BY created_at, id) AS place FROM metrics_raw_data) AS numbered
    WHERE numbered.id = metrics_raw_data.id;
UPDATE model_transactions SET arrival = numbered.place FROM
    (SELECT id, row_number() OVER (ORDER BY created_at, id) AS place FROM model_transactions) AS numbered
    WHERE numbered.id = model_transactions.id;
UPDATE arrivals SET last = (SELECT max(place) FROM (
    SELECT count(*) AS place FROM metrics_raw_data UNION ALL SELECT count(*) FROM model_transactions) AS places);
-- What the operator asks of all orgs together is found by its time here too.
CREATE INDEX model_transactions_of_all_by_time ON model_transactions (created_at, id);
CREATE INDEX metrics_raw_by_arrival ON metrics_raw_data (org_id, arrival, id);
CREATE INDEX metrics_raw_of_all_by_arrival ON metrics_raw_data (arrival, id);
CREATE INDEX model_transactions_by_arrival ON model_transactions (org_id, arrival, id);
CREATE INDEX model_transactions_of_all_by_arrival ON model_transactions (arrival, id);
