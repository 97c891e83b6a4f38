-- When a task was put; 0 for older tasks.

ALTER TABLE tasks ADD COLUMN put_at REAL NOT NULL DEFAULT 0;
