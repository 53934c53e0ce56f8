-- The audit log: each row carries a hash over itself and the hash of the row before it.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,               -- 1, 2, 3 … without gaps
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    via        TEXT NOT NULL,
    action     TEXT NOT NULL,
    target     TEXT NOT NULL,
    before     TEXT,                              -- canonical JSON object
    after      TEXT,                              -- canonical JSON object
    address    TEXT,
    request_id TEXT,
    reason     TEXT,
    prev_hash  BLOB NOT NULL,                     -- 32 bytes
    hash       BLOB NOT NULL                      -- 32 bytes
) STRICT;
CREATE INDEX audit_by_actor  ON audit (actor, seq);
CREATE INDEX audit_by_action ON audit (action, seq);
CREATE INDEX audit_by_target ON audit (target, seq);
CREATE INDEX audit_by_time   ON audit (at);

-- Where the log ends, and where it begins after pruning; each with a MAC.
CREATE TABLE audit_marks (
    name   TEXT PRIMARY KEY CHECK (name IN ('head', 'checkpoint')),
    seq    INTEGER NOT NULL,
    hash   BLOB NOT NULL,                         -- of that row
    pruned INTEGER NOT NULL,                      -- rows removed when the checkpoint was made
    at     INTEGER NOT NULL,
    mac    BLOB NOT NULL                          -- 32 bytes
) STRICT, WITHOUT ROWID;
