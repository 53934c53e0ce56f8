-- Hours and days: whole ones since 1970 UTC.

-- Requests each key took in an hour, so that a restart does not give it a new one.
CREATE TABLE key_windows (
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    hour   INTEGER NOT NULL,
    taken  INTEGER NOT NULL,
    PRIMARY KEY (key_id, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_windows_by_hour ON key_windows (hour);

-- What came of the requests of each key, by hour.
CREATE TABLE key_usage (
    key_id  TEXT NOT NULL REFERENCES api_keys (id),
    hour    INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (key_id, hour, outcome)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_usage_by_hour ON key_usage (hour);

-- Pages each key spent on telephone lines in a day …
CREATE TABLE key_pages (
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    day    INTEGER NOT NULL,
    pages  INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;
-- … and the numbers it reached first, which nobody had dialled before.
CREATE TABLE key_destinations (
    key_id  TEXT NOT NULL REFERENCES api_keys (id),
    day     INTEGER NOT NULL,
    to_e164 TEXT NOT NULL,
    PRIMARY KEY (key_id, day, to_e164)
) STRICT, WITHOUT ROWID;

-- Keys whose token stood in the address of a request.
CREATE TABLE key_exposures (
    key_id  TEXT PRIMARY KEY REFERENCES api_keys (id),
    seen_at INTEGER NOT NULL,
    address TEXT
) STRICT, WITHOUT ROWID;
