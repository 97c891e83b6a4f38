-- The group of a task, which is also in its terms, and a further state: 4, held until a place in the group is free.

ALTER TABLE tqueue.tasks ADD COLUMN "group" text COLLATE "C";
CREATE INDEX tasks_with_place ON tqueue.tasks (queue, "group", number)
    WHERE "group" IS NOT NULL AND state IN (0, 1, 2);
CREATE INDEX tasks_without_place ON tqueue.tasks (queue, "group", number) WHERE state = 4;
DROP INDEX tqueue.tasks_ending;
CREATE INDEX tasks_ending ON tqueue.tasks (queue, ((terms ->> 'ends')::float8))
    WHERE terms IS NOT NULL AND state IN (0, 1, 4);
