-- The coordinator's database. `IF NOT EXISTS`: a home from before databases were numbered has these tables, or some of them.
-- Tables that are here never change: what is new is a file of the next number.

-- Rounds are rows that only move along coordinator/rounds.py's table.
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
CREATE TABLE IF NOT EXISTS attempt (
    run TEXT NOT NULL REFERENCES run (key),
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    value BLOB NOT NULL,                    -- an earlier attempt of a round, msgpack
    PRIMARY KEY (run, number, attempt)
);
-- What it takes to go on with a run that was cut off.
CREATE TABLE IF NOT EXISTS run_plan (
    run TEXT PRIMARY KEY REFERENCES run (key),
    request BLOB NOT NULL,                  -- coordinator.shell.request.Request, msgpack
    job BLOB NOT NULL,                      -- coordinator.shell.job.Job, msgpack
    session INTEGER NOT NULL DEFAULT 0,     -- counts Flower's runs of this run; writes of an older one are refused
    started INTEGER NOT NULL DEFAULT 0,     -- the newest session whose server app has begun
    flower TEXT NOT NULL DEFAULT '',        -- Flower's run id of the newest session
    note TEXT NOT NULL DEFAULT '',          -- why the newest session ended early, if it could say
    version TEXT NOT NULL DEFAULT '',       -- the version that the result was given, before it is published
    sha256 TEXT NOT NULL DEFAULT '',        -- of the bundle file of that version
    given_up INTEGER NOT NULL DEFAULT 0     -- by a person: it is not gone on with
);

-- What is known of the fleet.
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

-- Rollouts. Everything that one step changes is one transaction.
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

-- Accounts of privacy.
CREATE TABLE IF NOT EXISTS privacy_budget (
    bundle TEXT NOT NULL,
    population TEXT NOT NULL,
    value BLOB NOT NULL,                    -- coordinator.accountant.Budget, msgpack
    PRIMARY KEY (bundle, population)
);
CREATE TABLE IF NOT EXISTS privacy_spend (
    run TEXT NOT NULL,
    round INTEGER NOT NULL,
    bundle TEXT NOT NULL,
    population TEXT NOT NULL,
    value BLOB NOT NULL,                    -- coordinator.accountant.Spend, msgpack
    spent_ms INTEGER NOT NULL,
    PRIMARY KEY (run, round)
);

-- Who is not asked, and why.
CREATE TABLE IF NOT EXISTS standing (
    device TEXT PRIMARY KEY,
    value BLOB NOT NULL                     -- coordinator.quarantine.Standing, msgpack
);
CREATE TABLE IF NOT EXISTS quarantine (
    device TEXT PRIMARY KEY,
    value BLOB NOT NULL                     -- Entry, msgpack
);
CREATE TABLE IF NOT EXISTS quarantine_audit (
    number INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    value BLOB NOT NULL                     -- Change, msgpack
);

-- Experiments and what was released of them.
CREATE TABLE IF NOT EXISTS experiment (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL                     -- coordinator.experiments.Plan, msgpack
);
CREATE TABLE IF NOT EXISTS experiment_report (
    name TEXT NOT NULL,
    device TEXT NOT NULL,
    value BLOB NOT NULL,                    -- firmware_configs.messages.ExperimentReport, msgpack
    PRIMARY KEY (name, device)
);
CREATE TABLE IF NOT EXISTS experiment_release (
    name TEXT NOT NULL,
    plan TEXT NOT NULL,
    number INTEGER NOT NULL,
    value BLOB NOT NULL,                    -- coordinator.experiments.Release, msgpack
    PRIMARY KEY (name, plan, number)
);
