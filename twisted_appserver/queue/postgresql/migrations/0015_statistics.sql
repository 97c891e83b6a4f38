-- A search for the rows of one queue finds all rows of a table, as far as the planner knows. Otherwise it assumes that
-- one queue has a two-hundredth of the rows, which is less than two rows of an empty table. Then it takes the primary
-- key to be as good as any index, reads all rows of the queue, deleted ones included, and keeps this plan.
--
-- The planner believes the option only after an ANALYZE that finds a row. TRUNCATE lets it assume ten pages again.

ALTER TABLE tqueue.tasks ALTER COLUMN queue SET (n_distinct = 1);
ALTER TABLE tqueue.finished ALTER COLUMN queue SET (n_distinct = 1);
DO $$
DECLARE
    had_tasks bool := EXISTS (SELECT FROM tqueue.tasks);
    had_results bool := EXISTS (SELECT FROM tqueue.finished);
BEGIN
    IF NOT had_tasks THEN
        INSERT INTO tqueue.tasks (queue, number, body, priority, "order", state, first, second, third)
            VALUES (0, 0, '', 0, '', 3, 0, '', 0);
    END IF;
    IF NOT had_results THEN
        INSERT INTO tqueue.finished VALUES (0, 0, 'done', '', '', now(), now());
    END IF;
    ANALYZE tqueue.tasks (queue);
    ANALYZE tqueue.finished (queue);
    IF NOT had_tasks THEN
        TRUNCATE tqueue.tasks;
    END IF;
    IF NOT had_results THEN
        TRUNCATE tqueue.finished;
    END IF;
END $$;
