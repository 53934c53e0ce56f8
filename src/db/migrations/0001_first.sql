-- Times: milliseconds since 1970 UTC. Ids: 32 hex digits. Lists and records inside a row: JSON.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('user', 'service')),
    name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    role       TEXT NOT NULL CHECK (role IN ('global_admin', 'admin', 'operator', 'viewer')),
    status     TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id              TEXT PRIMARY KEY,             -- 12 hex digits, never reused
    kind            TEXT NOT NULL CHECK (kind IN ('development', 'production', 'restricted', 'admin', 'account')),
    name            TEXT NOT NULL,
    note            TEXT,
    owner_id        TEXT NOT NULL REFERENCES accounts (id),
    scopes          TEXT NOT NULL,                -- JSON array of scope names
    resources       TEXT NOT NULL DEFAULT '{}',   -- JSON: to_prefixes, from_numbers, mailboxes, all_jobs
    ip_allow        TEXT NOT NULL DEFAULT '[]',   -- JSON array of CIDR
    allowed_origins TEXT NOT NULL DEFAULT '[]',   -- JSON array
    limits          TEXT NOT NULL DEFAULT '{}',   -- JSON: per_minute, per_hour, pages_per_day, new_destinations_per_day
    status          TEXT NOT NULL CHECK (status IN ('active', 'disabled', 'revoked')),
    generation      INTEGER NOT NULL,             -- moves with every change that touches who is let in
    not_before      INTEGER,
    expires_at      INTEGER,
    sealed_token    BLOB,                         -- of a recoverable key only
    created_at      INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    last_used_at    INTEGER,
    last_used_ip    TEXT,
    use_count       INTEGER NOT NULL DEFAULT 0,
    revoked_at      INTEGER,
    revoked_by      TEXT,
    revoked_reason  TEXT
) STRICT, WITHOUT ROWID;

-- At most two secrets a key: the current one, and the one before it while its grace lasts.
CREATE TABLE api_key_slots (
    key_id       TEXT NOT NULL REFERENCES api_keys (id),
    slot         TEXT NOT NULL CHECK (slot IN ('current', 'previous')),
    phc          TEXT NOT NULL,                   -- argon2id
    prefilter    INTEGER,                         -- 32 bits; null when the pepper was lost
    created_at   INTEGER NOT NULL,
    valid_until  INTEGER,                         -- of a previous secret
    last_used_at INTEGER,
    PRIMARY KEY (key_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    seq             INTEGER PRIMARY KEY,          -- order of acceptance, for keyset paging
    id              TEXT NOT NULL UNIQUE,
    owner_id        TEXT NOT NULL,
    key_id          TEXT,                         -- null: bootstrap key or the command line
    to_raw          TEXT NOT NULL,                -- as the client wrote it
    to_e164         TEXT NOT NULL,
    route           TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('held', 'scheduled', 'preparing', 'queued', 'dialing', 'sending',
                                                   'waiting', 'delivered', 'partial', 'failed', 'cancelled', 'expired')),
    status          TEXT NOT NULL CHECK (status IN ('queued', 'in_progress', 'SUCCESS', 'FAILED')),  -- follows state
    blocked         INTEGER NOT NULL DEFAULT 0,   -- queued, but held back by another fax to the number
    priority        TEXT NOT NULL CHECK (priority IN ('high', 'normal', 'bulk')),
    rank            INTEGER NOT NULL,             -- order of dialling, lowest first: priority, sunk after a failure
    resolution      TEXT NOT NULL,
    quality         TEXT NOT NULL,
    pages           INTEGER,                      -- null while preparing
    confirmed_pages INTEGER NOT NULL DEFAULT 0,
    document_id     TEXT,                         -- spool: the fax pages as one TIFF
    source_ids      TEXT NOT NULL DEFAULT '[]',   -- spool: uploads still to convert, JSON array
    source_sha256   TEXT NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,   -- calls begun, free ones included
    dials           INTEGER NOT NULL DEFAULT 0,
    tries           INTEGER NOT NULL DEFAULT 0,
    fruitless       INTEGER NOT NULL DEFAULT 0,   -- tries in a row that confirmed no new page
    busies          INTEGER NOT NULL DEFAULT 0,   -- busy calls in a row
    human_answers   INTEGER NOT NULL DEFAULT 0,
    outages         INTEGER NOT NULL DEFAULT 0,   -- failures in a row on our side of the phone network
    outcome         TEXT,                         -- JSON of the last attempt's or the final outcome
    tag             TEXT,
    schedule_at     INTEGER,
    deadline_at     INTEGER NOT NULL,
    next_try_at     INTEGER,
    lease_until     INTEGER,
    cancel_asked_by TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    final_at        INTEGER
) STRICT;
-- What the dispatcher asks: each index holds only the few jobs of its question.
CREATE INDEX jobs_ready    ON jobs (route, rank, seq)   WHERE state = 'queued' AND blocked = 0;
CREATE INDEX jobs_blocked  ON jobs (to_e164, rank, seq) WHERE blocked = 1;
CREATE INDEX jobs_engaged  ON jobs (to_e164)            WHERE state IN ('dialing', 'sending', 'waiting');
CREATE INDEX jobs_calling  ON jobs (lease_until)        WHERE state IN ('dialing', 'sending');
CREATE INDEX jobs_asleep   ON jobs (next_try_at)        WHERE state IN ('scheduled', 'waiting');
CREATE INDEX jobs_prepare  ON jobs (next_try_at, seq)   WHERE state = 'preparing';
CREATE INDEX jobs_deadline ON jobs (deadline_at)        WHERE state IN ('scheduled', 'preparing', 'queued', 'waiting');
-- What lists ask.
CREATE INDEX jobs_by_status ON jobs (status, seq);
CREATE INDEX jobs_by_state  ON jobs (state, seq);
CREATE INDEX jobs_by_owner  ON jobs (owner_id, seq);
CREATE INDEX jobs_by_key    ON jobs (key_id, seq);
CREATE INDEX jobs_by_number ON jobs (to_e164, seq);
CREATE INDEX jobs_by_time   ON jobs (created_at, seq);
-- What the sweep of the spool asks.
CREATE INDEX jobs_by_document ON jobs (document_id);

