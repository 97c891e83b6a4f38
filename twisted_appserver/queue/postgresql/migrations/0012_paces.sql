-- When a queue with a rate has handed out its last task, for all servers.

ALTER TABLE tqueue.queues ADD COLUMN last_delivery timestamptz;
