-- Which numbers may be dialled. What is not here follows from the built-in ranges.
CREATE TABLE policy_ranges (
    range  TEXT PRIMARY KEY,                      -- one that is closed unless it stands here
    reason TEXT NOT NULL,
    by     TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_numbers (
    prefix TEXT PRIMARY KEY,                      -- + and digits; of several the longest counts
    ruling TEXT NOT NULL CHECK (ruling IN ('allow', 'block')),
    reason TEXT NOT NULL,
    by     TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Why no call begins; gone when calls may begin again.
CREATE TABLE dialling_holds (
    cause  TEXT PRIMARY KEY CHECK (cause IN ('paused', 'dials', 'line_minutes')),
    since  INTEGER NOT NULL,
    until  INTEGER,                               -- of a limit: when it has room again
    by     TEXT NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;
-- What was spent is counted from the calls; those of the two routes that cost nothing stay out.
CREATE INDEX attempts_spending ON attempts (route, started_at) WHERE route NOT IN ('simulator', 'loopback');

-- How each call to a number went, for 30 days; the fax itself may be gone before.
CREATE TABLE destination_calls (
    to_e164           TEXT NOT NULL,
    at                INTEGER NOT NULL,           -- the end of the call
    attempt_id        TEXT NOT NULL,
    owner_id          TEXT NOT NULL,
    route             TEXT NOT NULL,
    class             TEXT NOT NULL,
    pages             INTEGER NOT NULL,           -- confirmed in this call
    remote_station_id TEXT,
    transport         TEXT,
    bit_rate          INTEGER,
    ecm               INTEGER,
    PRIMARY KEY (to_e164, at, attempt_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX destination_calls_by_age ON destination_calls (at);

-- The address book, one for the appliance.
CREATE TABLE contacts (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL COLLATE NOCASE,
    number     TEXT NOT NULL,
    note       TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX contacts_by_name   ON contacts (name, id);
CREATE INDEX contacts_by_number ON contacts (number);
