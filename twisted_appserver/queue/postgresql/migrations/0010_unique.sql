-- The unique keys of tasks, and those that are taken beyond the end of their tasks.

CREATE INDEX tasks_unique ON tqueue.tasks (queue, (terms ->> 'unique')) WHERE terms ->> 'unique' IS NOT NULL;
CREATE TABLE tqueue.taken (
    queue int NOT NULL,
    key text COLLATE "C" NOT NULL,
    number int8 NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (queue, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
CREATE INDEX taken_until ON tqueue.taken (until) WHERE until < 'infinity';
