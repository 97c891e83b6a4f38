-- Unique keys that are taken beyond the end of their tasks, and the tasks of repeated batches whose numbers are not
-- consecutive: JSON.

CREATE TABLE taken (
    queue TEXT, key TEXT, number INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX taken_until ON taken (until) WHERE until < 9e999;
ALTER TABLE keys ADD COLUMN numbers TEXT;
