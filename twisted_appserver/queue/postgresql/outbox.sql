-- Temporary functions for tasks that programs have put in their own transactions (tqueue.put): see outbox.py.
--
-- The rows of a transaction become visible at its commit, in any order of their numbers. So each connection keeps a
-- snapshot, and looks only for rows of transactions that had not ended then. This also skips all rows that were
-- deleted since the last vacuum.

-- Return whether rows were committed since a snapshot.
CREATE FUNCTION pg_temp.is_outbox_new(seen pg_snapshot) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    running xid8[] := ARRAY(SELECT pg_snapshot_xip(seen));
BEGIN
    RETURN EXISTS (SELECT FROM tqueue.outbox o WHERE o.xid >= pg_snapshot_xmax(seen))
        OR running <> '{}' AND EXISTS (SELECT FROM tqueue.outbox o WHERE o.xid = ANY (running));
END $$;

-- Look for rows that were committed since a snapshot.
--
-- The first row of the result has the snapshot for the next call, in "name". Each other row has a queue with new rows,
-- and their transactions; NULL for too many transactions.
CREATE FUNCTION pg_temp.look_into_outbox(seen pg_snapshot) RETURNS TABLE (name text, xids text[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    running xid8[] := ARRAY(SELECT pg_snapshot_xip(seen));
BEGIN
    name := pg_current_snapshot()::text;
    RETURN NEXT;
    IF pg_temp.is_outbox_new(seen) THEN
        RETURN QUERY SELECT n.queue, CASE WHEN count(*) <= 1000 THEN array_agg(n.xid::text) END
            FROM (
                SELECT o.queue, o.xid FROM tqueue.outbox o WHERE o.xid >= pg_snapshot_xmax(seen)
                UNION SELECT o.queue, o.xid FROM tqueue.outbox o WHERE o.xid = ANY (running)
            ) n GROUP BY n.queue;
    END IF;
END $$;

-- Move tasks from the outbox into their queue, which the transaction has locked, in the order of their numbers. They
-- enter even if the queue is full or shut down.
--
-- Arguments:
--   xids                         the transactions whose tasks are moved; NULL for all
--   most                         the maximum number of tasks
--   lowest_number, last_return   see perform_requests.sql
--   server                       the server, in the notification that tasks are ready
--
-- Result: how many rows were taken, how many tasks were added, and how many are ready now. Unique keys that are taken
-- make the difference.
CREATE FUNCTION pg_temp.move_outbox(queue_id int, xids xid8[], most int8, lowest_number int8, last_return int8, server text,
    OUT taken int8, OUT added int8, OUT ready int8)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    queue_name text; kind text; moment timestamptz := clock_timestamp();
    ids tid[]; numbers int8[]; uniques text[]; unique_for float8[]; owners int8[]; groups text[];
    any_ttl bool;
BEGIN
    added := 0;
    ready := 0;
    SELECT q.name, q.config::jsonb ->> 'kind' INTO queue_name, kind FROM tqueue.queues q WHERE q.id = queue_id;
    -- "number + 0" keeps the planner from walking through the numbers.
    SELECT array_agg(o.id ORDER BY o.number), array_agg(o.number ORDER BY o.number),
        array_agg(coalesce(o.terms ->> 'unique', '') ORDER BY o.number), array_agg(o.unique_for ORDER BY o.number)
        INTO ids, numbers, uniques, unique_for
        FROM (
            SELECT x.ctid AS id, x.* FROM tqueue.outbox x
            WHERE x.queue = queue_name AND (xids IS NULL OR x.xid = ANY (xids)) ORDER BY x.number + 0 LIMIT most
        ) o;
    taken := coalesce(cardinality(numbers), 0);
    IF taken = 0 THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM unnest(uniques) AS u WHERE u <> '') THEN
        owners := pg_temp.find_unique(queue_id, uniques);
        PERFORM pg_temp.take_keys(queue_id, uniques, unique_for,
            ARRAY(SELECT CASE WHEN w.owner IS NULL THEN w.number END
                FROM unnest(numbers, owners) WITH ORDINALITY AS w(number, owner, place) ORDER BY w.place), moment);
        DELETE FROM tqueue.outbox o WHERE o.ctid = ANY (ARRAY(
            SELECT w.id FROM unnest(ids, owners) AS w(id, owner) WHERE w.owner IS NOT NULL
        ));
        ids := ARRAY(SELECT w.id FROM unnest(ids, owners) AS w(id, owner) WHERE w.owner IS NULL);
    END IF;
    WITH fresh AS (
        DELETE FROM tqueue.outbox o WHERE o.ctid = ANY (ids)
        RETURNING o.*, 0 AS deliveries, o.put_at + make_interval(secs => o.delay) AS due
    ), new AS (
        INSERT INTO tqueue.tasks
            (queue, number, body, priority, "order", state, at, first, second, third, terms, put_at, "group")
        SELECT queue_id, f.number, f.body, f.priority, f."order",
            CASE WHEN f.terms ? 'group' THEN 4 WHEN f.due > moment THEN 1 ELSE 0 END,
            CASE WHEN f.due > moment THEN f.due END,
            pg_temp.first_of(kind, deliveries, priority),
            pg_temp.second_of(kind, "order"),
            pg_temp.third_of(kind, number),
            pg_temp.begun(f.terms, f.put_at), f.put_at, f.terms ->> 'group'
        FROM fresh f RETURNING number, state, "group", terms
    ) SELECT count(*), count(*) FILTER (WHERE n.state = 0), bool_or(n.terms ? 'ttl'),
        array_agg(n."group") FILTER (WHERE n."group" IS NOT NULL)
        INTO added, ready, any_ttl, groups FROM new n;
    IF added = 0 THEN
        RETURN;
    END IF;
    -- For the servers, a task whose number may be lower than known ones is like a task that has returned.
    INSERT INTO tqueue.returned (queue, number) SELECT queue_id, n FROM unnest(numbers) AS n;
    IF groups IS NOT NULL THEN
        lowest_number := least(lowest_number, pg_temp.lowest_return(queue_id, last_return));
        ready := ready + pg_temp.fill_places(queue_id, lowest_number, groups);
    END IF;
    IF ready > 0 THEN
        PERFORM pg_notify('tqueue', concat_ws(' ', server, 'getters', queue_name));
    END IF;
    IF any_ttl THEN
        UPDATE tqueue.queues q SET has_terms = true WHERE q.id = queue_id AND NOT q.has_terms;
    END IF;
END $$;
