-- The statements of a transaction that performs requests. State of a task: 0 ready, 1 delayed, 2 leased, 3 buried, 4 held.
-- Each caller holds the lock of the queue.

-- name: begin
BEGIN; SELECT pg_advisory_xact_lock({lock_class}, n) FROM unnest(ARRAY{queues}) AS n

-- name: look_into_outbox
SELECT * FROM pg_temp.look_into_outbox((%(seen)s::text)::pg_snapshot)

-- name: move_outbox
SELECT taken, added, ready FROM pg_temp.move_outbox(
    %(queue)s::int, %(xids)s::text[]::xid8[], %(most)s, %(lowest_number)s, %(last_return)s, %(server)s
)

-- name: perform_requests
SELECT * FROM pg_temp.perform_requests(
    %(queue)s::int, %(server)s, %(transaction_number)s, (%(seen)s::text)::pg_snapshot,
    %(lowest_number)s, %(lowest_waiting)s, %(last_return)s, %(front)s, %(no_expiry_before)s, %(max_silence)s,
    %(done_numbers)s::int8[], %(done_deliveries)s::int8[], %(done_results)b::bytea[],
    %(put_bodies)b::bytea[], %(put_priorities)s::float8[], %(put_orders)s::text[], %(put_delays)s::float8[],
    %(put_keys)s::text[], %(put_lanes)s::text[], %(put_digests)b::bytea[], %(put_terms)s::text[]::jsonb[],
    %(get_count)s, %(get_leases)s::float8[], %(get_holders)s::text[], %(get_by)s::text[]
)

-- name: put_batches
SELECT * FROM pg_temp.put_batches(
    %(queue)s::int, %(lowest_number)s, %(lowest_waiting)s,
    %(sizes)s::int8[], %(delays)s::float8[], %(keys)s::text[], %(lanes)s::text[], %(digests)b::bytea[],
    %(waits)s::bool[], %(bodies)b::bytea[], %(priorities)s::float8[], %(orders)s::text[], %(terms)s::text[]::jsonb[],
    %(uniques)s::text[], %(unique_for)s::float8[]
)

-- name: notify_and_record
WITH notified AS (SELECT count(pg_notify('tqueue', payload)) FROM unnest(%(payloads)s::text[]) AS payload)
INSERT INTO tqueue.commits SELECT %(server)s, %(transaction_number)s FROM notified
WHERE pg_current_xact_id_if_assigned() IS NOT NULL

-- name: notify_of_deletions
WITH recorded AS (INSERT INTO tqueue.gone (name) SELECT unnest(%(names)s::text[]) RETURNING 1)
SELECT pg_notify('tqueue', payload)
FROM unnest(%(payloads)s::text[]) AS payload, (SELECT count(*) FROM recorded) AS n

-- name: find_queue
SELECT id FROM tqueue.queues WHERE name = %(name)s

-- name: count_rows_of_queues
SELECT count(*) FROM tqueue.queues

-- name: count_queues
SELECT count(*) FROM tqueue.queues q
WHERE q.config <> %(default_options)s OR EXISTS (SELECT FROM tqueue.tasks x WHERE x.queue = q.id)

