-- The coordinator's own memory. Rounds are rows that only move along coordinator/rounds.py's table.
CREATE TABLE IF NOT EXISTS device (
    name TEXT PRIMARY KEY,
    node INTEGER NOT NULL,                  -- Flower's node id, as signed 64 bit
    public_key TEXT NOT NULL,
    enrolled_ms INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS run (
    key TEXT PRIMARY KEY,
    bundle TEXT NOT NULL,
    version TEXT NOT NULL,                  -- the parent
    result TEXT NOT NULL DEFAULT '',        -- the new version, once published
    started_ms INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    failure TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS round (
    run TEXT NOT NULL REFERENCES run (key),
    number INTEGER NOT NULL,
    value BLOB NOT NULL,                    -- coordinator.rounds.Round, msgpack
    PRIMARY KEY (run, number)
);
CREATE TABLE IF NOT EXISTS desired (
    device TEXT PRIMARY KEY,
    value BLOB NOT NULL                     -- firmware_configs.messages.Desired, msgpack
);
