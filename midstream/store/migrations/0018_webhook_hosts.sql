-- endpoint: of which host a waiting message is, once there were too many for it ("" = nobody knows yet). Only whether
-- two are the same can be told from it. Hosts with a backlog are passed over without reading through it.
ALTER TABLE deliveries ADD COLUMN endpoint TEXT NOT NULL DEFAULT '';
CREATE INDEX deliveries_by_endpoint ON deliveries (kind, endpoint, available_at) WHERE status = 'waiting';
DROP INDEX deliveries_due;
