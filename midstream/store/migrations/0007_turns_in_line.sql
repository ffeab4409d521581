-- Turns of one conversation are made in the order in which they were accepted. line: the conversation ("" = of none).
-- place: in the order of acceptance, over all servers; the places of tickets are of the same numbers.
ALTER TABLE jobs ADD COLUMN line TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
CREATE INDEX jobs_in_line ON jobs (line, place) WHERE line <> '' AND status IN ('queued', 'running');
-- postgres:  CREATE SEQUENCE turn_places;
-- sqlite:    CREATE INDEX jobs_by_place ON jobs (place);

-- Turns that wait at one of several servers for their place in a conversation. until: unix seconds by the database's
-- clock; who does not renew it is no longer there.
CREATE TABLE turn_tickets (
    holder TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    until DOUBLE PRECISION NOT NULL
);
CREATE INDEX turn_tickets_in_line ON turn_tickets (conversation_id, place);
