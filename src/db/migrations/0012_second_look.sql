-- Why a fax waits for somebody to look at its number: a JSON record; null when it does not.
ALTER TABLE jobs ADD COLUMN second_look TEXT;
CREATE INDEX jobs_to_look_at ON jobs (to_e164) WHERE second_look IS NOT NULL;
-- Numbers that somebody has looked at and let go; they are not asked about again.
CREATE TABLE confirmed_numbers (
    to_e164 TEXT PRIMARY KEY,
    by      TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
