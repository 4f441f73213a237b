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
