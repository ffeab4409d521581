-- Portable between SQLite and PostgreSQL; a line that begins with "-- sqlite:" or "-- postgres:" is read by that
-- one only. Times are unix seconds. Content that may hold any character is bytes: PostgreSQL's text refuses NUL.
-- No foreign keys: every row carries its org, rows arrive in batches whose order the ledger knows to be right.

CREATE TABLE orgs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);

INSERT INTO orgs (id, name, created_at) VALUES ('org_default', 'default', 0);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    last_used_at DOUBLE PRECISION
);
CREATE INDEX api_keys_by_org ON api_keys (org_id, created_at);

CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    UNIQUE (org_id, name)
);

CREATE TABLE conversations (
-- sqlite:    seq INTEGER PRIMARY KEY,
-- postgres:  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL,
    title TEXT,
    metadata BYTEA,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);
CREATE INDEX conversations_by_org ON conversations (org_id, seq);

-- dialect: '' = content is a message of the core language; else it is the caller's own words in that wire format.
CREATE TABLE messages (
-- sqlite:    seq_stored INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL,
    conversation_id TEXT,
    run_id TEXT,
    seq BIGINT NOT NULL,
    role TEXT NOT NULL,
    dialect TEXT NOT NULL,
    content BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, seq) WHERE conversation_id IS NOT NULL;
CREATE INDEX messages_by_run ON messages (run_id) WHERE conversation_id IS NULL;

CREATE TABLE runs (
-- sqlite:    seq INTEGER PRIMARY KEY,
-- postgres:  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    face TEXT NOT NULL,
    model TEXT NOT NULL,
    conversation_id TEXT,
    request_id TEXT NOT NULL,
    status TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    worker TEXT NOT NULL
);
-- Every index costs each request. SQLite finds an org's rows by walking the table in order, and what is open by
-- walking it from its worker's mark (workers.runs_mark).
-- postgres:  CREATE INDEX runs_by_org ON runs (org_id, seq);
-- postgres:  CREATE INDEX runs_open ON runs (worker) WHERE status = 'running';

-- sqlite:    CREATE TABLE events (
-- sqlite:        run_id TEXT NOT NULL, seq BIGINT NOT NULL, org_id TEXT NOT NULL, type TEXT NOT NULL,
-- sqlite:        data BYTEA NOT NULL, PRIMARY KEY (run_id, seq)
-- sqlite:    ) WITHOUT ROWID;
-- postgres:  CREATE TABLE events (
-- postgres:      run_id TEXT NOT NULL, seq BIGINT NOT NULL, org_id TEXT NOT NULL, type TEXT NOT NULL,
-- postgres:      data BYTEA NOT NULL, PRIMARY KEY (run_id, seq)
-- postgres:  );

CREATE TABLE attempts (
-- sqlite:    seq INTEGER PRIMARY KEY,
-- postgres:  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    uncached_in BIGINT NOT NULL DEFAULT 0,
    cache_read BIGINT NOT NULL DEFAULT 0,
    cache_write_5m BIGINT NOT NULL DEFAULT 0,
    cache_write_1h BIGINT NOT NULL DEFAULT 0,
    audio_in BIGINT NOT NULL DEFAULT 0,
    image_in BIGINT NOT NULL DEFAULT 0,
    out_text BIGINT NOT NULL DEFAULT 0,
    out_reasoning BIGINT NOT NULL DEFAULT 0,
    audio_out BIGINT NOT NULL DEFAULT 0,
    image_out BIGINT NOT NULL DEFAULT 0,
    searches BIGINT NOT NULL DEFAULT 0,
    estimated BOOLEAN NOT NULL DEFAULT FALSE,
    cost TEXT,
    price_snapshot TEXT,
    error_code TEXT,
    error_message TEXT,
    estimate_in BIGINT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    worker TEXT NOT NULL
);
CREATE INDEX attempts_by_run ON attempts (run_id);
CREATE INDEX attempts_by_time ON attempts (started_at);
-- postgres:  CREATE INDEX attempts_by_org ON attempts (org_id, seq);
-- postgres:  CREATE INDEX attempts_open ON attempts (worker) WHERE status = 'started';

CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BYTEA NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    available_at DOUBLE PRECISION NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    done_at DOUBLE PRECISION
);
CREATE INDEX outbox_due ON outbox (topic, available_at) WHERE done_at IS NULL;

-- *_mark: rows up to this seq have ended.
CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    started_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    runs_mark BIGINT NOT NULL DEFAULT 0,
    attempts_mark BIGINT NOT NULL DEFAULT 0
);
