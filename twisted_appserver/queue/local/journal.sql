-- The statements that write to the file. {rows} is replaced by the placeholders of one or more rows.

-- name: put
INSERT INTO tasks (number, queue, body, priority, "order", due, span, deliveries, holder, buried) VALUES {rows}

-- name: remember
INSERT OR REPLACE INTO keys (queue, lane, key, number, until, digest) VALUES {rows}

-- name: update
WITH fresh (due, span, deliveries, holder, buried, began, "by", number) AS (VALUES {rows})
UPDATE tasks SET
    due = fresh.due, span = fresh.span, deliveries = fresh.deliveries, holder = fresh.holder,
    buried = fresh.buried, began = fresh.began, "by" = fresh."by"
FROM fresh WHERE tasks.number = fresh.number

-- name: delete
DELETE FROM tasks WHERE number IN (VALUES {rows})

-- name: forget
DELETE FROM keys WHERE (queue, lane) IN (VALUES {rows})

-- name: keep
INSERT OR REPLACE INTO finished (number, queue, state, result, error, ended, until) VALUES {rows}

-- name: count_kept
SELECT count(*) FROM finished WHERE queue = ?

-- name: oldest_kept
SELECT number, queue FROM finished WHERE queue = ? ORDER BY until LIMIT ?

-- name: expired_kept
SELECT number, queue FROM finished WHERE until <= ? LIMIT ?

-- name: delete_kept
DELETE FROM finished WHERE number IN (VALUES {rows})

-- name: find_kept
SELECT number, state, result, error, ended, until FROM finished WHERE queue = ? AND number = ? AND until > ?

-- name: delete_kept_of_queue
DELETE FROM finished WHERE queue = ?

-- name: add_attempts
INSERT OR REPLACE INTO attempts (number, attempt, began, seconds, "by", reason, error, traceback) VALUES {rows}

-- name: delete_old_attempts
DELETE FROM attempts WHERE number = ? AND attempt <= ?

-- name: forget_attempts
DELETE FROM attempts WHERE number IN (VALUES {rows})

-- name: delete_attempts_of_queue
DELETE FROM attempts WHERE number IN (
    SELECT number FROM tasks WHERE queue = ?1 UNION ALL SELECT number FROM finished WHERE queue = ?1
)

-- name: attempts
SELECT number, attempt, began, seconds, "by", reason, error, traceback FROM attempts WHERE number = ?
ORDER BY attempt

-- name: delete_tasks_of_queue
DELETE FROM tasks WHERE queue = ?

-- name: delete_keys_of_queue
DELETE FROM keys WHERE queue = ?

-- name: delete_options
DELETE FROM queues WHERE name = ?

-- name: insert_options
INSERT INTO queues (name, config) VALUES (?, ?)

-- name: write_nothing
UPDATE store SET prefix = prefix

-- name: has_secret
SELECT 1 FROM store

-- name: insert_secret
INSERT INTO store (prefix, secret) VALUES ('', ?)

-- name: secret
SELECT secret FROM store

-- name: last_number
SELECT seq FROM sqlite_sequence WHERE name = 'tasks'

-- name: options
SELECT name, config FROM queues

-- name: keys
SELECT queue, lane, key, number, until, digest FROM keys

-- name: tasks
SELECT number, queue, body, priority, "order", due, span, deliveries, holder, buried, began, "by",
    coalesce((SELECT max(attempt) FROM attempts WHERE attempts.number = tasks.number), 0)
FROM tasks ORDER BY number
