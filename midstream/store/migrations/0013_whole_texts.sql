-- How many of a piece's first characters are the last ones of the piece before it, so that a document's text is known to
-- the last character. NULL: the piece was stored before, without the white space at its ends.
ALTER TABLE pieces ADD COLUMN shared BIGINT;
