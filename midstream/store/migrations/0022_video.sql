-- Some models have a price of its own for video.
ALTER TABLE attempts ADD COLUMN video_in BIGINT NOT NULL DEFAULT 0;