-- How many jobs of each kind stand in each thousand of seq: totals and deep pages without a walk.
CREATE TABLE job_counts (
    block    INTEGER NOT NULL,                    -- seq / 1000
    state    TEXT NOT NULL,
    route    TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    key_id   TEXT NOT NULL,                       -- '' for none
    jobs     INTEGER NOT NULL,
    PRIMARY KEY (block, state, route, owner_id, key_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_counted_in AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts VALUES (new.seq / 1000, new.state, new.route, new.owner_id, ifnull(new.key_id, ''), 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_counted_over AFTER UPDATE OF state, route, owner_id, key_id ON jobs
WHEN old.state <> new.state OR old.route <> new.route OR old.owner_id <> new.owner_id OR old.key_id IS NOT new.key_id
BEGIN
    UPDATE job_counts SET jobs = jobs - 1
        WHERE block = old.seq / 1000 AND state = old.state AND route = old.route AND owner_id = old.owner_id
            AND key_id = ifnull(old.key_id, '');
    DELETE FROM job_counts
        WHERE block = old.seq / 1000 AND state = old.state AND route = old.route AND owner_id = old.owner_id
            AND key_id = ifnull(old.key_id, '') AND jobs = 0;
    INSERT INTO job_counts VALUES (new.seq / 1000, new.state, new.route, new.owner_id, ifnull(new.key_id, ''), 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_counted_out AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET jobs = jobs - 1
        WHERE block = old.seq / 1000 AND state = old.state AND route = old.route AND owner_id = old.owner_id
            AND key_id = ifnull(old.key_id, '');
    DELETE FROM job_counts
        WHERE block = old.seq / 1000 AND state = old.state AND route = old.route AND owner_id = old.owner_id
            AND key_id = ifnull(old.key_id, '') AND jobs = 0;
END;

CREATE TABLE attempts (
    id                TEXT PRIMARY KEY,
    job_id            TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number            INTEGER NOT NULL,           -- 1, 2, 3 … within the job
    route             TEXT NOT NULL,
    first_page        INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    answered_at       INTEGER,
    first_data_at     INTEGER,                    -- first page data left: from here a lost call is not free
    ended_at          INTEGER,
    remote_station_id TEXT,
    transport         TEXT,                       -- t38, audio, loopback, simulated
    bit_rate          INTEGER,
    ecm               INTEGER,
    outcome           TEXT,                       -- JSON; null while under way; class delivered when all went well
    UNIQUE (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt_pages (
    attempt_id   TEXT NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    page         INTEGER NOT NULL,                -- 1-based page of the document
    confirmed_at INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    duration_ms  INTEGER NOT NULL,
    PRIMARY KEY (attempt_id, page)
) STRICT, WITHOUT ROWID;

-- The T.30 ladder, one row for each report of the call, so that a long call never rewrites it.
CREATE TABLE attempt_traces (
    attempt_id TEXT NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    part       INTEGER NOT NULL,
    entries    TEXT NOT NULL,                     -- JSON array
    PRIMARY KEY (attempt_id, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbound (
    seq               INTEGER PRIMARY KEY,
    id                TEXT NOT NULL UNIQUE,
    from_number       TEXT,
    to_number         TEXT,
    remote_station_id TEXT,
    route             TEXT NOT NULL,
    attempt_id        TEXT UNIQUE,                -- of a loopback delivery: makes it happen once
    pages             INTEGER NOT NULL,
    size_bytes        INTEGER NOT NULL,
    document_id       TEXT NOT NULL,
    complete          INTEGER NOT NULL,
    received_at       INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX inbound_by_document ON inbound (document_id);

CREATE TABLE idempotency (
    key_id       TEXT NOT NULL,                   -- scope: the API key; '' for the bootstrap key
    path         TEXT NOT NULL,
    name         TEXT NOT NULL,                   -- the client's Idempotency-Key
    request_hash BLOB NOT NULL,
    status       INTEGER NOT NULL,
    body         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (key_id, path, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Written in the same transaction as what it tells of; seq is the order of the world.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    type    TEXT NOT NULL,
    subject TEXT NOT NULL,
    data    TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_subject ON events (subject, seq);
