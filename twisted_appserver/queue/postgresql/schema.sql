-- The statements that prepare a database, show that a server is alive, and delete what has expired.
-- State of a task: 0 ready, 1 delayed, 2 leased, 3 buried, 4 held.

-- name: encoding
SHOW server_encoding

-- name: lock_schema
SELECT pg_advisory_xact_lock(%(lock)s)

-- name: has_tables
SELECT to_regclass('tqueue.meta') IS NOT NULL

-- name: version
SELECT version FROM tqueue.meta

-- name: unwritable
-- Each connection of a server makes temporary functions.
SELECT CASE WHEN current_setting('transaction_read_only')::bool THEN 'it is read-only'
WHEN NOT has_database_privilege(current_database(), 'TEMPORARY') THEN
'the role ' || current_user || ' lacks the privilege TEMPORARY in the database' END

-- name: unprepared
-- The first server makes the tables.
SELECT CASE WHEN to_regnamespace('tqueue') IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
THEN 'the role ' || current_user || ' lacks the privilege CREATE in the database' END

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

-- name: prolong_leases
-- Leases that have begun since then need no more time.
UPDATE tqueue.tasks t SET at = greatest(
    t.at + make_interval(secs => %(gap)s), clock_timestamp() + make_interval(secs => %(least)s)
)
WHERE t.queue = %(queue)s AND t.state IN (1, 2) AND t.state = 2 AND t.at > %(alive)s
AND coalesce(t.began <= %(alive)s + make_interval(secs => %(newest)s), true)

-- name: queues_with_future_times
SELECT id FROM tqueue.queues q WHERE EXISTS (
    SELECT FROM tqueue.tasks t WHERE t.queue = q.id AND t.state IN (1, 2) AND t.at > %(alive)s
)

-- name: turn_back
-- The clock was set back: what would have lasted longer than the time since then must not.
UPDATE tqueue.tasks t SET at = t.at + make_interval(secs => %(gap)s)
WHERE t.queue = %(queue)s AND t.state IN (1, 2) AND t.at > %(alive)s

-- name: end_excursion
-- The clock was set forward, and back in part, and nobody saw it in between: as above, for the tasks that were handed
-- out or put meanwhile.
UPDATE tqueue.tasks t SET at = t.at - (greatest(t.began, t.put_at) - clock_timestamp())
WHERE t.queue = %(queue)s AND t.state IN (1, 2) AND t.at > %(alive)s AND greatest(t.began, t.put_at) > clock_timestamp()

-- name: delete_expired_keys
DELETE FROM tqueue.keys WHERE until < now()

-- name: delete_expired_taken
DELETE FROM tqueue.taken WHERE until < now() AND until < 'infinity'

-- name: delete_old_deletions
DELETE FROM tqueue.gone WHERE at < now() - interval '10 minutes'

-- name: delete_old_commits
DELETE FROM tqueue.commits WHERE at < now() - interval '10 minutes'

-- name: delete_old_returns
DELETE FROM tqueue.returned WHERE id <= (SELECT last_value FROM tqueue.returns) - 10000

-- name: delete_old_progress
DELETE FROM tqueue.progress p WHERE NOT EXISTS (
    SELECT FROM tqueue.tasks t WHERE t.queue = p.queue AND t.number = p.number
    AND t.state + 0 = 2 AND t.deliveries = p.delivery
)

-- name: dead_rows
SELECT n.name, pg_stat_get_live_tuples(t.id), pg_stat_get_dead_tuples(t.id), pg_relation_filenode(t.id)
FROM unnest(%(tables)s::text[]) AS n(name), LATERAL (SELECT ('tqueue.' || n.name)::regclass::oid AS id) t

-- name: begin_rewrite
SET LOCAL lock_timeout = '{timeout}'

-- name: try_transaction_lock
SELECT pg_try_advisory_xact_lock(%(lock)s)

-- name: lock_table
LOCK TABLE tqueue.{table} IN ACCESS EXCLUSIVE MODE

-- name: file_of_table
SELECT pg_relation_filenode(('tqueue.' || %(table)s)::regclass)

-- name: flush_statistics
SELECT pg_stat_force_next_flush()

-- name: read_rows
COPY ({query}) TO STDOUT (FORMAT binary)

-- name: truncate
TRUNCATE tqueue.{table}

-- name: write_rows
COPY tqueue.{table} FROM STDIN (FORMAT binary, FREEZE)

-- name: renew_default_options
-- A queue whose stored options have the default values of an earlier version has no options of its own.
UPDATE tqueue.queues SET config = %(default_options)s
WHERE config <> %(default_options)s AND config::jsonb <@ (%(default_options)s::text)::jsonb

-- name: queues_with_results
SELECT id, coalesce((config::jsonb ->> 'keep_count')::int8, 1) FROM tqueue.queues q
WHERE EXISTS (SELECT FROM tqueue.finished f WHERE f.queue = q.id)

-- name: delete_excess_results
SELECT pg_temp.delete_excess_results(%(queue)s::int, %(keep_count)s)

-- name: queues_with_lifetimes
SELECT id FROM tqueue.queues WHERE has_terms

-- name: note_lifetimes
UPDATE tqueue.queues q SET has_terms = false
WHERE NOT EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id AND t.terms IS NOT NULL)
AND id = %(queue)s

-- name: unused_queues
SELECT id FROM tqueue.queues q WHERE config = %(default_options)s
AND NOT EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.keys k WHERE k.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.finished f WHERE f.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.taken t WHERE t.queue = q.id)

-- name: delete_unused_queue
DELETE FROM tqueue.queues q WHERE config = %(default_options)s
AND NOT EXISTS (SELECT FROM tqueue.tasks t WHERE t.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.keys k WHERE k.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.finished f WHERE f.queue = q.id)
AND NOT EXISTS (SELECT FROM tqueue.taken t WHERE t.queue = q.id)
AND id = %(queue)s

-- name: queue_names
SELECT name FROM tqueue.queues
