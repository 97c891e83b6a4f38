-- Temporary functions for the most frequent requests of a queue: done, put and get.
--
-- One function performs many requests, so that one message goes to the database and one comes back, and the queue
-- is locked for no longer than that. Each connection creates the functions in its own temporary schema: the code
-- belongs to the version of the program, and only the data stays in the database.
--
-- State of a task: 0 ready, 1 delayed, 2 leased, 3 buried, 4 held. States are literals because a plan uses a partial index
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

-- Return the lowest number of the tasks of a queue that wait again since a return (migration 14); NULL for none.
CREATE FUNCTION pg_temp.lowest_return(queue_id int, last_return int8) RETURNS int8 LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT r.last_value FROM tqueue.returns r) > last_return + 10000 THEN  -- some are not recorded any more
        RETURN 0;
    END IF;
    RETURN (SELECT min(r.number) FROM tqueue.returned r WHERE r.queue = queue_id AND r.id > last_return);
END $$;

-- Perform requests for a queue that the transaction has locked.
--
-- Arguments:
--   lowest_number         every task of the queue with a lower number is buried
--   lowest_waiting        no ready, delayed or held task of the queue has a lower number
--   last_return           the last return of a task that these two take into account (migration 14)
--   front                 where the ready tasks are (ready_tasks.sql); empty if that is unknown
--   no_expiry_before      no lease or delay ends before this time
-- Deleted rows stay in the indexes until the next vacuum. These bounds avoid reading them each time.
--   max_silence           seconds; if no server has been alive for longer, leases do not end yet (heartbeat.py)
--   transaction_number    is recorded with the server, so that the server can find out whether it was committed;
--                         0 for not recording it here
--   seen                  a snapshot: all rows of the outbox that were visible in it are known; NULL for not looking
-- An array may be empty if all its elements have the usual value.
--
-- Rows of the result, by "what":
--   outbox          the first row, if "seen" was given; "number" is 1 if the outbox has new rows, and then nothing
--                   was performed; otherwise 0, and "holder" is the snapshot for the next call
--   done            a task that was deleted
--   put             the number of a new task, in the order of the requests
--   repeated_put    the key was used before; "place" is the index of the request, "body" the digest of the first body
--   get             a task that was leased for the request at "place"; "trace" has its terms if it has a trace
--   repeated_get    the same, if the request with this key has leased it before
--   shut_down       no put was accepted
--   drained         no get without a task will ever receive one
--   paced           a get may succeed after so many seconds, in "lease": the queue has a rate
--   returned        how many leases ended, in "number"
--   expired         how many times to live ended, in "number"
--   changed         something has changed for the waiters named in "order"
--   jumped          the clock was set since a server last recorded that it is alive, or none was for "max_silence"
--   lowest_number, lowest_waiting, last_return   the bounds for the next call, in "number"
--   no_expiry_before, front                      the same, in "lease" and "holder"
--
-- Each statement of the function sees everything that was committed before it (PostgreSQL manual, sections 13.2.1
-- and 38.7). Plans are made while the table is still empty, and kept. Therefore rows are looked up by conditions
-- that only one index can serve, or by ctid, which cannot change while the queue is locked.
CREATE FUNCTION pg_temp.perform_requests(
    queue_id int, server text, transaction_number int8, seen pg_snapshot,
    lowest_number int8, lowest_waiting int8, last_return int8, front text, no_expiry_before float8, max_silence float8,
    done_numbers int8[], done_deliveries int8[], done_results bytea[],
    put_bodies bytea[], put_priorities float8[], put_orders text[], put_delays float8[],
    put_keys text[], put_lanes text[], put_digests bytea[], put_terms jsonb[],
    get_count int8, get_leases float8[], get_holders text[], get_by text[]
) RETURNS TABLE (
    what text, place int8, number int8, body bytea, priority float8, "order" text, deliveries int,
    holder text, lease float8, trace jsonb
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    options jsonb; queue_name text; kind text; is_shut_down bool; max_deliveries int8; maxsize int8;
    usual_lease float8; keep float8; keep_count int8; moment timestamptz; alive timestamptz;
    attempt int; began timestamptz; leased_by text;
    repeated int8[]; added int8[]; room int8; fresh_gets int8[]; many int8; changed text[] := '{}';
    has_terms bool; next_no_expiry_before float8; leases_end bool; now_returned int8; ids tid[];
    last_delivery timestamptz; due timestamptz; group_name text; groups text[] := '{}';
BEGIN
    SELECT q.config::jsonb, q.name, q.has_terms, q.last_delivery
        INTO options, queue_name, has_terms, last_delivery
        FROM tqueue.queues q WHERE q.id = queue_id;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'the queue has been deleted';
    END IF;
    IF seen IS NOT NULL THEN
        what := 'outbox';
        holder := pg_current_snapshot()::text;
        number := pg_temp.is_outbox_new(seen)::int;
        RETURN NEXT;
        IF number > 0 THEN
            RETURN;
        END IF;
        holder := NULL;
    END IF;
    kind := options ->> 'kind';
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
    SELECT m.alive INTO alive FROM tqueue.meta m;
    leases_end := alive > moment - make_interval(secs => max_silence);
    IF leases_end IS NOT TRUE OR alive > moment + interval '1 second' THEN
        what := 'jumped';
        RETURN NEXT;
    END IF;
    IF leases_end IS NOT TRUE THEN  -- no server was there to renew leases: they are prolonged first
        next_no_expiry_before := no_expiry_before;
    END IF;

    -- Tasks that wait again.
    now_returned := (SELECT r.last_value - (NOT r.is_called)::int FROM tqueue.returns r);
    IF now_returned > last_return THEN
        number := pg_temp.lowest_return(queue_id, last_return);
        lowest_number := least(lowest_number, number);
        lowest_waiting := least(lowest_waiting, number);
        what := 'lowest_number';
        number := lowest_number;
        RETURN NEXT;
        what := 'lowest_waiting';
        number := lowest_waiting;
        RETURN NEXT;
        what := 'last_return';
        number := now_returned;
        RETURN NEXT;
    END IF;

    -- Leases and delays that have ended, at most 10,000 at once.
    -- The order makes sure that an index of times is used, even if the table seems to be empty.
    IF (
        SELECT t.at FROM tqueue.tasks t
        WHERE t.queue = queue_id AND t.state IN (1, 2)
        AND t.at BETWEEN to_timestamp(no_expiry_before) AND moment AND (leases_end OR t.state = 1)
        ORDER BY t.at LIMIT 1
    ) IS NOT NULL THEN
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
                state = CASE WHEN due.was = 2 AND pg_temp.is_spent(deliveries, terms, max_deliveries)
                    THEN 3 ELSE 0 END
            FROM due WHERE t.ctid = due.id RETURNING due.was, t.number, t.attempts, t.began, t."by", t.state, t."group"
        ), noted AS (
            SELECT pg_temp.end_attempt(queue_id, b.number, b.attempts, b.began, b."by", 'expired', '', '')
            FROM back b WHERE b.was = 2
        ) SELECT count(*) FILTER (WHERE was = 2), count(*), (SELECT count(*) FROM noted),
            array_agg(b."group") FILTER (WHERE b.state = 3 AND b."group" IS NOT NULL),
            least(lowest_waiting, min(b.number))
            INTO number, many, attempt, groups, lowest_waiting FROM back b;
        IF groups IS NOT NULL THEN
            PERFORM pg_temp.fill_places(queue_id, lowest_number, groups);
        END IF;
        IF many = 10000 THEN
            next_no_expiry_before := no_expiry_before;
        END IF;
        what := 'returned';
        RETURN NEXT;
        changed := changed || 'getters'::text;
        IF number > 0 THEN  -- perhaps all remaining tasks are buried
            changed := changed || 'joiners'::text;
        END IF;
    END IF;
    IF has_terms THEN
        number := pg_temp.end_lifetimes(queue_id, keep, moment);
        IF number > 0 THEN
            what := 'expired';
            RETURN NEXT;
            changed := changed || 'all'::text;
        END IF;
    END IF;

    IF done_numbers <> '{}' THEN
        what := 'done';
        groups := '{}';
        FOR i IN 1 .. cardinality(done_numbers) LOOP
            -- "state + 0" keeps the planner from walking through all leased tasks.
            DELETE FROM tqueue.tasks t WHERE t.queue = queue_id AND t.number = done_numbers[i]
                AND t.state + 0 = 2 AND coalesce(done_deliveries[i], 0) IN (0, t.deliveries)
                RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder, t.attempts, t.began,
                    t."by", t."group"
                INTO number, body, priority, "order", deliveries, holder, attempt, began, leased_by, group_name;
            IF FOUND THEN
                RETURN NEXT;
                IF group_name IS NOT NULL THEN
                    groups := groups || group_name;
                END IF;
                IF keep > 0 THEN
                    INSERT INTO tqueue.finished VALUES (queue_id, number, 'done', coalesce(done_results[i], ''),
                        '', moment, moment + make_interval(secs => keep));
                    PERFORM pg_temp.end_attempt(queue_id, number, attempt + 1, began, leased_by, 'done', '', '');
                ELSIF attempt > 0 THEN
                    DELETE FROM tqueue.attempts a WHERE a.queue = queue_id AND a.number = done_numbers[i];
                END IF;
            END IF;
        END LOOP;
        IF groups <> '{}' AND pg_temp.fill_places(queue_id, lowest_number, groups) > 0 THEN
            changed := changed || 'getters'::text;
        END IF;
        IF keep > 0 THEN
            changed := changed || 'results'::text;
            keep_count := options ->> 'keep_count';
            -- Now and then, because this reads past all results that stay: about ten for each done.
            IF random() < cardinality(done_numbers) / greatest(1.0, keep_count / 10.0) THEN
                PERFORM pg_temp.delete_excess_results(queue_id, keep_count);
            END IF;
        END IF;
        number := (
            SELECT t.number FROM tqueue.tasks t
            WHERE t.queue = queue_id AND t.number >= lowest_number AND t.state + 0 <> 3 ORDER BY t.number LIMIT 1
        );
        IF number IS NULL THEN
            changed := changed || 'joiners'::text;
            number := (SELECT last_value FROM tqueue.numbers);
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
            SELECT count(*), min(w.number) INTO many, number FROM (
                SELECT t.number FROM tqueue.tasks t
                WHERE t.queue = queue_id AND t.number >= lowest_waiting AND t.state + 0 IN (0, 1, 4)
                ORDER BY t.number LIMIT maxsize
            ) w;
            room := maxsize - many;
            what := 'lowest_waiting';
            number := coalesce(number, (SELECT last_value FROM tqueue.numbers));
            RETURN NEXT;
        END IF;
        WITH fresh AS (
            SELECT nextval('tqueue.numbers') AS number, 0 AS deliveries, w.* FROM (
                SELECT u.body, coalesce(u.priority, 0) AS priority, coalesce(u."order", '') AS "order",
                    u.delay, u.terms
                FROM unnest(put_bodies, put_priorities, put_orders, put_delays, put_terms)
                    WITH ORDINALITY AS u(body, priority, "order", delay, terms, place)
                WHERE repeated[u.place] IS NULL ORDER BY u.place LIMIT room
            ) w
        ), new AS (
            INSERT INTO tqueue.tasks
                (queue, number, body, priority, "order", state, at, first, second, third, terms, put_at, "group")
            SELECT queue_id, f.number, f.body, f.priority, f."order",
                CASE WHEN f.terms ? 'group' THEN 4 WHEN f.delay > 0 THEN 1 ELSE 0 END,
                CASE WHEN f.delay > 0 THEN moment + make_interval(secs => f.delay) END,
                pg_temp.first_of(kind, deliveries, priority),
                pg_temp.second_of(kind, "order"),
                pg_temp.third_of(kind, number),
                CASE WHEN f.terms IS NOT NULL THEN pg_temp.begun(f.terms, moment) END, moment,
                f.terms ->> 'group'
            FROM fresh f RETURNING number, state, "group"
        ) SELECT coalesce(array_agg(n.number ORDER BY n.number), '{}'),
            count(*) FILTER (WHERE n.state = 0), array_agg(n."group") FILTER (WHERE n."group" IS NOT NULL)
            INTO added, many, groups FROM new n;
        IF groups IS NOT NULL THEN
            many := many + pg_temp.fill_places(queue_id, lowest_number, groups);
        END IF;
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
        IF put_terms <> '{}' AND NOT has_terms AND EXISTS (SELECT FROM unnest(put_terms) AS x WHERE x ? 'ttl') THEN
            UPDATE tqueue.queues q SET has_terms = true WHERE q.id = queue_id;
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
                    extract(epoch FROM t.at), CASE WHEN t.terms ? 'traceparent' THEN t.terms END
                INTO place, number, body, priority, "order", deliveries, holder, lease, trace;
            RETURN NEXT;  -- the first response was lost: the same task again, with a new lease
        END LOOP;
        IF options ->> 'paused' = 'true' THEN
            fresh_gets := '{}';
        END IF;
        IF options ->> 'rate' <> '' THEN
            due := pg_temp.next_delivery(options ->> 'rate', last_delivery, moment);
            fresh_gets := CASE WHEN due IS NULL THEN fresh_gets[1:1] ELSE '{}' END;
        END IF;
        many := 0;
        IF fresh_gets <> '{}' THEN
            SELECT c.front, c.ids INTO holder, ids
                FROM pg_temp.choose_ready(queue_id, kind, cardinality(fresh_gets), front) AS c;
            what := 'front';
            RETURN NEXT;
            RETURN QUERY UPDATE tqueue.tasks t SET state = 2, deliveries = t.deliveries + 1,
                    holder = coalesce(get_holders[p.place], ''), began = moment,
                    "by" = coalesce(get_by[p.place], ''), at = moment + make_interval(secs =>
                        coalesce(get_leases[p.place], usual_lease))
                FROM (SELECT u.id, fresh_gets[u.n] AS place FROM unnest(ids) WITH ORDINALITY AS u(id, n)) p
                WHERE t.ctid = p.id
                RETURNING 'get', p.place, t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
                    extract(epoch FROM t.at)::float8, CASE WHEN t.terms ? 'traceparent' THEN t.terms END;
            GET DIAGNOSTICS many = ROW_COUNT;
        END IF;
        IF options ->> 'rate' <> '' THEN
            IF many > 0 THEN
                UPDATE tqueue.queues q SET last_delivery = moment WHERE q.id = queue_id;
                due := pg_temp.next_delivery(options ->> 'rate', moment, moment);
            END IF;
            IF due IS NOT NULL THEN
                what := 'paced';
                lease := extract(epoch FROM due - moment);
                RETURN NEXT;
            END IF;
        END IF;
        IF many > 0 AND maxsize > 0 THEN
            changed := changed || 'putters'::text;
        END IF;
        IF many < cardinality(fresh_gets) AND is_shut_down AND NOT EXISTS (
            SELECT FROM tqueue.tasks t
            WHERE t.queue = queue_id AND t.number >= lowest_waiting AND t.state + 0 IN (0, 1, 4)
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
