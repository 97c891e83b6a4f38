-- The statements of a transaction that performs requests. State of a task: 0 ready, 1 delayed, 2 leased, 3 buried.
-- Each caller holds the lock of the queue.

-- name: begin
BEGIN; SELECT pg_advisory_xact_lock({lock_class}, n) FROM unnest(ARRAY{queues}) AS n

-- name: perform_requests
SELECT * FROM pg_temp.perform_requests(
    %(queue)s::int, %(server)s, %(transaction_number)s, %(lowest_number)s, %(no_expiry_before)s, %(max_silence)s,
    %(done_numbers)s::int8[], %(done_deliveries)s::int8[], %(done_results)b::bytea[],
    %(put_bodies)b::bytea[], %(put_priorities)s::float8[], %(put_orders)s::text[], %(put_delays)s::float8[],
    %(put_keys)s::text[], %(put_lanes)s::text[], %(put_digests)b::bytea[],
    %(get_count)s, %(get_leases)s::float8[], %(get_holders)s::text[], %(get_by)s::text[]
)

-- name: put_batches
SELECT * FROM pg_temp.put_batches(
    %(queue)s::int, %(lowest_number)s,
    %(sizes)s::int8[], %(delays)s::float8[], %(keys)s::text[], %(lanes)s::text[], %(digests)b::bytea[],
    %(waits)s::bool[], %(bodies)b::bytea[], %(priorities)s::float8[], %(orders)s::text[]
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

-- name: remembered_key
SELECT number, digest FROM tqueue.keys
WHERE queue = %(queue)s AND lane = %(lane)s AND key = %(key)s AND until > statement_timestamp()

-- name: remembered_batch
SELECT numbers, digest FROM tqueue.keys
WHERE queue = %(queue)s AND lane = %(lane)s AND key = %(key)s AND until > statement_timestamp()

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

-- name: release
UPDATE tqueue.tasks t SET holder = '',
    first = pg_temp.first_of(%(kind)s, deliveries, priority),
    second = pg_temp.second_of(%(kind)s, "order"),
    third = pg_temp.third_of(%(kind)s, number),
    state = CASE WHEN %(max_deliveries)s > 0 AND deliveries >= %(max_deliveries)s THEN 3
        WHEN %(delay)s::float8 > 0 THEN 1 ELSE 0 END,
    at = CASE WHEN %(delay)s::float8 > 0 THEN statement_timestamp() + make_interval(secs => %(delay)s) END
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 = 2 AND %(delivery)s IN (0, deliveries)
AND %(lease)s::float8 IN (0, extract(epoch FROM at)::float8)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state

-- name: drop
WITH gone AS (
    DELETE FROM tqueue.tasks t WHERE queue = %(queue)s AND number = %(number)s
    RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
        coalesce(extract(epoch FROM t.at), 0)::float8 AS at
), forgotten AS (
    DELETE FROM tqueue.attempts WHERE queue = %(queue)s AND number = %(number)s
) SELECT * FROM gone

-- name: kick_task
UPDATE tqueue.tasks t SET
    first = pg_temp.first_of(%(kind)s, CASE WHEN state = 3 THEN 0 ELSE deliveries END, priority),
    second = pg_temp.second_of(%(kind)s, "order"),
    third = pg_temp.third_of(%(kind)s, number),
    state = 0, at = NULL, deliveries = CASE WHEN state = 3 THEN 0 ELSE deliveries END
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 IN (1, 3)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8

-- name: bury
UPDATE tqueue.tasks t SET state = 3, at = NULL, holder = ''
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 = 2 AND %(delivery)s IN (0, deliveries)
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state

-- name: bury_waiting
UPDATE tqueue.tasks t SET state = 3, at = NULL
WHERE queue = %(queue)s AND number = %(number)s AND state + 0 <> 2 AND %(delivery)s = 0
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.state

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
    coalesce(extract(epoch FROM t.began), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND number = %(number)s

-- name: renew_held_task
UPDATE tqueue.tasks t SET at = statement_timestamp() + make_interval(secs => %(seconds)s)
WHERE queue = %(queue)s AND holder <> '' AND holder = %(holder)s
RETURNING t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8

-- name: oldest_buried
SELECT number FROM tqueue.tasks WHERE queue = %(queue)s AND state = 3 ORDER BY number LIMIT %(count)s

-- name: kick
UPDATE tqueue.tasks SET state = 0, at = NULL, deliveries = 0
WHERE queue = %(queue)s AND number = ANY(%(numbers)s::int8[])

-- name: update_positions
UPDATE tqueue.tasks SET
    first = pg_temp.first_of(%(kind)s, deliveries, priority),
    second = pg_temp.second_of(%(kind)s, "order"),
    third = pg_temp.third_of(%(kind)s, number)
WHERE queue = %(queue)s AND state IN (0, 1) AND (first, second, third) IS DISTINCT FROM (
    pg_temp.first_of(%(kind)s, deliveries, priority),
    pg_temp.second_of(%(kind)s, "order"),
    pg_temp.third_of(%(kind)s, number)
)

-- name: purge
WITH gone AS (
    DELETE FROM tqueue.tasks WHERE queue = %(queue)s AND state IN (0, 1) RETURNING number, attempts
), forgotten AS (
    DELETE FROM tqueue.attempts a USING gone
    WHERE gone.attempts > 0 AND a.queue = %(queue)s AND a.number = gone.number
) SELECT number FROM gone

-- name: delete_tasks
DELETE FROM tqueue.tasks WHERE queue = %(queue)s

-- name: delete_keys
DELETE FROM tqueue.keys WHERE queue = %(queue)s

-- name: delete_attempts
DELETE FROM tqueue.attempts WHERE queue = %(queue)s

-- name: delete_results
DELETE FROM tqueue.finished WHERE queue = %(queue)s

-- name: results
SELECT number, (ARRAY['ready', 'delayed', 'leased', 'buried'])[state + 1], ''::bytea, CASE WHEN attempts > 0
    THEN coalesce((
        SELECT a.error FROM tqueue.attempts a WHERE a.queue = %(queue)s AND a.number = t.number
        ORDER BY a.attempt DESC LIMIT 1
    ), '') ELSE '' END, 0::float8 FROM tqueue.tasks t
WHERE queue = %(queue)s AND number = ANY(%(numbers)s::int8[])
UNION ALL
SELECT number, state, result, error, extract(epoch FROM ended)::float8 FROM tqueue.finished
WHERE queue = %(queue)s AND number = ANY(%(numbers)s::int8[]) AND until > statement_timestamp()

-- name: delete_queue
DELETE FROM tqueue.queues WHERE id = %(queue)s

-- name: record_deletion
INSERT INTO tqueue.gone (name) VALUES (%(name)s)

-- name: peek_ready
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 0 ORDER BY first, second, third LIMIT %(count)s

-- name: peek_delayed
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 1 ORDER BY number LIMIT %(count)s

-- name: peek_leased
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 2 ORDER BY number LIMIT %(count)s

-- name: peek_buried
SELECT t.number, t.body, t.priority, t."order", t.deliveries, t.holder,
    coalesce(extract(epoch FROM t.at), 0)::float8, t.attempts, t."by",
    coalesce(extract(epoch FROM t.began), 0)::float8
FROM tqueue.tasks t WHERE queue = %(queue)s AND state = 3 ORDER BY number LIMIT %(count)s
