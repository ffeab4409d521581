-- Sound that was read from a cache has a price of its own.
ALTER TABLE attempts ADD COLUMN cache_audio_read BIGINT NOT NULL DEFAULT 0;
