-- NULL = any number.
ALTER TABLE api_keys ADD COLUMN requests_per_minute BIGINT;
