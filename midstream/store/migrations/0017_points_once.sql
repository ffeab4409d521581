-- marks: of the last who have spent or given back a point here, so that what is said twice, because the answer was lost
-- with the connection, is done once.
ALTER TABLE points ADD COLUMN marks TEXT NOT NULL DEFAULT '';
