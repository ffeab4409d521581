-- failures: how often whoever was asked for a row failed; attempts: how often it was begun, whatever became of that.
ALTER TABLE outbox ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
