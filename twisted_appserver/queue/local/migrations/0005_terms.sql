-- What applies to a task instead of the options of its queue, and its time to live: JSON.

ALTER TABLE tasks ADD COLUMN terms TEXT;
