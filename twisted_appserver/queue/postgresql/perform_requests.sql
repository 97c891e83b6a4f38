-- Temporary functions for the most frequent requests of a queue: done, put and get.
--
-- One function performs many requests, so that one message goes to the database and one comes back, and the queue
-- is locked for no longer than that. Each connection creates the functions in its own temporary schema: the code
-- belongs to the version of the program, and only the data stays in the database.
--
-- State of a task: 0 ready, 1 delayed, 2 leased, 3 buried. States are literals because a plan uses a partial index
-- only if the query has the constant of the index.

-- The position of a task in its queue: tasks are handed out in the order of (first, second, third).
CREATE FUNCTION pg_temp.first_of(kind text, deliveries int, priority float8) RETURNS float8
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE kind
        WHEN 'fifo' THEN 0
        WHEN 'lifo' THEN CASE WHEN deliveries > 0 THEN 0 ELSE 1 END
        WHEN 'priority' THEN priority
    END
$$;

CREATE FUNCTION pg_temp.second_of(kind text, "order" text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE kind WHEN 'priority' THEN "order" ELSE '' END
$$;

CREATE FUNCTION pg_temp.third_of(kind text, number int8) RETURNS int8
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE kind WHEN 'lifo' THEN -number ELSE number END
$$;

-- Delete the results of a queue that have expired, and all but the last ones.
CREATE FUNCTION pg_temp.delete_excess_results(queue_id int, keep_count int8) RETURNS void
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM tqueue.finished f WHERE f.queue = queue_id AND f.until < clock_timestamp()
        RETURNING f.number
    ) DELETE FROM tqueue.attempts a USING gone WHERE a.queue = queue_id AND a.number = gone.number;
    WITH gone AS (
        DELETE FROM tqueue.finished f WHERE f.queue = queue_id AND f.until <= (
            SELECT x.until FROM tqueue.finished x WHERE x.queue = queue_id
            ORDER BY x.until DESC OFFSET keep_count LIMIT 1
        ) RETURNING f.number
    ) DELETE FROM tqueue.attempts a USING gone WHERE a.queue = queue_id AND a.number = gone.number
$$;

-- Record that the last attempt of a task has ended. At most 20 of its attempts are kept.
CREATE FUNCTION pg_temp.end_attempt(
    queue_id int, number int8, attempt int, began timestamptz, "by" text, reason text, error text, traceback text
) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM tqueue.attempts a WHERE a.queue = queue_id AND a.number = end_attempt.number
    AND a.attempt <= end_attempt.attempt - 20;
    INSERT INTO tqueue.attempts VALUES (
        queue_id, number, attempt, coalesce(began, clock_timestamp()),
        coalesce(extract(epoch FROM clock_timestamp() - began), 0), "by", reason, error, traceback
    )
$$;

