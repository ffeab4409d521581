-- Agents and what their turns leave behind. Same rules as 0001: portable, no foreign keys, every row has its org.

-- settings: JSON text of an object (timezone, ...).
ALTER TABLE orgs ADD COLUMN settings BYTEA;

-- body: JSON text of the object as the admin API shows it (core.agents), without ids and times.
CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    published_id TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);
CREATE UNIQUE INDEX agents_by_slug ON agents (org_id, slug) WHERE deleted_at IS NULL;

-- status: draft | published | archived. number: from 1 within its agent.
CREATE TABLE agent_versions (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    status TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    published_at DOUBLE PRECISION,
    deleted_at DOUBLE PRECISION,
    UNIQUE (agent_id, number)
);

-- approved: the hash of the schema and description that an operator has agreed to (tools of MCP servers).
CREATE TABLE tools (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);
CREATE INDEX tools_by_org ON tools (org_id, name);

-- Small nouns of an org by kind: template | service_key | mcp_server | model | guardrail | alert | webhook.
-- Secrets are never in body: they stand in `secrets` under the noun's id.
CREATE TABLE nouns (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);
CREATE INDEX nouns_by_kind ON nouns (org_id, kind, name);

-- Raised by every change of an agent, version, tool or noun: a cached load is good while this has not moved.
CREATE TABLE org_changes (
    org_id TEXT PRIMARY KEY,
    number BIGINT NOT NULL
);

-- A thread's sub-thread is a conversation of its agent. current_id: the last message of the branch in use.
ALTER TABLE conversations ADD COLUMN agent_id TEXT;
ALTER TABLE conversations ADD COLUMN thread_id TEXT;
ALTER TABLE conversations ADD COLUMN sub_thread_id TEXT;
ALTER TABLE conversations ADD COLUMN current_id TEXT;
ALTER TABLE conversations ADD COLUMN reset_seq BIGINT;
CREATE UNIQUE INDEX conversations_by_thread ON conversations (org_id, agent_id, thread_id, sub_thread_id)
    WHERE thread_id IS NOT NULL AND deleted_at IS NULL;

-- parent_id: the message that this one answers or follows (branches). detail: JSON text, see store.rows.MessageDetail.
ALTER TABLE messages ADD COLUMN parent_id TEXT;
ALTER TABLE messages ADD COLUMN reaction TEXT;
ALTER TABLE messages ADD COLUMN detail BYTEA;
ALTER TABLE messages ADD COLUMN deleted_at DOUBLE PRECISION;

-- Whose turn it is in a conversation, where several servers share it. until: unix seconds by the database's clock.
CREATE TABLE conversation_turns (
    conversation_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    holder TEXT NOT NULL,
    until DOUBLE PRECISION NOT NULL
);

ALTER TABLE runs ADD COLUMN agent_id TEXT;
ALTER TABLE runs ADD COLUMN version_id TEXT;
ALTER TABLE runs ADD COLUMN parent_run_id TEXT;

-- What a model said in a round that asked for tools: where a run that was cut goes on from.
CREATE TABLE rounds (
    run_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    org_id TEXT NOT NULL,
    reply BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run_id, number)
);

-- Every call of a tool, before it runs (queued) and after. run_id: "" = called through the API without a run.
-- effect: pure | idempotent | unsafe. status: queued | running | ok | failed | timeout | in_doubt | denied.
CREATE TABLE tool_calls (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    round BIGINT NOT NULL,
    place BIGINT NOT NULL,
    call_id TEXT NOT NULL,
    tool_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    effect TEXT NOT NULL,
    arguments BYTEA NOT NULL,
    status TEXT NOT NULL,
    result BYTEA,
    error TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION
);
CREATE UNIQUE INDEX tool_calls_by_run ON tool_calls (run_id, round, place) WHERE run_id <> '';
CREATE INDEX tool_calls_by_org ON tool_calls (org_id, created_at);

CREATE TABLE memories (
    org_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    text TEXT NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, agent_id, thread_id)
);

-- Work that was accepted and is done later. id: what the caller was told (message id or batch item id).
-- status: queued | running | done | failed. request: JSON text of what was asked. worker: who runs it now.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    batch_id TEXT,
    run_id TEXT NOT NULL,
    request BYTEA NOT NULL,
    delivery BYTEA,
    status TEXT NOT NULL,
    worker TEXT,
    tries BIGINT NOT NULL DEFAULT 0,
    result BYTEA,
    created_at DOUBLE PRECISION NOT NULL,
    available_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION
);
CREATE INDEX jobs_due ON jobs (status, available_at);
CREATE INDEX jobs_by_batch ON jobs (org_id, batch_id);

