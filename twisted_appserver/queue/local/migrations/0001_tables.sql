CREATE TABLE store (prefix TEXT NOT NULL);
CREATE TABLE queues (name TEXT PRIMARY KEY, config TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE keys (
    queue TEXT, lane TEXT, key TEXT NOT NULL, number INTEGER NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- so that no id is ever given twice
    queue TEXT NOT NULL, body BLOB NOT NULL, priority REAL NOT NULL, "order" TEXT NOT NULL,
    due REAL NOT NULL, lease REAL NOT NULL, deliveries INTEGER NOT NULL, holder TEXT NOT NULL,
    buried INTEGER NOT NULL
);
