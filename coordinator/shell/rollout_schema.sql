-- Rollouts, in the coordinator's database. Everything that one step changes is one transaction.
CREATE TABLE IF NOT EXISTS rollout (
    key TEXT PRIMARY KEY,
    bundle TEXT NOT NULL,
    state TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    value BLOB NOT NULL                     -- coordinator.rollout.state.Rollout without its members, msgpack
);
CREATE TABLE IF NOT EXISTS rollout_member (
    rollout TEXT NOT NULL REFERENCES rollout (key),
    device TEXT NOT NULL,
    place INTEGER NOT NULL,                 -- in the order of the draw
    value BLOB NOT NULL,                    -- coordinator.rollout.state.Member, msgpack
    PRIMARY KEY (rollout, device)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rollout_log (    -- only ever appended to
    rollout TEXT NOT NULL REFERENCES rollout (key),
    number INTEGER NOT NULL,
    value BLOB NOT NULL,                    -- coordinator.rollout.state.Note, msgpack
    hash BLOB NOT NULL,                     -- sha256 of the hash before, the number and the value
    PRIMARY KEY (rollout, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rollout_wish (   -- what people asked for and no step has taken in yet
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT NOT NULL REFERENCES rollout (key),
    value BLOB NOT NULL                     -- coordinator.rollout.state.Wish, msgpack
);
CREATE TABLE IF NOT EXISTS rollout_due (    -- devices whose desired state the broker has not taken yet
    device TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rollout_look (   -- what the guards said, whenever that changed; thinned out
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT NOT NULL REFERENCES rollout (key),
    value BLOB NOT NULL                     -- coordinator.shell.rollout_store.Look, msgpack
);
CREATE INDEX IF NOT EXISTS rollout_look_rollout ON rollout_look (rollout, number);
