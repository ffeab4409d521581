-- When an agent was told to forget: what turns from before are still to be remembered does not come back. thread_id: ''
-- = all of its threads; that row is there, with at = 0, as soon as anything is remembered or forgotten.
CREATE TABLE memories_forgotten (
    org_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, agent_id, thread_id)
);
