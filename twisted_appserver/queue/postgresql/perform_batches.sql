-- Temporary functions for requests about many tasks: see perform_requests.sql.

-- Add batches of tasks to a queue that the transaction has locked. Each batch is added as a whole or not at all.
--
-- Arguments:
--   lowest_number         no task of the queue has a lower number
--   sizes, delays, keys, lanes, digests, waits   one element for each batch; "waits": whether it may wait for room
--   bodies, priorities, orders                   one element for each task; the last two may be empty
--
-- Rows of the result, by "what". A batch without a row has to wait:
--   put                   the batch at "place" was added
--   repeated              its key was used before, for a batch with these numbers and this digest
--   shut_down             the queue is shut down
--   too_large             there are more tasks than "maxsize", which is in "numbers"
CREATE FUNCTION pg_temp.put_batches(
    queue_id int, lowest_number int8,
    sizes int8[], delays float8[], keys text[], lanes text[], digests bytea[], waits bool[],
    bodies bytea[], priorities float8[], orders text[]
) RETURNS TABLE (what text, place int8, numbers int8[], digest bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    options jsonb; kind text; maxsize int8; moment timestamptz;
    size int8; last int8 := 0; waiting int8;
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
            SELECT k.numbers, k.digest INTO numbers, digest FROM tqueue.keys k
                WHERE k.queue = queue_id AND k.lane = lanes[i] AND k.key = keys[i] AND k.until > moment;
            IF FOUND THEN
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
                WHERE t.queue = queue_id AND t.number >= lowest_number AND t.state IN (0, 1) LIMIT maxsize
            ) w);
            EXIT WHEN waiting + size > maxsize AND waits[i];  -- the batches behind it wait too
            CONTINUE WHEN waiting + size > maxsize;
        END IF;
        WITH fresh AS (
            SELECT nextval('tqueue.numbers') AS number, 0 AS deliveries, w.* FROM (
                SELECT bodies[n] AS body, coalesce(priorities[n], 0) AS priority,
                    coalesce(orders[n], '') AS "order"
                FROM generate_series(last - size + 1, last) AS n ORDER BY n
            ) w
        ), new AS (
            INSERT INTO tqueue.tasks
                (queue, number, body, priority, "order", state, at, first, second, third)
            SELECT queue_id, f.number, f.body, f.priority, f."order",
                CASE WHEN delays[i] > 0 THEN 1 ELSE 0 END,
                CASE WHEN delays[i] > 0 THEN moment + make_interval(secs => delays[i]) END,
                pg_temp.first_of(kind, deliveries, priority),
                pg_temp.second_of(kind, "order"),
                pg_temp.third_of(kind, number)
            FROM fresh f RETURNING number
        ) SELECT array_agg(n.number ORDER BY n.number) INTO numbers FROM new n;
        IF keys[i] <> '' THEN
            INSERT INTO tqueue.keys (queue, lane, key, number, until, digest, numbers) VALUES (
                queue_id, lanes[i], keys[i], numbers[1],
                moment + make_interval(secs => (options ->> 'remember')::float8), digests[i], numbers
            ) ON CONFLICT (queue, lane) DO UPDATE
            SET key = excluded.key, number = excluded.number, until = excluded.until,
                digest = excluded.digest, numbers = excluded.numbers;
        END IF;
        what := 'put';
        RETURN NEXT;
    END LOOP;
END $$;
