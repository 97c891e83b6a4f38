-- A lease is stored with its length instead of its end. Only the keys that clients generate share a lane.

ALTER TABLE store ADD COLUMN secret BLOB;
UPDATE store SET secret = randomblob(32);
ALTER TABLE tasks RENAME COLUMN lease TO span;
UPDATE tasks SET span = max(60.0, min(604800.0, span - strftime('%s', 'now'))) WHERE span > 0;
ALTER TABLE keys RENAME TO old_keys;
CREATE TABLE keys (
    queue TEXT, lane TEXT, key TEXT NOT NULL, number INTEGER NOT NULL, until REAL NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (queue, lane)
) WITHOUT ROWID;
INSERT INTO keys SELECT queue, key, key, number, until, x'' FROM old_keys;
DROP TABLE old_keys;
