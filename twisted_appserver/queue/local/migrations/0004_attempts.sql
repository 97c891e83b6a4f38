-- Who has leased a task and since when, and how earlier attempts have ended.

ALTER TABLE tasks ADD COLUMN began REAL NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN "by" TEXT NOT NULL DEFAULT '';
CREATE TABLE attempts (
    number INTEGER NOT NULL, attempt INTEGER NOT NULL, began REAL NOT NULL, seconds REAL NOT NULL,
    "by" TEXT NOT NULL, reason TEXT NOT NULL, error TEXT NOT NULL, traceback TEXT NOT NULL,
    PRIMARY KEY (number, attempt)
);
