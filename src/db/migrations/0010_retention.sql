-- Which faxes ended, or came, longest ago.
CREATE INDEX jobs_ended       ON jobs (final_at)       WHERE final_at IS NOT NULL;
CREATE INDEX inbound_received ON inbound (received_at);

-- Documents of faxes that were deleted, until their files are gone too.
CREATE TABLE doomed_documents (
    document_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Calls that delivered into the own inbox, from which the fax was deleted since.
CREATE TABLE deleted_deliveries (
    attempt_id TEXT PRIMARY KEY REFERENCES attempts (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- What was ever deleted.
CREATE TABLE deleted_faxes (
    kind  TEXT PRIMARY KEY CHECK (kind IN ('sent', 'received')),
    faxes INTEGER NOT NULL,
    pages INTEGER NOT NULL,
    at    INTEGER NOT NULL                        -- the last time
) STRICT, WITHOUT ROWID;
