-- Whom events are told.
CREATE TABLE webhooks (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    url             TEXT NOT NULL,
    types           TEXT NOT NULL,                -- JSON array of types and families; empty: all
    enabled         INTEGER NOT NULL,
    sealed_secret   BLOB NOT NULL,
    sealed_previous BLOB,                         -- the secret before it, while its grace lasts
    previous_until  INTEGER,
    cursor          INTEGER NOT NULL,             -- events up to here have their deliveries
    failures        INTEGER NOT NULL DEFAULT 0,   -- tries in a row that failed
    resting_until   INTEGER,                      -- after several of them nothing is sent before
    last_success_at INTEGER,
    last_failure_at INTEGER,
    created_at      INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each event and webhook that takes it.
CREATE TABLE webhook_deliveries (
    webhook_id  TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,                 -- of the event
    state       TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    tries       INTEGER NOT NULL DEFAULT 0,
    first_at    INTEGER NOT NULL,                 -- from when its time counts
    next_try_at INTEGER NOT NULL,                 -- of a pending one
    ended_at    INTEGER,
    status      INTEGER,                          -- of the last answer
    error       TEXT,                             -- why there was none, or why it did not count
    PRIMARY KEY (webhook_id, seq)
) STRICT, WITHOUT ROWID;
-- The first for what is to be done, in the order of the log; the second for when.
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, seq)         WHERE state = 'pending';
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook_id, next_try_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_ended   ON webhook_deliveries (webhook_id, ended_at)    WHERE state <> 'pending';
CREATE INDEX webhook_deliveries_dead    ON webhook_deliveries (webhook_id, seq)         WHERE state = 'dead';
