-- State by room and key; a row is replaced, never versioned.
CREATE TABLE state (
    room TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    expires_ms INTEGER NOT NULL DEFAULT 0,  -- unix ms; 0: kept
    PRIMARY KEY (room, key)
) WITHOUT ROWID;
CREATE INDEX state_expiry ON state (expires_ms) WHERE expires_ms > 0;

-- Rows that are added once and read by id or by group: decisions, examples, the journal.
CREATE TABLE shelf (
    number INTEGER PRIMARY KEY,
    shelf TEXT NOT NULL,
    id TEXT NOT NULL,
    grp TEXT NOT NULL,                      -- the placement, or the bundle's name
    subject TEXT NOT NULL,                  -- whose it is, so that erasure finds it
    value BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX shelf_id ON shelf (id, shelf);
CREATE INDEX shelf_group ON shelf (shelf, grp, number);
CREATE INDEX shelf_expiry ON shelf (expires_ms) WHERE expires_ms > 0;

-- What waits for the broker's acknowledgement, in the order in which it is sent.
CREATE TABLE outbox (
    entry INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    correlation BLOB NOT NULL,
    traceparent TEXT NOT NULL,
    expires_ms INTEGER NOT NULL             -- unix ms; 0: never
);

-- What the shell itself remembers: the device's secret, active bundles, the last subscriptions.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
