-- Temporary functions for the unique keys of tasks: see perform_batches.sql.

-- Return for each key: the number of the task that has it; the index of an earlier element with the same key, as a
-- negative number; NULL if the key is free or empty. Buried tasks do not count.
--
-- "state + 0" and "number + 0" keep the planner from walking through all tasks.
CREATE FUNCTION pg_temp.find_unique(queue_id int, keys text[]) RETURNS int8[]
LANGUAGE sql AS $$
    SELECT array_agg(CASE WHEN k.key <> '' THEN coalesce(
        (
            SELECT t.number FROM tqueue.tasks t WHERE t.queue = queue_id AND t.terms ->> 'unique' = k.key
            AND t.terms ->> 'unique' IS NOT NULL AND t.state + 0 <> 3 ORDER BY t.number + 0 LIMIT 1
        ), (
            SELECT x.number FROM tqueue.taken x
            WHERE x.queue = queue_id AND x.key = k.key AND x.until > clock_timestamp()
        ),
        CASE WHEN k.first < k.place THEN -k.first END
    ) END ORDER BY k.place)
    FROM (
        SELECT u.key, u.place, min(u.place) OVER (PARTITION BY u.key) AS first
        FROM unnest(keys) WITH ORDINALITY AS u(key, place)
    ) k
$$;

-- Take keys beyond the end of tasks that were added at this moment. "seconds": for how long; 0 for not at all.
CREATE FUNCTION pg_temp.take_keys(queue_id int, keys text[], seconds float8[], numbers int8[], moment timestamptz)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO tqueue.taken
    SELECT queue_id, k.key, k.number, CASE WHEN k.seconds = 'Infinity' THEN 'infinity'
        ELSE moment + make_interval(secs => k.seconds) END
    FROM unnest(keys, seconds, numbers) AS k(key, seconds, number)
    WHERE k.key <> '' AND k.seconds > 0 AND k.number IS NOT NULL
    ON CONFLICT (queue, key) DO UPDATE SET number = excluded.number, until = excluded.until
$$;
