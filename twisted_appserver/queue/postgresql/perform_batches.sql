-- Temporary functions for requests about many tasks: see perform_requests.sql.

-- Add batches of tasks to a queue that the transaction has locked. Each batch is added as a whole or not at all.
--
-- Arguments:
--   lowest_number, lowest_waiting   see perform_requests.sql
--   sizes, delays, keys, lanes, digests, waits, terms   one element for each batch; "waits": whether it may wait for room
--   bodies, priorities, orders                   one element for each task; the last two may be empty
--   uniques, unique_for                          the same; empty if no task has a unique key
--
-- Rows of the result, by "what". A batch without a row has to wait:
--   put                   the batch at "place" was added
--   repeated              its key was used before, for a batch with these numbers and this digest; the numbers of
--                         tasks that existed before it are negative
--   shut_down             the queue is shut down
--   too_large             there are more tasks than "maxsize", which is in "numbers"
CREATE FUNCTION pg_temp.put_batches(
    queue_id int, lowest_number int8, lowest_waiting int8,
    sizes int8[], delays float8[], keys text[], lanes text[], digests bytea[], waits bool[],
    bodies bytea[], priorities float8[], orders text[], terms jsonb[],
    uniques text[], unique_for float8[]
) RETURNS TABLE (what text, place int8, numbers int8[], digest bytea, existing int8[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    options jsonb; kind text; maxsize int8; moment timestamptz;
    size int8; last int8 := 0; waiting int8; taken_by int8[]; added int8[]; fresh int8;
BEGIN
    SELECT q.config::jsonb INTO options FROM tqueue.queues q WHERE q.id = queue_id;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'the queue has been deleted';
    END IF;
    kind := options ->> 'kind';
    maxsize := options ->> 'maxsize';
    moment := clock_timestamp();
    FOR i IN 1 .. cardinality(sizes) LOOP
        place := i;
        size := sizes[i];
        last := last + size;
        IF keys[i] <> '' THEN
            what := 'repeated';
            SELECT coalesce(k.numbers, ARRAY[k.number]), k.digest INTO numbers, digest FROM tqueue.keys k
                WHERE k.queue = queue_id AND k.lane = lanes[i] AND k.key = keys[i] AND k.until > moment;
            IF FOUND THEN
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        fresh := size;
        IF uniques <> '{}' THEN
            taken_by := pg_temp.find_unique(queue_id, uniques[last - size + 1 : last]);
            existing := ARRAY(SELECT n FROM generate_series(1, size) AS n WHERE taken_by[n] IS NOT NULL);
            fresh := size - cardinality(existing);
            IF fresh = 0 THEN
                what := 'put';
                numbers := taken_by;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        IF options ->> 'shutdown' <> '' THEN
            what := 'shut_down';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF maxsize > 0 THEN
            IF size > maxsize THEN
                what := 'too_large';
                numbers := ARRAY[maxsize];
                RETURN NEXT;
                CONTINUE;
            END IF;
            waiting := (SELECT count(*) FROM (
                SELECT FROM tqueue.tasks t
                WHERE t.queue = queue_id AND t.number >= lowest_waiting AND t.state + 0 IN (0, 1, 4) LIMIT maxsize
            ) w);
            EXIT WHEN waiting + fresh > maxsize AND waits[i];  -- the batches behind it wait too
            CONTINUE WHEN waiting + fresh > maxsize;
        END IF;
        WITH fresh AS (
            SELECT nextval('tqueue.numbers') AS number, 0 AS deliveries, w.* FROM (
                SELECT bodies[n] AS body, coalesce(priorities[n], 0) AS priority,
                    coalesce(orders[n], '') AS "order",
                    CASE WHEN uniques[n] <> '' THEN jsonb_build_object('unique', uniques[n]) END AS "unique"
                FROM generate_series(last - size + 1, last) AS n WHERE taken_by[n - last + size] IS NULL ORDER BY n
            ) w
        ), new AS (
            INSERT INTO tqueue.tasks
                (queue, number, body, priority, "order", state, at, first, second, third, terms, put_at, "group")
            SELECT queue_id, f.number, f.body, f.priority, f."order",
                CASE WHEN put_batches.terms[i] ? 'group' THEN 4 WHEN delays[i] > 0 THEN 1 ELSE 0 END,
                CASE WHEN delays[i] > 0 THEN moment + make_interval(secs => delays[i]) END,
                pg_temp.first_of(kind, deliveries, priority),
                pg_temp.second_of(kind, "order"),
                pg_temp.third_of(kind, number),
                CASE WHEN f."unique" IS NULL THEN pg_temp.begun(put_batches.terms[i], moment)
                    ELSE coalesce(pg_temp.begun(put_batches.terms[i], moment), '{}') || f."unique" END, moment,
                put_batches.terms[i] ->> 'group'
            FROM fresh f RETURNING number
        ) SELECT array_agg(n.number ORDER BY n.number) INTO numbers FROM new n;
        IF uniques <> '{}' THEN
            added := numbers;
            FOR n IN 1 .. size LOOP
                numbers[n] := CASE WHEN taken_by[n] < 0 THEN numbers[-taken_by[n]]
                    ELSE coalesce(taken_by[n], added[1]) END;
                IF taken_by[n] IS NULL THEN
                    added := added[2:];
                ELSE
                    unique_for[last - size + n] := 0;  -- its key was taken by another task
                END IF;
            END LOOP;
            PERFORM pg_temp.take_keys(
                queue_id, uniques[last - size + 1 : last], unique_for[last - size + 1 : last], numbers, moment
            );
        END IF;
        IF keys[i] <> '' THEN
            INSERT INTO tqueue.keys (queue, lane, key, number, until, digest, numbers) VALUES (
                queue_id, lanes[i], keys[i], numbers[1],
                moment + make_interval(secs => (options ->> 'remember')::float8), digests[i],
                ARRAY(SELECT CASE WHEN n = ANY (existing) THEN -numbers[n] ELSE numbers[n] END
                    FROM generate_series(1, size) AS n ORDER BY n)
            ) ON CONFLICT (queue, lane) DO UPDATE
            SET key = excluded.key, number = excluded.number, until = excluded.until,
                digest = excluded.digest, numbers = excluded.numbers;
        END IF;
        IF put_batches.terms[i] IS NOT NULL THEN
            UPDATE tqueue.queues q SET has_terms = true
                WHERE q.id = queue_id AND NOT q.has_terms AND put_batches.terms[i] ? 'ttl';
            PERFORM pg_temp.fill_places(queue_id, lowest_number, ARRAY[put_batches.terms[i] ->> 'group']);
        END IF;
        what := 'put';
        RETURN NEXT;
    END LOOP;
END $$;
