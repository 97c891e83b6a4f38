-- What is kept of tasks that have ended. Their bodies are not kept.

CREATE TABLE tqueue.finished (
    queue int NOT NULL,
    number int8 NOT NULL,
    state text COLLATE "C" NOT NULL,
    result bytea NOT NULL,
    error text NOT NULL,
    ended timestamptz NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (queue, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
CREATE INDEX finished_in_order ON tqueue.finished (queue, until);
