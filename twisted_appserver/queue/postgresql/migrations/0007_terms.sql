-- What applies to a task instead of the options of its queue, and its time to live. Only queues that have had such
-- tasks are searched for tasks whose time to live is over.

ALTER TABLE tqueue.tasks ADD COLUMN terms jsonb;
ALTER TABLE tqueue.queues ADD COLUMN has_terms bool NOT NULL DEFAULT false;
CREATE INDEX tasks_ending ON tqueue.tasks (queue, ((terms ->> 'ends')::float8))
    WHERE terms IS NOT NULL AND state IN (0, 1);
