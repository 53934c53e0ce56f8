-- Faxes that were accepted together: one document to many numbers. Gone with the last of them.
CREATE TABLE fax_groups (
    id         TEXT PRIMARY KEY,
    owner_id   TEXT NOT NULL,
    key_id     TEXT,                               -- null: bootstrap key or the command line
    size       INTEGER NOT NULL,                   -- faxes it began with
    created_at INTEGER NOT NULL,
    final_at   INTEGER                             -- when the last one ended
) STRICT, WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN group_id TEXT;         -- the others of the group have the same document
CREATE INDEX jobs_by_group     ON jobs (group_id, seq) WHERE group_id IS NOT NULL;
CREATE INDEX jobs_group_open   ON jobs (group_id)      WHERE group_id IS NOT NULL AND final_at IS NULL;
-- What the sweep of the spool asks of uploads that are not made into pages yet.
CREATE INDEX jobs_with_sources ON jobs (seq)           WHERE source_ids <> '[]';
