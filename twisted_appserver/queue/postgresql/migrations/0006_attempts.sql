-- Who has leased a task and since when, and how earlier attempts have ended.

ALTER TABLE tqueue.tasks ADD COLUMN began timestamptz, ADD COLUMN "by" text NOT NULL DEFAULT '',
    ADD COLUMN attempts int NOT NULL DEFAULT 0;
CREATE TABLE tqueue.attempts (
    queue int NOT NULL,
    number int8 NOT NULL,
    attempt int NOT NULL,
    began timestamptz NOT NULL,
    seconds float8 NOT NULL,
    "by" text NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    traceback text NOT NULL,
    PRIMARY KEY (queue, number, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