-- One message on its way to one address. status: waiting | delivered | dead. dead ones can be sent again.
-- holder: who is sending it now, until available_at.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target BYTEA NOT NULL,
    payload BYTEA NOT NULL,
    status TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    available_at DOUBLE PRECISION NOT NULL,
    holder TEXT,
    last_error TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION
);
CREATE INDEX deliveries_due ON deliveries (status, available_at);
CREATE INDEX deliveries_by_org ON deliveries (org_id, created_at);

-- worker: who works on the row now; another may have it when that one is no longer there.
ALTER TABLE outbox ADD COLUMN worker TEXT;

-- One row per model call of the agent faces, written from the outbox: id = the attempt's.
CREATE TABLE model_transactions (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    agent_id TEXT,
    thread_id TEXT,
    key_id TEXT NOT NULL,
    service TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost TEXT,
    created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX model_transactions_by_org ON model_transactions (org_id, created_at);

-- One row per agent turn, written from the outbox: id = the message id. rolled: it is counted in the rollups.
CREATE TABLE metrics_raw_data (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    service TEXT NOT NULL,
    model TEXT NOT NULL,
    key_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    success BOOLEAN NOT NULL,
    failure TEXT,
    attempts BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    detail BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    rolled BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX metrics_raw_by_time ON metrics_raw_data (org_id, created_at);

-- span: 300 or 86400 seconds. start: unix seconds, a multiple of span. cost_nano: 1e-9 USD.
CREATE TABLE metrics_rollups (
    org_id TEXT NOT NULL,
    span BIGINT NOT NULL,
    start BIGINT NOT NULL,
    agent_id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    service TEXT NOT NULL,
    model TEXT NOT NULL,
    key_id TEXT NOT NULL,
    turns BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, span, start, agent_id, version_id, service, model, key_id)
);

-- ended_at: when its end was told to whoever was to hear of it.
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION
);
CREATE INDEX batches_open ON batches (created_at) WHERE ended_at IS NULL;

CREATE TABLE test_cases (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);
CREATE INDEX test_cases_by_agent ON test_cases (org_id, agent_id);

CREATE TABLE test_scores (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    case_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX test_scores_by_agent ON test_scores (org_id, agent_id, created_at);

-- Alerts that were sent: the same one is not sent again until its window is over. occasion: what it was sent for.
CREATE TABLE alerts_sent (
    org_id TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    occasion TEXT NOT NULL,
    sent_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, alert_id, fingerprint)
);

-- Points spent in a window, where several servers share them. start: when it began, unix milliseconds.
CREATE TABLE points (
    org_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    start BIGINT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (org_id, kind, name)
);

-- Tools of MCP servers that an org has agreed to. hash: of the name, description and schema that were agreed to.
CREATE TABLE mcp_approvals (
    org_id TEXT NOT NULL,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, server, tool)
);

-- What a web search found, kept for a while; org in the key, as in every cache.
CREATE TABLE search_cache (
    org_id TEXT NOT NULL,
    query TEXT NOT NULL,
    found BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (org_id, query)
);

-- Documents given to agents: their text, in pieces. The full-text index beside it is each database's own.
CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);
CREATE INDEX documents_by_org ON documents (org_id, created_at);
CREATE TABLE pieces (
-- sqlite:    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL,
    document_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    text TEXT NOT NULL
-- postgres:  , words tsvector GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED
);
CREATE INDEX pieces_by_document ON pieces (org_id, document_id, place);
-- postgres:  CREATE INDEX pieces_by_words ON pieces USING GIN (words);
-- sqlite:    CREATE VIRTUAL TABLE pieces_words USING fts5 (text, content='pieces', content_rowid='seq');
-- sqlite:    CREATE TRIGGER pieces_in AFTER INSERT ON pieces BEGIN INSERT INTO pieces_words (rowid, text) VALUES (new.seq, new.text); END;
-- sqlite:    CREATE TRIGGER pieces_out AFTER DELETE ON pieces BEGIN INSERT INTO pieces_words (pieces_words, rowid, text) VALUES ('delete', old.seq, old.text); END;

-- The words of stored messages, for searching histories: written with the message, by agent faces.
CREATE TABLE message_texts (
-- sqlite:    seq INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    text TEXT NOT NULL
-- postgres:  , words tsvector GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED
);
CREATE INDEX message_texts_by_conversation ON message_texts (org_id, conversation_id);
-- postgres:  CREATE INDEX message_texts_by_words ON message_texts USING GIN (words);
-- sqlite:    CREATE VIRTUAL TABLE message_words USING fts5 (text, content='message_texts', content_rowid='seq');
-- sqlite:    CREATE TRIGGER message_texts_in AFTER INSERT ON message_texts BEGIN INSERT INTO message_words (rowid, text) VALUES (new.seq, new.text); END;
-- sqlite:    CREATE TRIGGER message_texts_out AFTER DELETE ON message_texts BEGIN INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', old.seq, old.text); END;
