-- The statements that write to the file. {rows} is replaced by the placeholders of one or more rows.

-- name: put
INSERT INTO tasks (number, queue, body, priority, "order", due, span, deliveries, holder, buried) VALUES {rows}

-- name: remember
INSERT OR REPLACE INTO keys (queue, lane, key, number, until, digest) VALUES {rows}

-- name: update
WITH fresh (due, span, deliveries, holder, buried, number) AS (VALUES {rows})
UPDATE tasks SET
    due = fresh.due, span = fresh.span, deliveries = fresh.deliveries, holder = fresh.holder,
    buried = fresh.buried
FROM fresh WHERE tasks.number = fresh.number

-- name: delete
DELETE FROM tasks WHERE number IN (VALUES {rows})

-- name: forget
DELETE FROM keys WHERE (queue, lane) IN (VALUES {rows})

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
SELECT number, queue, body, priority, "order", due, span, deliveries, holder, buried FROM tasks ORDER BY number
