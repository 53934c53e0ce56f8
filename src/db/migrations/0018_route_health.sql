-- How the calls of each route went of late; a route without a row works.
CREATE TABLE route_health (
    route         TEXT PRIMARY KEY,
    failures      INTEGER NOT NULL,               -- in a row
    first_number  TEXT,                           -- of the first of them
    several       INTEGER NOT NULL,               -- whether they were to several numbers
    failed_at     INTEGER,
    class         TEXT,                           -- of the last failure
    code          TEXT,
    out_since     INTEGER,                        -- null while it is in service
    probes        INTEGER NOT NULL DEFAULT 0,     -- calls that were let through since, and failed
    next_probe_at INTEGER
) STRICT, WITHOUT ROWID;
