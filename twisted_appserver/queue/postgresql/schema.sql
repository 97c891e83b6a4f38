-- The statements that prepare a database, show that a server is alive, and delete what has expired.
-- State of a task: 0 ready, 1 delayed, 2 leased, 3 buried.

-- name: encoding
SHOW server_encoding

-- name: lock_schema
SELECT pg_advisory_xact_lock(%(lock)s)

-- name: has_tables
SELECT to_regclass('tqueue.meta') IS NOT NULL

-- name: version
SELECT version FROM tqueue.meta

-- name: set_version
UPDATE tqueue.meta SET version = %(version)s

-- name: secret
SELECT secret FROM tqueue.meta

-- name: last_deletion
SELECT coalesce(max(number), 0) FROM tqueue.gone

-- name: last_deletion_of_queue
SELECT coalesce(max(number), 0) FROM tqueue.gone WHERE name = %(name)s

-- name: record_transaction
INSERT INTO tqueue.commits VALUES (%(server)s, %(transaction_number)s)

-- name: set_setting
SELECT set_config(%(name)s, %(value)s, false)

-- name: update_alive
UPDATE tqueue.meta SET alive = clock_timestamp()
WHERE alive BETWEEN clock_timestamp() - make_interval(secs => %(oldest)s)
AND clock_timestamp() - make_interval(secs => %(newest)s)

-- name: set_alive
UPDATE tqueue.meta SET alive = clock_timestamp()

-- name: alive
SELECT alive, extract(epoch FROM clock_timestamp() - alive)::float8 FROM tqueue.meta

-- name: try_lock
SELECT pg_try_advisory_lock(%(lock)s)

-- name: unlock
SELECT pg_advisory_unlock(%(lock)s)

-- name: lock_queue
SELECT pg_advisory_xact_lock(%(lock_class)s::int, %(queue)s::int)

-- name: queues_with_leases
SELECT id FROM tqueue.queues q WHERE EXISTS (
    SELECT FROM tqueue.tasks t
    WHERE t.queue = q.id AND t.state IN (1, 2) AND t.state = 2 AND t.at > %(alive)s
)

-- name: prolong_leases
UPDATE tqueue.tasks t SET at = greatest(
    t.at + make_interval(secs => %(gap)s), clock_timestamp() + make_interval(secs => %(least)s)
)
WHERE t.queue = %(queue)s AND t.state IN (1, 2) AND t.state = 2 AND t.at > %(alive)s

-- name: delete_expired_keys
DELETE FROM tqueue.keys WHERE until < now()

-- name: delete_old_deletions
DELETE FROM tqueue.gone WHERE at < now() - interval '10 minutes'

-- name: delete_old_commits
DELETE FROM tqueue.commits WHERE at < now() - interval '10 minutes'

-- name: renew_default_options
-- A queue whose stored options have the default values of an earlier version has no options of its own.
UPDATE tqueue.queues SET config = %(default_options)s
WHERE config <> %(default_options)s AND config::jsonb <@ (%(default_options)s::text)::jsonb

-- name: queues_with_results
SELECT id, coalesce((config::jsonb ->> 'keep_count')::int8, 1) FROM tqueue.queues q
WHERE EXISTS (SELECT FROM tqueue.finished f WHERE f.queue = q.id)

-- name: delete_excess_results
SELECT pg_temp.delete_excess_results(%(queue)s::int, %(keep_count)s)

-- name: unused_queues
SELECT id FROM tqueue.queues q WHERE config = %(default_options)s
AND NOT EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.keys k WHERE k.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.finished f WHERE f.queue = q.id)

-- name: delete_unused_queue
DELETE FROM tqueue.queues q WHERE config = %(default_options)s
AND NOT EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.keys k WHERE k.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.finished f WHERE f.queue = q.id)
AND id = %(queue)s

-- name: queue_names
SELECT name FROM tqueue.queues
