-- Temporary functions for tasks that programs have put in their own transactions (tqueue.put): see outbox.py.
--
-- The rows of a transaction become visible at its commit, in any order of their numbers. So each connection keeps a
-- snapshot, and looks only for rows of transactions that had not ended then. This also skips all rows that were
-- deleted since the last vacuum.

-- Look for rows that were committed since a snapshot, and for queues whose lowest number is lower than known.
--
-- Arguments:
--   seen                  the snapshot; all rows of transactions that it contains are known
--   ids, late_counts      queues, and how many moves are known of each
--
-- Rows of the result, by "what":
--   snapshot              the snapshot for the next call, in "name"
--   rows                  the queue "name" has new rows, of these transactions; NULL for too many transactions
--   late                  the queue "id" had "late_count" moves, and no task has a number below "late_number"
CREATE FUNCTION pg_temp.look_into_outbox(seen pg_snapshot, ids int[], late_counts int8[])
RETURNS TABLE (what text, name text, xids text[], id int, late_count int8, late_number int8) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    running xid8[] := ARRAY(SELECT pg_snapshot_xip(seen)); new bool;
BEGIN
    what := 'snapshot';
    name := pg_current_snapshot()::text;
    RETURN NEXT;
    new := EXISTS (SELECT FROM tqueue.outbox o WHERE o.xid >= pg_snapshot_xmax(seen))
        OR running <> '{}' AND EXISTS (SELECT FROM tqueue.outbox o WHERE o.xid = ANY (running));
    IF new THEN
        RETURN QUERY SELECT 'rows', n.queue, CASE WHEN count(*) <= 1000 THEN array_agg(n.xid::text) END,
            NULL::int, NULL::int8, NULL::int8
            FROM (
                SELECT o.queue, o.xid FROM tqueue.outbox o WHERE o.xid >= pg_snapshot_xmax(seen)
                UNION SELECT o.queue, o.xid FROM tqueue.outbox o WHERE o.xid = ANY (running)
            ) n GROUP BY n.queue;
    END IF;
    RETURN QUERY SELECT 'late', NULL, NULL::text[], q.id, q.late_count, q.late_number
        FROM unnest(ids, late_counts) AS k(id, late_count) JOIN tqueue.queues q ON q.id = k.id
        WHERE q.late_count <> k.late_count;
END $$;

-- Move tasks from the outbox into their queue, which the transaction has locked, in the order of their numbers. They
-- enter even if the queue is full or shut down.
--
-- Arguments:
--   xids            the transactions whose tasks are moved; NULL for all
--   most            the maximum number of tasks
--   lowest_number   no task of the queue has a lower number
--
-- Result: how many rows were taken, how many tasks were added, how many are ready now, and the bound for the lowest
-- number with the count of moves that it takes into account. Unique keys that are taken make the difference.
CREATE FUNCTION pg_temp.move_outbox(queue_id int, xids xid8[], most int8, INOUT lowest_number int8,
    OUT taken int8, OUT added int8, OUT ready int8, OUT late_count int8)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    queue_name text; kind text; moment timestamptz := clock_timestamp();
    ids tid[]; numbers int8[]; uniques text[]; unique_for float8[]; owners int8[]; groups text[]; first_number int8;
    any_ttl bool;
BEGIN
    added := 0;
    ready := 0;
    SELECT q.name, q.config::jsonb ->> 'kind', q.late_count INTO queue_name, kind, late_count
        FROM tqueue.queues q WHERE q.id = queue_id;
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
    ) SELECT min(n.number), count(*), count(*) FILTER (WHERE n.state = 0), bool_or(n.terms ? 'ttl'),
        array_agg(n."group") FILTER (WHERE n."group" IS NOT NULL)
        INTO first_number, added, ready, any_ttl, groups FROM new n;
    IF first_number IS NULL THEN
        RETURN;
    END IF;
    lowest_number := least(lowest_number, first_number);
    -- For the servers, a task whose number may be lower than known ones is like a task that has returned.
    INSERT INTO tqueue.returned (queue, number) SELECT queue_id, n FROM unnest(numbers) AS n;
    IF groups IS NOT NULL THEN
        ready := ready + pg_temp.fill_places(queue_id, lowest_number, groups);
    END IF;
    UPDATE tqueue.queues q SET late_count = q.late_count + 1, late_number = lowest_number,
        has_terms = q.has_terms OR coalesce(any_ttl, false) WHERE q.id = queue_id RETURNING q.late_count INTO late_count;
END $$;
