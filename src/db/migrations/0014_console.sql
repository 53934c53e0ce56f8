-- What people do with what came: whether it was read, by whom, and whose it is to answer.
ALTER TABLE inbound ADD COLUMN read_at     INTEGER;
ALTER TABLE inbound ADD COLUMN read_by     TEXT;     -- a word for records, like user:anna
ALTER TABLE inbound ADD COLUMN assigned_to TEXT REFERENCES accounts (id);
ALTER TABLE inbound ADD COLUMN note        TEXT;
CREATE INDEX inbound_unread   ON inbound (seq)              WHERE read_at IS NULL;
CREATE INDEX inbound_assigned ON inbound (assigned_to, seq) WHERE assigned_to IS NOT NULL;
CREATE INDEX inbound_sender   ON inbound (from_number, seq);

-- Faxes that did not arrive, and that somebody has seen to.
CREATE TABLE settled_faxes (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    by     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_resent   ON jobs (resend_of) WHERE resend_of IS NOT NULL;
CREATE INDEX jobs_unserved ON jobs (final_at)  WHERE state IN ('failed', 'partial', 'expired');

-- How the faxes of a day ended is read from the index alone.
DROP INDEX jobs_ended;
CREATE INDEX jobs_ended ON jobs (final_at, state, owner_id, attempts, confirmed_pages) WHERE final_at IS NOT NULL;