-- name: make_queue
INSERT INTO tqueue.queues (name, config) VALUES (%(name)s, %(options)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id

-- name: sizes_of_all_queues
SELECT q.name, count(t.number) FROM tqueue.queues q
LEFT JOIN tqueue.tasks t ON t.queue = q.id AND (t.state = 0 OR t.state IN (1, 2) AND t.at <= now())
    AND coalesce((t.terms ->> 'ends')::float8 > extract(epoch FROM now()), true)
WHERE q.config <> %(default_options)s OR EXISTS (SELECT FROM tqueue.tasks x WHERE x.queue = q.id)
GROUP BY q.name ORDER BY q.name

-- name: size
SELECT count(*) FROM tqueue.tasks WHERE queue = %(queue)s AND state = 0

-- name: options
SELECT config FROM tqueue.queues WHERE id = %(queue)s

-- name: set_options
UPDATE tqueue.queues SET config = %(options)s WHERE id = %(queue)s

-- name: any_unfinished
SELECT FROM tqueue.tasks WHERE queue = %(queue)s AND number >= %(lowest_number)s AND state + 0 <> 3 LIMIT 1

-- name: count_buried
SELECT count(*) FROM tqueue.tasks WHERE queue = %(queue)s AND state = 3

-- name: count_by_state
SELECT state, count(*) FROM tqueue.tasks WHERE queue = %(queue)s GROUP BY state

-- name: oldest_in_order
SELECT extract(epoch FROM statement_timestamp() - put_at)::float8 FROM tqueue.tasks
WHERE queue = %(queue)s AND state = 0 AND (first, second, third) >= (0, '', %(lowest_number)s)
ORDER BY first, second, third LIMIT 1

-- name: oldest_by_number
-- "state + 0" makes PostgreSQL walk through the numbers.
SELECT extract(epoch FROM statement_timestamp() - put_at)::float8 FROM tqueue.tasks
WHERE queue = %(queue)s AND number >= %(lowest_number)s AND state + 0 = 0 ORDER BY number LIMIT 1

-- name: remembered_key
SELECT number, digest FROM tqueue.keys
WHERE queue = %(queue)s AND lane = %(lane)s AND key = %(key)s AND until > statement_timestamp()

-- name: remembered_batch
SELECT numbers, digest FROM tqueue.keys
WHERE queue = %(queue)s AND lane = %(lane)s AND key = %(key)s AND until > statement_timestamp()

-- name: find_unique
SELECT unnest(pg_temp.find_unique(%(queue)s::int, %(keys)s::text[]))

-- name: free
DELETE FROM tqueue.taken WHERE queue = %(queue)s AND key = %(key)s AND until > statement_timestamp() RETURNING 1

-- name: remember_key
INSERT INTO tqueue.keys VALUES (
    %(queue)s, %(lane)s, %(key)s, %(number)s, statement_timestamp() + make_interval(secs => %(seconds)s), %(digest)b
)
ON CONFLICT (queue, lane) DO UPDATE
SET key = excluded.key, number = excluded.number, until = excluded.until, digest = excluded.digest

-- name: extend
-- In this and the next two, "state + 0" makes PostgreSQL look up the number and not walk through all leased tasks.
UPDATE tqueue.tasks t SET at = statement_timestamp() + make_interval(secs => %(seconds)s)
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 = 2 AND %(delivery)s IN (0, deliveries)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state

-- name: note_progress
INSERT INTO tqueue.progress (queue, number, delivery, value)
SELECT queue, number, deliveries, %(value)s::bytea FROM tqueue.tasks
WHERE queue = %(queue)s AND number = %(number)s
ON CONFLICT (queue, number) DO UPDATE SET delivery = excluded.delivery, value = excluded.value

-- name: progress
SELECT p.number, p.value FROM tqueue.progress p
JOIN tqueue.tasks t ON t.queue = p.queue AND t.number = p.number
WHERE p.queue = %(queue)s AND p.number = ANY(%(numbers)s::int8[])
    AND t.state + 0 = 2 AND t.deliveries = p.delivery

-- name: release
UPDATE tqueue.tasks t SET holder = '',
    first = pg_temp.first_of(%(kind)s, deliveries, priority),
    second = pg_temp.second_of(%(kind)s, "order"),
    third = pg_temp.third_of(%(kind)s, number),
    state = CASE WHEN pg_temp.is_spent(deliveries, terms, %(max_deliveries)s) THEN 3
        WHEN %(delay)s::float8 > 0 THEN 1 ELSE 0 END,
    at = CASE WHEN %(delay)s::float8 > 0 THEN statement_timestamp() + make_interval(secs => %(delay)s) END
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 = 2 AND %(delivery)s IN (0, deliveries)
AND %(lease)s::float8 IN (0, extract(epoch FROM at)::float8)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state,
    coalesce((t.terms ->> 'ends')::float8 <= extract(epoch FROM statement_timestamp())::float8, false), t."group"

-- name: end_lifetimes
SELECT pg_temp.end_lifetimes(%(queue)s::int, %(keep)s, statement_timestamp())

-- name: fill_places
SELECT pg_temp.fill_places(%(queue)s::int, %(lowest_number)s, %(groups)s::text[])

-- name: groups_with_held_tasks
SELECT array_agg(DISTINCT "group") FROM tqueue.tasks WHERE queue = %(queue)s AND state = 4

-- name: deliveries
SELECT deliveries, terms FROM tqueue.tasks WHERE queue = %(queue)s AND number = %(number)s

-- name: drop
WITH gone AS (
    DELETE FROM tqueue.tasks t WHERE queue = %(queue)s AND number = %(number)s
    RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
        coalesce(extract(epoch FROM t.at), 0)::float8 AS at, t."group"
), forgotten AS (
    DELETE FROM tqueue.attempts WHERE queue = %(queue)s AND number = %(number)s
) SELECT * FROM gone

-- name: drop_and_keep
WITH gone AS (
    DELETE FROM tqueue.tasks t WHERE queue = %(queue)s AND number = %(number)s
    RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
        coalesce(extract(epoch FROM t.at), 0)::float8 AS at, t."group"
), kept AS (
    INSERT INTO tqueue.finished
    SELECT %(queue)s, g.number, 'dropped', %(result)b, '', statement_timestamp(),
        statement_timestamp() + make_interval(secs => %(keep)s) FROM gone g
) SELECT * FROM gone

-- name: forget
WITH gone AS (
    DELETE FROM tqueue.finished WHERE queue = %(queue)s AND number = %(number)s RETURNING number
) DELETE FROM tqueue.attempts a USING gone WHERE a.queue = %(queue)s AND a.number = gone.number

-- name: set_body
UPDATE tqueue.tasks SET body = %(body)b WHERE queue = %(queue)s AND number = %(number)s AND state + 0 <> 2
RETURNING number

-- name: kick_task
UPDATE tqueue.tasks t SET
    first = pg_temp.first_of(%(kind)s, CASE WHEN state = 3 THEN 0 ELSE deliveries END, priority),
    second = pg_temp.second_of(%(kind)s, "order"),
    third = pg_temp.third_of(%(kind)s, number),
    state = CASE WHEN state = 3 AND "group" IS NOT NULL THEN 4 ELSE 0 END, at = NULL,
    terms = CASE WHEN state = 3 THEN pg_temp.kicked(terms, deliveries, statement_timestamp()) ELSE terms END
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 IN (1, 3)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t."group"

-- name: bury
UPDATE tqueue.tasks t SET state = 3, at = NULL, holder = ''
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 = 2 AND %(delivery)s IN (0, deliveries)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state, t."group"

-- name: bury_waiting
UPDATE tqueue.tasks t SET state = 3, at = NULL
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 <> 2 AND %(delivery)s = 0
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state, t."group"

-- name: end_attempt
WITH ended AS (
    UPDATE tqueue.tasks t SET attempts = attempts + 1 WHERE queue = %(queue)s AND number = %(number)s
    RETURNING t.attempts, t.began, t."by"
) SELECT pg_temp.end_attempt(
    %(queue)s::int, %(number)s, e.attempts, e.began, e."by", %(reason)s, %(error)s, %(traceback)s
) FROM ended e

-- name: attempts
SELECT number, attempt, extract(epoch FROM began)::float8, seconds, "by", reason, error, traceback
FROM tqueue.attempts WHERE queue = %(queue)s AND number = %(number)s ORDER BY attempt

-- name: last_errors
SELECT a.number, a.error FROM unnest(%(numbers)s::int8[]) AS n, LATERAL (
    SELECT x.number, x.error FROM tqueue.attempts x WHERE x.queue = %(queue)s AND x.number = n
    ORDER BY x.attempt DESC LIMIT 1
) AS a WHERE a.error <> ''

-- name: task
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8, t.terms,
    coalesce(extract(epoch FROM t.put_at), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND number = %(number)s

-- name: renew_held_task
UPDATE tqueue.tasks t SET at = statement_timestamp() + make_interval(secs => %(seconds)s)
WHERE queue = %(queue)s AND holder <> '' AND holder = %(holder)s
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.terms

-- name: oldest_buried
SELECT number FROM tqueue.tasks WHERE queue = %(queue)s AND state = 3 ORDER BY number LIMIT %(count)s

-- name: kick
UPDATE tqueue.tasks SET state = CASE WHEN "group" IS NOT NULL THEN 4 ELSE 0 END, at = NULL,
    terms = pg_temp.kicked(terms, deliveries, statement_timestamp())
WHERE queue = %(queue)s AND number = ANY(%(numbers)s::int8[])
RETURNING "group"

-- name: update_positions
UPDATE tqueue.tasks SET
    first = pg_temp.first_of(%(kind)s, deliveries - coalesce((terms ->> 'forgiven')::int, 0), priority),
    second = pg_temp.second_of(%(kind)s, "order"),
    third = pg_temp.third_of(%(kind)s, number)
WHERE queue = %(queue)s AND state IN (0, 1, 4) AND (first, second, third) IS DISTINCT FROM (
    pg_temp.first_of(%(kind)s, deliveries - coalesce((terms ->> 'forgiven')::int, 0), priority),
    pg_temp.second_of(%(kind)s, "order"),
    pg_temp.third_of(%(kind)s, number)
)

-- name: purge
WITH gone AS (
    DELETE FROM tqueue.tasks WHERE queue = %(queue)s AND state IN (0, 1, 4) RETURNING number, attempts
), forgotten AS (
    DELETE FROM tqueue.attempts a USING gone
    WHERE gone.attempts > 0 AND a.queue = %(queue)s AND a.number = gone.number
) SELECT number FROM gone

-- name: delete_tasks
DELETE FROM tqueue.tasks WHERE queue = %(queue)s

-- name: delete_keys
DELETE FROM tqueue.keys WHERE queue = %(queue)s

-- name: delete_taken
DELETE FROM tqueue.taken WHERE queue = %(queue)s

-- name: delete_attempts
DELETE FROM tqueue.attempts WHERE queue = %(queue)s

-- name: delete_results
DELETE FROM tqueue.finished WHERE queue = %(queue)s

-- name: results
SELECT number, (ARRAY['ready', 'delayed', 'leased', 'buried', 'held'])[state + 1], ''::bytea, CASE WHEN attempts > 0
    THEN coalesce((
        SELECT a.error FROM tqueue.attempts a WHERE a.queue = %(queue)s AND a.number = t.number
        ORDER BY a.attempt DESC LIMIT 1
    ), '') ELSE '' END, 0::float8 FROM tqueue.tasks t
WHERE queue = %(queue)s AND number = ANY(%(numbers)s::int8[])
UNION ALL
SELECT number, state, result, error, extract(epoch FROM ended)::float8 FROM tqueue.finished
WHERE queue = %(queue)s AND number = ANY(%(numbers)s::int8[]) AND until > statement_timestamp()

-- name: count_results
SELECT count(*) FROM tqueue.finished WHERE queue = %(queue)s AND until > statement_timestamp()

-- name: last_results
SELECT number, state, substring(result FROM 1 FOR %(size)s::int), error, extract(epoch FROM ended)::float8
FROM tqueue.finished WHERE queue = %(queue)s AND until > statement_timestamp()
    AND (extract(epoch FROM ended)::float8, number) < (%(ended)s::float8, %(number)s::int8)
ORDER BY until DESC, number DESC LIMIT %(count)s

-- name: delete_queue
DELETE FROM tqueue.queues WHERE id = %(queue)s

-- name: record_deletion
INSERT INTO tqueue.gone (name) VALUES (%(name)s)

-- name: peek_ready
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8, t.terms,
    coalesce(extract(epoch FROM t.put_at), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 0
    AND (first, second, third) > (%(first)s::float8, %(second)s, %(third)s::int8)
ORDER BY first, second, third LIMIT %(count)s

-- name: peek_delayed
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8, t.terms,
    coalesce(extract(epoch FROM t.put_at), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 1 AND number > %(third)s
ORDER BY number LIMIT %(count)s

-- name: peek_leased
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8, t.terms,
    coalesce(extract(epoch FROM t.put_at), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 2 AND number > %(third)s
ORDER BY number LIMIT %(count)s

-- name: peek_buried
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8, t.terms,
    coalesce(extract(epoch FROM t.put_at), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 3 AND number > %(third)s
ORDER BY number LIMIT %(count)s

-- name: peek_held
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8, t.terms,
    coalesce(extract(epoch FROM t.put_at), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 4 AND number > %(third)s
ORDER BY number LIMIT %(count)s
