-- Whoever inserts tasks or keys holds the lock of their queue and has seen that the queue exists. With the
-- foreign keys, which check this again for each row, puts took a quarter longer.

ALTER TABLE tqueue.tasks DROP CONSTRAINT tasks_queue_fkey;
ALTER TABLE tqueue.keys DROP CONSTRAINT keys_queue_fkey;
DROP INDEX tqueue.tasks_held;
CREATE INDEX tasks_held ON tqueue.tasks (queue, holder) WHERE holder <> '';
