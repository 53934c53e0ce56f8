-- Who is told by e-mail, and of what; null for nobody. Of a fax in a group the group has it.
ALTER TABLE jobs       ADD COLUMN notify TEXT;    -- JSON: when, to
ALTER TABLE fax_groups ADD COLUMN notify TEXT;

-- Notices on their way to the mail server, one row for each and recipient; gone once it took them.
CREATE TABLE mails (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  TEXT NOT NULL UNIQUE,             -- the same at every try, so that a second copy shows as one
    recipient   TEXT NOT NULL,
    notice      TEXT NOT NULL,                    -- JSON: what is told, without a whole number
    tries       INTEGER NOT NULL DEFAULT 0,
    first_at    INTEGER NOT NULL,                 -- from when its time counts
    next_try_at INTEGER NOT NULL,
    given_up_at INTEGER,
    error       TEXT                              -- why the last try did not count
) STRICT;
CREATE INDEX mails_waiting  ON mails (next_try_at, seq) WHERE given_up_at IS NULL;
CREATE INDEX mails_old      ON mails (first_at)         WHERE given_up_at IS NULL;
CREATE INDEX mails_given_up ON mails (given_up_at)      WHERE given_up_at IS NOT NULL;
