-- When queues with a rate have handed out their last tasks.

CREATE TABLE paces (queue TEXT PRIMARY KEY, last REAL NOT NULL) WITHOUT ROWID;
