-- The key of a batch is remembered with the numbers of its tasks.

ALTER TABLE tqueue.keys ADD COLUMN numbers int8[];
