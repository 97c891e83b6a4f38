-- What is kept of tasks that have ended. Their bodies are not kept.

CREATE TABLE finished (
    number INTEGER PRIMARY KEY, queue TEXT NOT NULL, state TEXT NOT NULL, result BLOB NOT NULL,
    error TEXT NOT NULL, ended REAL NOT NULL, until REAL NOT NULL
);
CREATE INDEX finished_in_order ON finished (queue, until);
CREATE INDEX finished_until ON finished (until);