-- Perform requests for a queue that the transaction has locked.
--
-- Arguments:
--   lowest_number         no task of the queue has a lower number
--   no_expiry_before      no lease or delay ends before this time
-- Deleted rows stay in the indexes until the next vacuum. These two bounds avoid reading them each time.
--   max_silence           seconds; if no server has been alive for longer, leases do not end yet (heartbeat.py)
--   transaction_number    is recorded with the server, so that the server can find out whether it was committed;
--                         0 for not recording it here
-- An array may be empty if all its elements have the usual value.
--
-- Rows of the result, by "what":
--   done            a task that was deleted
--   put             the number of a new task, in the order of the requests
--   repeated_put    the key was used before; "place" is the index of the request, "body" the digest of the first body
--   get             a task that was leased for the request at "place"
--   repeated_get    the same, if the request with this key has leased it before
--   shut_down       no put was accepted
--   drained         no get without a task will ever receive one
--   returned        how many leases ended, in "number"
--   changed         something has changed for the waiters named in "order"
--   lowest_number, no_expiry_before   the bounds for the next call, in "number" and "lease"
--
-- Each statement of the function sees everything that was committed before it (PostgreSQL manual, sections 13.2.1
-- and 38.7). Plans are made while the table is still empty, and kept. Therefore rows are looked up by conditions
-- that only one index can serve, or by ctid, which cannot change while the queue is locked.
CREATE FUNCTION pg_temp.perform_requests(
    queue_id int, server text, transaction_number int8, lowest_number int8, no_expiry_before float8,
    max_silence float8,
    done_numbers int8[], done_deliveries int8[], done_results bytea[],
    put_bodies bytea[], put_priorities float8[], put_orders text[], put_delays float8[],
    put_keys text[], put_lanes text[], put_digests bytea[],
    get_count int8, get_leases float8[], get_holders text[], get_by text[]
) RETURNS TABLE (
    what text, place int8, number int8, body bytea, priority float8, "order" text, deliveries int,
    holder text, lease float8
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    options jsonb; queue_name text; kind text; is_shut_down bool; max_deliveries int8; maxsize int8;
    usual_lease float8; keep float8; keep_count int8; moment timestamptz;
    attempt int; began timestamptz; leased_by text;
    repeated int8[]; added int8[]; room int8; fresh_gets int8[]; many int8; changed text[] := '{}';
    lowest_first float8 := '-Infinity'; next_no_expiry_before float8; leases_end bool; state int;
BEGIN
    SELECT q.config::jsonb, q.name INTO options, queue_name FROM tqueue.queues q WHERE q.id = queue_id;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'the queue has been deleted';
    END IF;
    kind := options ->> 'kind';
    IF kind = 'fifo' THEN
        lowest_first := 0;
    END IF;
    is_shut_down := options ->> 'shutdown' <> '';
    maxsize := options ->> 'maxsize';
    max_deliveries := options ->> 'max_deliveries';
    usual_lease := options ->> 'lease';
    keep := options ->> 'keep';
    moment := clock_timestamp();
    -- A clock that is set back by up to a second is not noticed, so the next call looks a second further back.
    next_no_expiry_before := extract(epoch FROM moment) - 1;
    IF no_expiry_before > next_no_expiry_before THEN  -- the clock was set back
        no_expiry_before := 0;
    END IF;
    leases_end := (SELECT m.alive FROM tqueue.meta m) > moment - make_interval(secs => max_silence);
    IF leases_end IS NOT TRUE THEN  -- no server was there to renew leases: they are prolonged first
        next_no_expiry_before := no_expiry_before;
    END IF;

    -- Leases and delays that have ended, at most 10,000 at once.
    IF EXISTS (
        SELECT FROM tqueue.tasks t
        WHERE t.queue = queue_id AND t.state IN (1, 2)
        AND t.at BETWEEN to_timestamp(no_expiry_before) AND moment AND (leases_end OR t.state = 1)
    ) THEN
        WITH due AS (
            SELECT t.ctid AS id, t.state AS was FROM tqueue.tasks t
            WHERE t.queue = queue_id AND t.state IN (1, 2)
            AND t.at BETWEEN to_timestamp(no_expiry_before) AND moment AND (leases_end OR t.state = 1)
            ORDER BY t.at LIMIT 10000
        ), back AS (
            UPDATE tqueue.tasks t SET at = NULL, holder = '', attempts = attempts + (due.was = 2)::int,
                first = pg_temp.first_of(kind, deliveries, priority),
                second = pg_temp.second_of(kind, "order"),
                third = pg_temp.third_of(kind, number),
                state = CASE WHEN due.was = 2 AND max_deliveries > 0 AND deliveries >= max_deliveries
                    THEN 3 ELSE 0 END
            FROM due WHERE t.ctid = due.id RETURNING due.was, t.number, t.attempts, t.began, t."by"
        ), noted AS (
            SELECT pg_temp.end_attempt(queue_id, b.number, b.attempts, b.began, b."by", 'expired', '', '')
            FROM back b WHERE b.was = 2
        ) SELECT count(*) FILTER (WHERE was = 2), count(*), (SELECT count(*) FROM noted)
            INTO number, many, attempt FROM back;
        IF many = 10000 THEN
            next_no_expiry_before := no_expiry_before;
        END IF;
        what := 'returned';
        RETURN NEXT;
        changed := changed || 'getters'::text;
        IF number > 0 AND max_deliveries > 0 THEN  -- perhaps all remaining tasks are buried
            changed := changed || 'joiners'::text;
        END IF;
    END IF;

    IF done_numbers <> '{}' THEN
        what := 'done';
        FOR i IN 1 .. cardinality(done_numbers) LOOP
            -- "state + 0" keeps the planner from walking through all leased tasks.
            DELETE FROM tqueue.tasks t WHERE t.queue = queue_id AND t.number = done_numbers[i]
                AND t.state + 0 = 2 AND coalesce(done_deliveries[i], 0) IN (0, t.deliveries)
                RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder, t.attempts, t.began,
                    t."by"
                INTO number, body, priority, "order", deliveries, holder, attempt, began, leased_by;
            IF FOUND THEN
                RETURN NEXT;
                IF keep > 0 THEN
                    INSERT INTO tqueue.finished VALUES (queue_id, number, 'done', coalesce(done_results[i], ''),
                        '', moment, moment + make_interval(secs => keep));
                    PERFORM pg_temp.end_attempt(queue_id, number, attempt + 1, began, leased_by, 'done', '', '');
                ELSIF attempt > 0 THEN
                    DELETE FROM tqueue.attempts a WHERE a.queue = queue_id AND a.number = done_numbers[i];
                END IF;
            END IF;
        END LOOP;
        IF keep > 0 THEN
            changed := changed || 'results'::text;
            keep_count := options ->> 'keep_count';
            -- Now and then, because this reads past all results that stay: about ten for each done.
            IF random() < cardinality(done_numbers) / greatest(1.0, keep_count / 10.0) THEN
                PERFORM pg_temp.delete_excess_results(queue_id, keep_count);
            END IF;
        END IF;
        SELECT t.number, t.state INTO number, state FROM tqueue.tasks t
            WHERE t.queue = queue_id AND t.number >= lowest_number ORDER BY t.number LIMIT 1;
        IF NOT FOUND THEN
            changed := changed || 'joiners'::text;
            number := (SELECT last_value FROM tqueue.numbers);
        ELSIF state = 3 AND NOT EXISTS (
            SELECT FROM tqueue.tasks t WHERE t.queue = queue_id AND t.number >= number AND t.state + 0 <> 3
        ) THEN
            changed := changed || 'joiners'::text;
        END IF;
        what := 'lowest_number';
        RETURN NEXT;
    END IF;

    IF put_bodies <> '{}' THEN
        IF put_keys <> '{}' THEN
            repeated := ARRAY(
                SELECT (
                    SELECT k.number FROM tqueue.keys k WHERE k.queue = queue_id AND k.lane = w.lane
                    AND w.key <> '' AND k.key = w.key AND k.until > moment
                ) FROM unnest(put_keys, put_lanes) WITH ORDINALITY AS w(key, lane, place) ORDER BY w.place
            );
            what := 'repeated_put';
            FOR i IN 1 .. cardinality(repeated) LOOP
                CONTINUE WHEN repeated[i] IS NULL;
                SELECT i, repeated[i], k.digest INTO place, number, body
                    FROM tqueue.keys k WHERE k.queue = queue_id AND k.lane = put_lanes[i];
                RETURN NEXT;
            END LOOP;
            body := NULL;
        END IF;
        IF is_shut_down THEN
            what := 'shut_down';
            RETURN NEXT;
            room := 0;
        ELSIF maxsize > 0 THEN
            room := greatest(0, maxsize - (SELECT count(*) FROM (
                SELECT FROM tqueue.tasks t
                WHERE t.queue = queue_id AND t.number >= lowest_number AND t.state IN (0, 1) LIMIT maxsize
            ) waiting));
        END IF;
        WITH fresh AS (
            SELECT nextval('tqueue.numbers') AS number, 0 AS deliveries, w.* FROM (
                SELECT u.body, coalesce(u.priority, 0) AS priority, coalesce(u."order", '') AS "order",
                    u.delay
                FROM unnest(put_bodies, put_priorities, put_orders, put_delays)
                    WITH ORDINALITY AS u(body, priority, "order", delay, place)
                WHERE repeated[u.place] IS NULL ORDER BY u.place LIMIT room
            ) w
        ), new AS (
            INSERT INTO tqueue.tasks
                (queue, number, body, priority, "order", state, at, first, second, third)
            SELECT queue_id, f.number, f.body, f.priority, f."order",
                CASE WHEN f.delay > 0 THEN 1 ELSE 0 END,
                CASE WHEN f.delay > 0 THEN moment + make_interval(secs => f.delay) END,
                pg_temp.first_of(kind, deliveries, priority),
                pg_temp.second_of(kind, "order"),
                pg_temp.third_of(kind, number)
            FROM fresh f RETURNING number, state
        ) SELECT coalesce(array_agg(n.number ORDER BY n.number), '{}'),
            count(*) FILTER (WHERE n.state = 0) INTO added, many FROM new n;
        what := 'put';
        FOREACH number IN ARRAY added LOOP
            RETURN NEXT;
        END LOOP;
        IF put_keys <> '{}' THEN  -- of each lane, the last key is remembered
            INSERT INTO tqueue.keys SELECT DISTINCT ON (w.lane) queue_id, w.lane, w.key, w.number,
                moment + make_interval(secs => (options ->> 'remember')::float8), put_digests[w.place]
            FROM (
                SELECT u.*, added[row_number() OVER (ORDER BY u.place)] AS number
                FROM unnest(put_keys, put_lanes) WITH ORDINALITY AS u(key, lane, place)
                WHERE repeated[u.place] IS NULL
            ) w WHERE w.key <> '' AND w.number IS NOT NULL ORDER BY w.lane, w.place DESC
            ON CONFLICT (queue, lane) DO UPDATE
            SET key = excluded.key, number = excluded.number, until = excluded.until,
                digest = excluded.digest;
        END IF;
        IF many > 0 THEN
            changed := changed || 'getters'::text;
        END IF;
    END IF;

    IF get_count > 0 THEN
        what := 'repeated_get';
        fresh_gets := ARRAY(
            SELECT n FROM generate_series(1, get_count) AS n WHERE NOT EXISTS (
                SELECT FROM tqueue.tasks t WHERE t.queue = queue_id AND t.holder <> ''
                AND t.holder = get_holders[n] OFFSET 0
            ) ORDER BY n
        );
        FOR i IN 1 .. get_count LOOP
            EXIT WHEN cardinality(fresh_gets) = get_count;
            CONTINUE WHEN i = ANY (fresh_gets);
            UPDATE tqueue.tasks t SET at = clock_timestamp() + make_interval(secs =>
                    coalesce(get_leases[i], usual_lease))
                WHERE t.ctid = (
                    SELECT x.ctid FROM tqueue.tasks x
                    WHERE x.queue = queue_id AND x.holder <> '' AND x.holder = get_holders[i] LIMIT 1
                )
                RETURNING i, t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
                    extract(epoch FROM t.at)
                INTO place, number, body, priority, "order", deliveries, holder, lease;
            RETURN NEXT;  -- the first response was lost: the same task again, with a new lease
        END LOOP;
        IF options ->> 'paused' = 'true' THEN
            fresh_gets := '{}';
        END IF;
        RETURN QUERY UPDATE tqueue.tasks t SET state = 2, deliveries = t.deliveries + 1,
                holder = coalesce(get_holders[p.place], ''), began = moment,
                "by" = coalesce(get_by[p.place], ''), at = moment + make_interval(secs =>
                    coalesce(get_leases[p.place], usual_lease))
            FROM (
                SELECT f.id, fresh_gets[row_number() OVER (ORDER BY f.first, f.second, f.third)] AS place
                FROM (
                    SELECT t.ctid AS id, t.first, t.second, t.third FROM tqueue.tasks t
                    WHERE t.queue = queue_id AND t.state = 0
                    AND (t.first, t.second, t.third) >= (lowest_first, '', lowest_number)
                    ORDER BY t.first, t.second, t.third LIMIT cardinality(fresh_gets)
                ) f
            ) p
            WHERE t.ctid = p.id
            RETURNING 'get', p.place, t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
                extract(epoch FROM t.at)::float8;
        GET DIAGNOSTICS many = ROW_COUNT;
        IF many > 0 AND maxsize > 0 THEN
            changed := changed || 'putters'::text;
        END IF;
        IF many < cardinality(fresh_gets) AND is_shut_down AND NOT EXISTS (
            SELECT FROM tqueue.tasks t
            WHERE t.queue = queue_id AND t.number >= lowest_number AND t.state IN (0, 1)
        ) THEN
            what := 'drained';
            RETURN NEXT;
            changed := changed || 'getters'::text;
        END IF;
    END IF;

    what := 'no_expiry_before';
    lease := next_no_expiry_before;
    RETURN NEXT;
    what := 'changed';
    FOREACH "order" IN ARRAY changed LOOP
        RETURN NEXT;
        PERFORM pg_notify('tqueue', concat_ws(' ', server, "order", queue_name));
    END LOOP;
    IF transaction_number > 0 AND pg_current_xact_id_if_assigned() IS NOT NULL THEN
        INSERT INTO tqueue.commits VALUES (server, transaction_number);
    END IF;
END $$;
