-- A task's position in its queue is stored in the columns first, second and third, so that one index serves
-- every kind of queue. Rows are deleted all the time, so autovacuum runs long before the usual share of the
-- rows is dead.
-- State of a task: 0 ready, 1 delayed, 2 leased, 3 buried.

CREATE SCHEMA IF NOT EXISTS tqueue;
CREATE TABLE tqueue.meta (version int NOT NULL, prefix text NOT NULL);
INSERT INTO tqueue.meta VALUES (0, substr(replace(gen_random_uuid()::text, '-', ''), 1, 8) || '-');
CREATE SEQUENCE tqueue.numbers;
CREATE TABLE tqueue.queues (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    config text NOT NULL
);
CREATE TABLE tqueue.tasks (
    queue int NOT NULL REFERENCES tqueue.queues,
    number int8 NOT NULL,
    body bytea NOT NULL,
    priority float8 NOT NULL,
    "order" text COLLATE "C" NOT NULL,
    state int2 NOT NULL,
    at timestamptz,
    deliveries int NOT NULL DEFAULT 0,
    holder text COLLATE "C" NOT NULL DEFAULT '',
    first float8 NOT NULL,
    second text COLLATE "C" NOT NULL,
    third int8 NOT NULL,
    PRIMARY KEY (queue, number)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2);
CREATE INDEX tasks_ready ON tqueue.tasks (queue, first, second, third) WHERE state = 0;
CREATE INDEX tasks_timed ON tqueue.tasks (queue, at) WHERE state IN (1, 2);
CREATE INDEX tasks_held ON tqueue.tasks (queue, holder) WHERE state = 2 AND holder <> '';
CREATE INDEX tasks_buried ON tqueue.tasks (queue, number) WHERE state = 3;
CREATE TABLE tqueue.keys (
    queue int NOT NULL REFERENCES tqueue.queues,
    lane text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    number int8 NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (queue, lane)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE TABLE tqueue.commits (
    server text COLLATE "C" NOT NULL,
    number int8 NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (server, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
