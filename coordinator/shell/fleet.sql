-- What the coordinator knows of the fleet beside coordinator/shell/schema.sql.
CREATE TABLE IF NOT EXISTS fleet_tag (
    device TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device, key)
);
CREATE TABLE IF NOT EXISTS fleet_group (
    name TEXT NOT NULL,
    device TEXT NOT NULL,
    PRIMARY KEY (name, device)
);
CREATE TABLE IF NOT EXISTS fleet_profile (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL                     -- coordinator.fleet.access.Topology, msgpack
);
CREATE TABLE IF NOT EXISTS fleet_given (
    device TEXT PRIMARY KEY,
    profile TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS fleet_app (
    name TEXT PRIMARY KEY,
    roles TEXT NOT NULL                     -- JSON
);
CREATE TABLE IF NOT EXISTS fleet_app_more (
    name TEXT PRIMARY KEY,
    device TEXT NOT NULL DEFAULT '',        -- whose topics alone it may use; empty: any
    password TEXT NOT NULL DEFAULT ''       -- of the WebSocket listener, as mosquitto hashes it; empty: none
);
CREATE TABLE IF NOT EXISTS fleet_seen (
    device TEXT PRIMARY KEY,
    online INTEGER,                         -- NULL: nobody has said
    said_by TEXT NOT NULL DEFAULT '',       -- device, broker
    seen_ms INTEGER NOT NULL DEFAULT 0,     -- last live message
    skew_ms INTEGER NOT NULL DEFAULT 0,
    status BLOB,                            -- firmware_configs.messages.Status, msgpack
    reported BLOB                           -- firmware_configs.messages.Reported, msgpack
);
CREATE TABLE IF NOT EXISTS fleet_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    value BLOB NOT NULL                     -- what it said, msgpack
);
CREATE INDEX IF NOT EXISTS fleet_log_device ON fleet_log (device, id);
CREATE TABLE IF NOT EXISTS fleet_wish (
    device TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    time_ms INTEGER NOT NULL                -- when it was written
);
CREATE TABLE IF NOT EXISTS fleet_invite (
    hash TEXT PRIMARY KEY,                  -- SHA-256 of the token's secret, hex: the secret itself is kept nowhere
    device TEXT NOT NULL,                   -- the only name it is good for; '': any that is free
    groups TEXT NOT NULL,                   -- JSON
    made_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    used_by TEXT NOT NULL DEFAULT '',       -- device and its node key, once used
    used_ms INTEGER NOT NULL DEFAULT 0,
    withdrawn_ms INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS fleet_certificate (
    serial TEXT PRIMARY KEY,                -- hex
    name TEXT NOT NULL,
    role TEXT NOT NULL,                     -- device, app, visit, coordinator
    not_after_ms INTEGER NOT NULL,
    revoked_ms INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS fleet_certificate_name ON fleet_certificate (name);
