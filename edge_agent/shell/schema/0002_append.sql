-- What is only ever added becomes tables of its own, in the order of adding: a commit then dirties one page of each,
-- where rows under random keys and their indexes dirtied one page for each row and index (docs/adr/0014).
CREATE TABLE seen (                         -- event ids that were taken; read whole at start, then kept in memory
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
);
INSERT INTO seen (id, expires_ms) SELECT key, expires_ms FROM state WHERE room = 'dedupe' ORDER BY expires_ms;

CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY,
    value BLOB NOT NULL
);
INSERT INTO ledger SELECT CAST(key AS INTEGER), value FROM state WHERE room = 'ledger';

DELETE FROM state WHERE room IN ('dedupe', 'ledger');
-- Sweeps go round the tables in the order of their keys instead.
DROP INDEX state_expiry;
DROP INDEX shelf_expiry;
DROP INDEX shelf_group;
CREATE INDEX shelf_example ON shelf (grp, number) WHERE shelf = 'example';

-- What goes first when too much waits; an entry's number is its ledger row's from now on.
ALTER TABLE outbox ADD COLUMN kind TEXT NOT NULL DEFAULT 'decision';
