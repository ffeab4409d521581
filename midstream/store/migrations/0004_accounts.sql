-- accounted: each such call is published as a transaction, also when its server dies before it is settled.
ALTER TABLE attempts ADD COLUMN accounted BOOLEAN NOT NULL DEFAULT FALSE;
