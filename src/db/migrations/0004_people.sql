-- What only people have. An account without a row here has no password and cannot sign in.
CREATE TABLE people (
    account_id      TEXT PRIMARY KEY REFERENCES accounts (id),
    password_phc    TEXT,                         -- argon2id; null until an invitation is taken up
    password_set_at INTEGER,
    must_change     INTEGER NOT NULL DEFAULT 0,   -- the password was given by somebody else
    totp_sealed     BLOB,                         -- the shared secret of the second factor, sealed
    totp_on_since   INTEGER,                      -- null until its first code was entered
    totp_step       INTEGER NOT NULL DEFAULT 0,   -- last time step a code was taken for (RFC 6238)
    failed_tries    INTEGER NOT NULL DEFAULT 0,   -- wrong passwords in a row
    last_failed_at  INTEGER,
    last_login_at   INTEGER,
    last_login_ip   TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_codes (
    account_id TEXT NOT NULL REFERENCES people (account_id),
    code_hash  BLOB NOT NULL,                     -- SHA-256; the row goes when the code is used
    PRIMARY KEY (account_id, code_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    token_hash   BLOB NOT NULL UNIQUE,            -- SHA-256 of the cookie
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    address      TEXT,
    agent        TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_account ON sessions (account_id);

-- One-time links: the first administrator's, invitations, forgotten passwords.
CREATE TABLE setup_links (
    token_hash BLOB PRIMARY KEY,                  -- SHA-256
    account_id TEXT UNIQUE REFERENCES accounts (id),  -- null: makes the first administrator
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Accounts that are gone for people but still own keys and faxes.
CREATE TABLE removed_accounts (
    account_id TEXT PRIMARY KEY REFERENCES accounts (id),
    removed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
