-- That another machine answered than the one known at a fax's number: a JSON record with both names.
ALTER TABLE jobs ADD COLUMN other_station TEXT;
-- Machines that somebody said are the right ones at their numbers; forgotten as calls are.
CREATE TABLE accepted_stations (
    to_e164    TEXT NOT NULL,
    route      TEXT NOT NULL,
    station_id TEXT NOT NULL,                      -- what it calls itself
    by         TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (to_e164, route)
) STRICT, WITHOUT ROWID;
CREATE INDEX accepted_stations_by_age ON accepted_stations (at);
