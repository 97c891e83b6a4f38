-- When a task was put; empty for older tasks.

ALTER TABLE tqueue.tasks ADD COLUMN put_at timestamptz;
