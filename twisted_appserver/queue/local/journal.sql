-- The statements for the file. The text in braces stands for one row, and is repeated for each further row.

-- name: put
INSERT INTO tasks (number, queue, body, priority, "order", due, put_at, span, deliveries, holder, buried)
VALUES {(?, ?, ?, ?, ?, ?, ?, 0.0, 0, '', 0)}

-- name: remember
INSERT OR REPLACE INTO keys (queue, lane, key, number, until, digest, numbers)
VALUES {(?, ?, ?, ?, ?, ?, ?)}

-- name: update
WITH fresh (due, span, deliveries, holder, buried, began, "by", number) AS (VALUES {(?, ?, ?, ?, ?, ?, ?, ?)})
UPDATE tasks SET
    due = fresh.due, span = fresh.span, deliveries = fresh.deliveries, holder = fresh.holder,
    buried = fresh.buried, began = fresh.began, "by" = fresh."by"
FROM fresh WHERE tasks.number = fresh.number

-- name: update_alike
UPDATE tasks SET due = ?, span = ?, deliveries = ?, holder = ?, buried = ?, began = ?, "by" = ?
WHERE number IN ({?})

-- name: set_terms
WITH fresh (number, terms) AS (VALUES {(?, ?)})
UPDATE tasks SET terms = fresh.terms FROM fresh WHERE tasks.number = fresh.number

-- name: set_bodies
WITH fresh (number, body) AS (VALUES {(?, ?)})
UPDATE tasks SET body = fresh.body FROM fresh WHERE tasks.number = fresh.number

-- name: delete
DELETE FROM tasks WHERE number IN ({?})

-- name: forget
DELETE FROM keys WHERE (queue, lane) IN (VALUES {(?, ?)})

-- name: keep
INSERT OR REPLACE INTO finished (number, queue, state, result, error, ended, until)
VALUES {(?, ?, ?, ?, ?, ?, ?)}

-- name: count_all_kept
SELECT queue, count(*) FROM finished GROUP BY queue

-- name: count_kept
SELECT count(*) FROM finished WHERE queue = ?

-- name: oldest_kept
SELECT number, queue FROM finished WHERE queue = ? ORDER BY until LIMIT ?

-- name: expired_kept
SELECT number, queue FROM finished WHERE until <= ? LIMIT ?

-- name: delete_kept
DELETE FROM finished WHERE number IN ({?})

-- name: find_kept
SELECT number, state, result, error, ended, until FROM finished WHERE queue = ? AND number = ? AND until > ?

-- name: kept
SELECT number, queue FROM finished WHERE queue = ? AND number = ?

-- name: last_kept
SELECT number, state, substr(result, 1, ?), error, ended, until FROM finished WHERE queue = ? AND until > ?
    AND (ended, number) < (?, ?)
ORDER BY until DESC, number DESC LIMIT ?

-- name: delete_kept_of_queue
DELETE FROM finished WHERE queue = ?

-- name: add_attempts
INSERT OR REPLACE INTO attempts (number, attempt, began, seconds, "by", reason, error, traceback)
VALUES {(?, ?, ?, ?, ?, ?, ?, ?)}

-- name: delete_old_attempts
DELETE FROM attempts WHERE number = ? AND attempt <= ?

-- name: forget_attempts
DELETE FROM attempts WHERE number IN ({?})

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

-- name: take_key
INSERT OR REPLACE INTO taken (queue, key, number, until) VALUES (?, ?, ?, ?)

-- name: free_key
DELETE FROM taken WHERE queue = ? AND key = ?

-- name: find_key
SELECT number FROM taken WHERE queue = ? AND key = ? AND until > ?

-- name: has_taken
SELECT EXISTS (SELECT 1 FROM taken)

-- name: free_keys_of_queue
DELETE FROM taken WHERE queue = ?

-- name: free_expired_keys
DELETE FROM taken WHERE (queue, key) IN (
    SELECT queue, key FROM taken WHERE until < 9e999 AND until <= ? LIMIT ?
)

-- name: set_paces
INSERT OR REPLACE INTO paces (queue, last)
VALUES {(?, ?)}

-- name: delete_pace
DELETE FROM paces WHERE queue = ?

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

-- name: paces
SELECT queue, last FROM paces

-- name: keys
SELECT queue, lane, key, number, until, digest, numbers FROM keys

-- name: tasks
SELECT queue, number, body, priority, "order", due, span, deliveries, holder, buried, began, "by",
    coalesce((SELECT max(attempt) FROM attempts WHERE attempts.number = tasks.number), 0), terms, put_at
FROM tasks ORDER BY number
