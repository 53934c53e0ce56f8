ALTER TABLE accounts ADD COLUMN grants TEXT NOT NULL DEFAULT '[]';  -- JSON array of grant names

ALTER TABLE api_keys ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;      -- removed from its owner's own list
ALTER TABLE api_keys ADD COLUMN holds_faxes INTEGER NOT NULL DEFAULT 0; -- revoked with the order to hold its faxes
ALTER TABLE api_keys ADD COLUMN expiry_warned INTEGER;                  -- days before the end of the last warning

-- From where a key was used: the last few, to notice a new one.
CREATE TABLE api_key_addresses (
    key_id        TEXT NOT NULL REFERENCES api_keys (id),
    address       TEXT NOT NULL,              -- of an IPv6 address its /64 network
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    PRIMARY KEY (key_id, address)
) STRICT, WITHOUT ROWID;
