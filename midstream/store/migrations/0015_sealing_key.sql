-- Which secret key the database is used with (store/secrets.py): one row, or none before the first server has started.
-- Of databases from before, the key that most of their secrets are sealed with.
CREATE TABLE sealing_key (
    place BIGINT PRIMARY KEY,
    key_id TEXT NOT NULL
);
INSERT INTO sealing_key (place, key_id)
    SELECT 1, key_id FROM secrets GROUP BY key_id ORDER BY count(*) DESC, key_id LIMIT 1;
