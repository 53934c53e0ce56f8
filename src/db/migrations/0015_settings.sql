-- What administrators changed while the appliance ran; the file and the environment have theirs.
CREATE TABLE stored_settings (
    key   TEXT PRIMARY KEY,                       -- section.key
    value TEXT NOT NULL,                          -- as one would write it in the file
    by    TEXT NOT NULL,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Pages that somebody looks at before they send them; gone after a quarter of an hour.
CREATE TABLE previews (
    id            TEXT PRIMARY KEY,
    owner_id      TEXT NOT NULL,
    caller        TEXT NOT NULL,                  -- a word for records, like key:0123456789ab
    document_id   TEXT NOT NULL,                  -- spool: the pages as one TIFF
    pages         INTEGER NOT NULL,
    resolution    TEXT NOT NULL,
    quality       TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX previews_by_age      ON previews (expires_at);
CREATE INDEX previews_by_document ON previews (document_id);
