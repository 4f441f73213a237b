-- The dashboard's file; coordinator/shell/schema says how these files go on.
CREATE TABLE IF NOT EXISTS user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password BLOB NOT NULL,                 -- coordinator.shell.dashboard.passwords.Hashed, msgpack
    made_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS session (
    hash BLOB PRIMARY KEY,                  -- SHA-256 of the cookie's secret: the secret itself is kept nowhere
    name TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    made_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS trail (          -- only ever appended to
    number INTEGER PRIMARY KEY,
    value BLOB NOT NULL,                    -- coordinator.shell.dashboard.trail.Deed, msgpack
    hash BLOB NOT NULL                      -- see coordinator.chain
);
